#!/usr/bin/env python3
"""layers.py: who may know whom (docs/architecture.md, "Houses"), checked by text.

CMake's include directories keep a house from including what it must not know; this test says so by name,
and also sees what a compiler cannot: internal names, architecture macros, file lengths.

usage: layers.py ROOT [--cc CC] [--cxx CXX]    checks the tree at ROOT
       layers.py --self-test                   plants one violation of each rule in a tree of its own and
                                               fails unless each is reported, and nothing else is
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

# For each house: the project files that it may include besides its own, and the libraries. None: any library.
HOUSES = {
    "arch": ((), ()),
    "core": (("arch/arch.h", "core/include/"), ("libdw",)),
    "api": (("core/include/",), ("jansson", "zlib")),
    "server": (("api/", "core/include/"), ("libuv", "llhttp", "libsystemd")),
    "clients": (("api/wire.h",), ("libuv", "llhttp", "jansson", "ncurses")),
    "examples": (("core/include/",), None),
}
LIBRARIES = {
    "libuv": r"uv(/.*|)\.h",
    "llhttp": r"llhttp(/.*|)\.h",
    "jansson": r"jansson\.h",
    "libdw": r"(elfutils/.*|dwarf|libelf|gelf)\.h",
    "libsystemd": r"systemd/.*\.h",
    "zlib": r"zlib\.h",
    "ncurses": r"(ncursesw?/.*|ncurses|curses)\.h",
}
SOURCES = (".c", ".h", ".S", ".cc", ".hpp")
LINES_MAX = 600
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include(?:_next)?[ \t]*([<"])([^>"]+)[>"]', re.M)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*")', re.S)
ARCHITECTURE = re.compile(r"\b(__x86_64__|__x86_64|__amd64__|__aarch64__|__arm64__|__i386__)\b")
INTERNAL = re.compile(r"\bgri_\w+")


def without_comments(text):
    """Comments become as many line ends as they had; strings stay."""
    return COMMENT.sub(lambda m: m.group(1) or "\n" * m.group(0).count("\n"), text)


def project_files(root):
    """Sources below ROOT, without what is built or hidden."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.suffix in SOURCES and path.is_file() and name.parts[0] != "build" \
                and not any(part.startswith(".") for part in name.parts):
            yield name


def find_included(root, files, includer, how, target):
    """The project file that an include directive means, or None: a system header."""
    beside = includer.parent / target
    if how == '"' and (root / beside).is_file():
        return pathlib.Path((root / beside).resolve().relative_to(root))
    own = includer.parts[0]
    ends = [f for f in files if f == pathlib.Path(target) or str(f).endswith("/" + target)]
    if how == "<" and not target.startswith("grasp/"):
        ends = [f for f in ends if f.parts[0] == "arch" or len(f.parts) == 2]
        if (pathlib.Path("/usr/include") / target).exists():
            return None
    ends.sort(key=lambda f: (f.parts[0] != own, len(f.parts)))
    return ends[0] if ends else None


def check_include(house, includer, target, found):
    allowed_files, libraries = HOUSES[house]
    if found:
        name = str(found)
        if found.parts[0] == house or any(
                name == a or (a.endswith("/") and name.startswith(a)) for a in allowed_files):
            return None
        return f"{includer}: {house} must not know {name}"
    for library, pattern in LIBRARIES.items():
        if re.fullmatch(pattern, target) and libraries is not None and library not in libraries:
            return f"{includer}: {house} must not know {library} (<{target}>)"
    return None


def check_text(includer, raw, text):
    """Names and lengths of one file."""
    house = includer.parts[0]
    if includer.suffix == ".c" and raw.count("\n") > LINES_MAX:
        yield f"{includer}: {raw.count(chr(10))} lines, more than {LINES_MAX}"
    if house in ("api", "server", "clients"):
        for name in sorted(set(INTERNAL.findall(text))):
            yield f"{includer}: {name} is internal to core"
    if house not in ("arch", "tests", "examples"):
        for name in sorted(set(ARCHITECTURE.findall(text))):
            yield f"{includer}: {name} outside arch/"


def check_tree(root):
    root = root.resolve()
    files = list(project_files(root))
    if not files:
        yield f"{root}: no sources"
    for includer in files:
        raw = (root / includer).read_text(errors="replace")
        text = without_comments(raw)
        yield from check_text(includer, raw, text)
        if includer.parts[0] not in HOUSES:
            continue
        for how, target in INCLUDE.findall(text):
            found = find_included(root, files, includer, how, target)
            problem = check_include(includer.parts[0], includer, target, found)
            if problem:
                yield problem


def check_headers(root, cc, cxx):
    """Each public header compiles alone, as C and as C++."""
    include = root / "core/include"
    headers = sorted((include / "grasp").glob("*.h"))
    if not headers:
        yield f"{include}/grasp: no public headers"
    for header in headers:
        for compiler, language in ((cc, ("c", "-std=c11")), (cxx, ("c++", "-std=c++17"))):
            run = subprocess.run(
                [compiler, "-x", language[0], language[1], "-fsyntax-only", "-Wall", "-Wextra",
                 "-Werror", f"-I{include}", "-"],
                input=f"#include <grasp/{header.name}>\n#include <grasp/{header.name}>\n",
                capture_output=True, text=True, check=False)
            if run.returncode:
                first = next((l for l in run.stderr.splitlines() if "error" in l), run.stderr[:200])
                yield f"{header.relative_to(root)}: does not compile alone as {language[0]}: {first}"


# What the self-test plants: a file, its text, and what must be said of it (None: nothing).
PLANTED = [
    ("arch/arch.h", "#include <stdint.h>\n", None),
    ("arch/x/regs.h", "int r;\n", None),
    ("arch/x/a.c", '#include "arch.h"\n#include "regs.h"\n', None),
    ("arch/x/b.c", '#include "core.h"\n', "arch must not know core/core.h"),
    ("core/core.h", '#include "arch.h"\n#include <grasp/runtime.h>\n', None),
    ("core/include/grasp/runtime.h", "#include <stddef.h>\nint gr_ok(void);\n", None),
    ("core/include/grasp/needy.h", "size_t gr_needy(void);\n", "does not compile alone as c:"),
    ("core/include/grasp/conly.h", "int gr_conly(int class);\n", "does not compile alone as c++:"),
    ("core/a.c", '#include "core.h"\n#include <elfutils/libdw.h>\n/* __x86_64__ */\n', None),
    ("core/b.c", '#include "regs.h"\n', "core must not know arch/x/regs.h"),
    ("core/c.c", "#include <jansson.h>\n", "core must not know jansson"),
    ("core/d.c", "#if defined(__aarch64__)\n#endif\n", "__aarch64__ outside arch/"),
    ("core/long.c", "\n" * 601, "601 lines, more than 600"),
    ("core/full.c", "\n" * 600, None),
    ("api/wire.h", "#define W 1\n", None),
    ("api/api.h", "#include <grasp/runtime.h>\n", None),
    ("api/a.c", '#include "api.h"\n#include <jansson.h>\n/* gri_fine in a comment */\n', None),
    ("api/b.c", '#include "core.h"\n', "api must not know core/core.h"),
    ("api/c.c", "#include <uv.h>\n", "api must not know libuv"),
    ("api/d.c", "int x = gri_hidden;\n", "gri_hidden is internal to core"),
    ("server/a.c", '#include <uv.h>\n#include <llhttp.h>\n#include "api.h"\n#include <grasp/runtime.h>\n',
     None),
    ("server/b.c", '#include "../core/core.h"\n', "server must not know core/core.h"),
    ("server/c.c", "void f(void) { gri_call(); }\n", "gri_call is internal to core"),
    ("clients/a.c", '#include "wire.h"\n', None),
    ("clients/b.c", '#include "api.h"\n', "clients must not know api/api.h"),
    ("clients/x/c.c", '#include "wire.h"\n#include <curses.h>\n#include <uv.h>\n', None),
    ("clients/x/d.c", "#include <grasp/runtime.h>\n", "clients must not know core/include/grasp/runtime.h"),
    ("examples/a.c", "#include <grasp/runtime.h>\n#if defined(__x86_64__)\n#endif\n", None),
    ("examples/b.c", '#include "core/core.h"\n', "examples must not know core/core.h"),
    ("tests/a.c", '#include "core.h"\n#if defined(__x86_64__)\n#endif\n', None),
    ("build/x/junk.c", '#include "core.h"\nint gri_x;\n' + "\n" * 700, None),
]


def self_test(cc, cxx):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        for name, text, _ in PLANTED:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        said = list(check_tree(root)) + list(check_headers(root, cc, cxx))
    wrong = 0
    for name, _, expected in PLANTED:
        about = [line for line in said if line.startswith(f"{name}: ")]
        # A header that lacks an include fails in both languages.
        good = not about if expected is None else about and expected in about[0]
        if not good:
            wrong += 1
            print(f"self-test: {name}: expected {expected!r}, said {about}")
    print(f"self-test: {len(PLANTED) - wrong} of {len(PLANTED)} planted files judged rightly")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description="Checks Grasp's layering by text.")
    parser.add_argument("root", nargs="?", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    options = parser.parse_args()
    if options.self_test:
        return self_test(options.cc, options.cxx)
    if not options.root:
        parser.error("ROOT is missing: the folder of the project")
    problems = list(check_tree(options.root))
    problems += check_headers(options.root.resolve(), options.cc, options.cxx)
    for problem in problems:
        print(problem)
    print(f"layers: {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
