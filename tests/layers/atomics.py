#!/usr/bin/env python3
"""atomics.py: every atomic of core/ and arch/ is named in docs/memory-order.md, and every access to one says its order.

A field or variable counts as named if its name, less a leading gri_, stands there as a word, or begins with a word that
ends in `*` there. What is declared inside a function as a parameter has the name of what is passed: PARAMETERS.

usage: atomics.py REPOSITORY | --self-test
"""
import os
import re
import sys
import tempfile

PARAMETERS = {"word", "guard", "waiting", "cancel", "state", "field", "counter", "link", "first", "place", "at", "futex", "ended"}


def without_comments(text):
    return re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)


def declared(text):
    """(line, name) of each atomic that is declared, of several in one declaration too."""
    for m in re.finditer(r"_Atomic\([^()]*\)\s*([\w\s,*\[\]]+?)\s*(?=[;={)(])", text):
        line = text.count("\n", 0, m.start()) + 1
        for part in m.group(1).split(","):
            name = re.fullmatch(r"\s*\**\s*(\w+)\s*(\[\w*\]\s*)*", part)
            if not name or name.group(1) == "_Atomic":  # the next parameter
                break
            yield line, name.group(1)


def implicit(text):
    """(line, call) of each access whose order is left to the language."""
    for m in re.finditer(r"\batomic_(load|store|exchange|fetch_(?:add|sub|or|and|xor)|compare_exchange_(?:weak|strong))\s*\(", text):
        yield text.count("\n", 0, m.start()) + 1, m.group(0)


def named(name, document):
    short = name.removeprefix("gri_")
    return re.search(rf"\b(?:gri_)?{short}\b", document) or any(
        short.startswith(stem.removeprefix("gri_")) for stem in re.findall(r"\b(\w+_)\*", document))


def faults(root):
    with open(os.path.join(root, "docs", "memory-order.md")) as file:
        document = file.read()
    found, count = [], 0
    for top in ("core", "arch"):
        for folder, _, names in sorted(os.walk(os.path.join(root, top))):
            for path in sorted(os.path.join(folder, name) for name in names if name.endswith((".c", ".h"))):
                with open(path) as file:
                    text = without_comments(file.read())
                where = os.path.relpath(path, root)
                for line, name in declared(text):
                    count += 1
                    if name not in PARAMETERS and not named(name, document):
                        found.append(f"{where}:{line}: docs/memory-order.md does not name {name}")
                found += [f"{where}:{line}: {call}…) does not say its order" for line, call in implicit(text)]
    if count == 0:
        found.append("no atomic is declared")
    return found, count


def self_test():
    with tempfile.TemporaryDirectory() as root:
        for folder in ("core", "arch", "docs"):
            os.mkdir(os.path.join(root, folder))
        with open(os.path.join(root, "docs", "memory-order.md"), "w") as file:
            file.write("`flag`, `wait_*`, `seen[]`: relaxed\n")
        for text, expected in (("_Atomic(int) gri_flag;", 0), ("_Atomic(uint64_t) wait_reason, wait_address;", 0),
                               ("static _Atomic(struct gr_m *) seen[2];", 0), ("_Atomic(int) flag, other;", 1),
                               ("/* _Atomic(int) other; */ _Atomic(bool) flag;", 0), ("_Atomic(int) flagged = 1;", 1),
                               ("_Atomic(int) flag; int f(void) { return atomic_load(&flag); }", 1), ("int flag;", 1)):
            with open(os.path.join(root, "core", "a.c"), "w") as file:
                file.write(text + "\n")
            found, _ = faults(root)
            assert len(found) == expected, (text, found)
    print("ok")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    found, count = faults(sys.argv[1])
    print("\n".join(found) if found else f"{count} declarations of atomics are named")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
