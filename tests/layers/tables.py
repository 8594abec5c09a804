#!/usr/bin/env python3
"""tables.py: every case that tests/README.md names in a table must be in the file that it names.

A renamed or deleted case would otherwise leave a claim that nothing tests. A name counts as there if it stands in one of
the row's files as a whole word; a row names its cases and its files in backquotes or plainly, in two columns.

usage: tables.py REPOSITORY | --self-test
"""
import os
import re
import sys
import tempfile


def rows(text):
    """(line number, cases, files) of each table row that names a file under tests/."""
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        for at, cell in enumerate(cells):
            files = re.findall(r"(?:unit|stress|e2e|model)/[\w/.-]+\.(?:c|py|txt|sh)", cell)
            if files and at > 0:
                yield number, re.findall(r"`(\w+)`", cells[at - 1]), files
                break


def faults(root):
    with open(os.path.join(root, "README.md")) as file:
        text = file.read()
    found, count = [], 0
    for number, cases, files in rows(text):
        sources = []
        for name in files:
            try:
                with open(os.path.join(root, name)) as file:
                    sources.append(file.read())
            except OSError:
                found.append(f"README.md:{number}: there is no {name}")
        if not cases:
            found.append(f"README.md:{number}: the row names no case")
        for case in cases:
            count += 1
            if not any(re.search(rf"\b{case}\b", source) for source in sources):
                found.append(f"README.md:{number}: {case} is not in {', '.join(files)}")
    if count == 0:
        found.append("README.md: no table names a case")
    return found, count


def self_test():
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "unit"))
        with open(os.path.join(root, "unit", "a.c"), "w") as file:
            file.write("static void it_works(void **state)\n")
        for row, expected in (("| G1 | x | `it_works` | unit/a.c | both |", 0), ("| G1 | x | `it_work` | unit/a.c |", 1),
                              ("| G1 | x | `it_works` | unit/b.c |", 2), ("| G1 | x | it works | unit/a.c |", 2), ("text", 1)):
            with open(os.path.join(root, "README.md"), "w") as file:
                file.write(row + "\n")
            found, _ = faults(root)
            assert len(found) == expected, (row, found)
    print("ok")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    if len(sys.argv) != 2:
        print(__doc__.strip().splitlines()[-1], file=sys.stderr)
        return 2
    found, count = faults(os.path.join(sys.argv[1], "tests"))
    print("\n".join(found) if found else f"{count} cases are where the tables say")
    return 1 if found else 0


sys.exit(main())
