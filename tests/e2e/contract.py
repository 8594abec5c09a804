"""contract.py: checks each answer of an e2e run against api/openapi.json and writes down what it found.

Used by harness.py when GRASP_CONTRACT names a directory; tests/contract reads what is written there. One line of JSON for each kind of
answer (operation, status, content type) and each fault, once a process. Schemas are taken strictly: a member that the document
does not describe is a fault of the document, although clients have to ignore it.
"""
import copy
import json
import os
import re

try:
    from jsonschema import Draft202012Validator
except ImportError:
    Draft202012Validator = None

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "api", "openapi.json")
SHARED = re.compile(r"^#/components/(responses|parameters|headers)/")


def strict(schema):
    """The same with every object closed, unless it says itself what else it may have."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed


class Contract:
    def __init__(self, directory):
        self.path = os.path.join(directory, f"{os.getpid()}.jsonl")
        with open(DOCUMENT) as file:
            self.document = json.load(file)
        self.components = {"components": {"schemas": {name: strict(schema) for name, schema
                                                      in self.document["components"]["schemas"].items()}}}
        self.templates = [(re.compile("^" + re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + "$"), path)
                          for path in sorted(self.document["paths"], key=lambda path: path.count("{"))]
        self.validators, self.written = {}, set()

    def write(self, **line):
        text = json.dumps(line, sort_keys=True)
        if text not in self.written:
            self.written.add(text)
            with open(self.path, "a") as file:
                file.write(text + "\n")

    def resolve(self, value):
        while "$ref" in value:
            part = self.document
            for name in value["$ref"][2:].split("/"):
                part = part[name]
            value = part
        return value

    def validator(self, key, schema):
        if key not in self.validators:
            self.validators[key] = Draft202012Validator({**copy.deepcopy(strict(schema)), **self.components})
        return self.validators[key]

    def check(self, method, target, status, headers, body):
        path = target.split("?")[0]
        template = next((t for pattern, t in self.templates if pattern.match(path)), None)
        method = "get" if method == "HEAD" else method.lower()
        operation = self.document["paths"].get(template, {}).get(method)
        if operation is None:
            if status < 400:
                self.write(fault=f"{method} {path}: answered {status}, but it is not described")
            return
        kind = (headers.get("Content-Type") or "").split(";")[0]
        seen = {"operation": operation["operationId"], "status": status, "type": kind}
        response = operation["responses"].get(str(status))
        if response is None:
            self.write(**seen, fault=f"status {status} is not described")
            return
        content = self.resolve(response).get("content", {})
        if not kind and body or kind and kind not in content:
            self.write(**seen, fault=f"content type {kind or 'none'} is not described; {sorted(content)} are")
            return
        if kind.endswith("json") and not kind.startswith("application/x-") and body:
            error = next(self.validator((operation["operationId"], status, kind), content[kind].get("schema", {}))
                         .iter_errors(json.loads(body)), None)
            if error:
                self.write(**seen, fault=f"{'/'.join(str(p) for p in error.absolute_path)}: {error.message[:300]}")
                return
        self.write(**seen)


def from_environment():
    directory = os.environ.get("GRASP_CONTRACT")
    if not directory or not Draft202012Validator:
        return None
    os.makedirs(directory, exist_ok=True)
    return Contract(directory)
