#!/usr/bin/env python3
"""lint.py: is api/openapi.json a sound OpenAPI 3.1 document?

Our own checks need nothing; schemas are checked with python3-jsonschema where it is there, and the whole by redocly where that is
installed (npm install -g @redocly/cli).
"""
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
DOCUMENT = os.path.join(HERE, "..", "..", "api", "openapi.json")
faults = []


def fault(where, text):
    faults.append(f"{where}: {text}")


def resolve(document, ref):
    part = document
    for name in ref[2:].split("/"):
        part = part[name.replace("~1", "/").replace("~0", "~")]
    return part


def walk(value, where, document, used):
    if isinstance(value, dict):
        if "$ref" in value:
            used.add(value["$ref"])
            try:
                resolve(document, value["$ref"])
            except (KeyError, TypeError):
                fault(where, f"{value['$ref']} is not there")
        for key, item in value.items():
            walk(item, f"{where}/{key}", document, used)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            walk(item, f"{where}/{i}", document, used)


def unique(pairs):
    keys = [key for key, _ in pairs]
    for key in {key for key in keys if keys.count(key) > 1}:
        fault(key, "a member given twice")
    return dict(pairs)


def answers_to_any(path, method):
    """What is answered whatever the call would do: to malformed, slow, large and misdirected requests, and to keys of
    other bodies or without room for one."""
    codes = {"400", "405", "408", "412", "413", "414", "417", "431", "503"}
    if path not in ("/healthz", "/readyz"):
        codes.add("421")
    return codes | {"409", "429"} if method == "post" else codes


def check_operations(document):
    seen, tags = set(), {tag["name"] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        wanted = set(re.findall(r"\{(\w+)\}", path))
        for method, operation in methods.items():
            where = f"{method} {path}"
            name = operation.get("operationId")
            if not name or name in seen:
                fault(where, "operationId is missing or taken")
            seen.add(name)
            for key in ("summary", "security", "responses", "tags"):
                if key not in operation:
                    fault(where, f"{key} is missing")
            if not set(operation.get("tags", [])) <= tags:
                fault(where, "a tag that is not described")
            given = [p if "$ref" not in p else resolve(document, p["$ref"]) for p in operation.get("parameters", [])]
            if {p["name"] for p in given if p["in"] == "path"} != wanted:
                fault(where, "its path and its parameters differ")
            if not any(code[0] in "12" for code in operation["responses"]):
                fault(where, "no success is described")
            for code in sorted(answers_to_any(path, method) - set(operation["responses"])):
                fault(where, f"{code} is not described, which every request may get")


def check_schemas(document):
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        print("schemas not checked: python3-jsonschema is not installed")
        return
    for name, schema in document["components"]["schemas"].items():
        for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
            fault(f"schema {name}", error.message)


def main():
    with open(DOCUMENT) as file:
        document = json.load(file, object_pairs_hook=unique)
    if not document.get("openapi", "").startswith("3.1."):
        fault("openapi", "it is not 3.1")
    used = set()
    walk(document, "#", document, used)
    for kind, members in document["components"].items():
        for name in members:
            if kind != "securitySchemes" and f"#/components/{kind}/{name}" not in used:
                fault(f"components/{kind}/{name}", "nothing refers to it")
    check_operations(document)
    check_schemas(document)
    for text in faults:
        print("api/openapi.json:", text)
    redocly = shutil.which("redocly")
    if redocly:
        done = subprocess.run([redocly, "lint", "--config", os.path.join(HERE, "redocly.yaml"), DOCUMENT], timeout=120)
        return 1 if faults or done.returncode else 0
    print("redocly is not installed: our own checks alone")
    return 1 if faults else 0


sys.exit(main())
