#!/usr/bin/env python3
"""contract.py: what the e2e run wrote down about answers and api/openapi.json: no fault, and every operation was seen at work.

usage: contract.py DIRECTORY; run by ctest after the e2e tests. 77 (skipped): nothing was written, since python3-jsonschema is missing.
"""
import glob
import json
import os
import sys

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "api", "openapi.json")


def main():
    lines = []
    for path in glob.glob(os.path.join(sys.argv[1], "*.jsonl")):
        with open(path) as file:
            lines += [json.loads(line) for line in file]
    if not lines:
        print("skipped: no answers were checked; run the e2e tests first, with python3-jsonschema installed")
        return 77
    with open(DOCUMENT) as file:
        document = json.load(file)
    faults = sorted({f"{line.get('operation', '')} {line.get('status', '')} {line['fault']}" for line in lines if "fault" in line})
    worked = {line["operation"] for line in lines if "operation" in line and line["status"] < 400}
    # What takes over the connection (101) is no answer that the harness reads.
    names = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
             if "101" not in operation["responses"]}
    for fault in faults:
        print("api/openapi.json:", fault)
    for name in sorted(names - worked):
        print(f"api/openapi.json: no e2e test has seen {name} succeed")
    kinds = {(line["operation"], line["status"], line["type"]) for line in lines if "operation" in line}
    print(f"{len(kinds)} kinds of answers of {len(names)} operations, {len(faults)} faults")
    return 1 if faults or names - worked else 0


sys.exit(main())
