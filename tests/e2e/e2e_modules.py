#!/usr/bin/env python3
"""e2e_modules.py: which files become modules, and what is said of those that do not."""
import os
import shutil
import subprocess
import tempfile

from harness import Daemon, emulator, main, until

EMPTY = "int grasp_e2e_nothing(void) { return 0; }\n"
TLS = """#include <grasp/goroutine.h>
static __thread int mine;
static int run(const char *args) { (void)args; for (int i = 0; i < 1000; i++) { mine++; gr_yield(); } return mine == 1000 ? 0 : 1; }
GR_ENTRY("run", run, "counts in a thread-local");
"""
REFUSED = """#include <grasp/goroutine.h>
#include <pthread.h>
static int run(const char *args) { (void)args; pthread_exit(0); return 0; }
GR_ENTRY("run", run, "ends its thread");
"""


VERSION = """#include <grasp/goroutine.h>
#define NUMBER %d
static volatile unsigned long sink;
static int which(const char *args) { (void)args; return NUMBER; }
static int spin(const char *args)
{
    (void)args;
    do {
        for (int i = 0; i < 100000; i++) sink += NUMBER;
        gr_yield();
    } while (!gr_cancelled());
    return NUMBER;
}
GR_ENTRY("which", which, "returns the build's number");
GR_ENTRY("spin", spin, "spins until it is cancelled");
"""


class Directory:
    """A directory of modules that a case fills."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="grasp-modules-")
        return self

    def __exit__(self, *failure):
        shutil.rmtree(self.path)

    def file(self, name):
        return os.path.join(self.path, name)

    def copy(self, module, name=None):
        shutil.copy(os.path.join(Daemon.modules, module + ".so"), self.file((name or module) + ".so"))

    def build(self, name, source, compiler):
        with open(self.file(name + ".c"), "w") as file:
            file.write(source)
        subprocess.run(compiler + ["-O2", "-o", self.file(name + ".so"), self.file(name + ".c")], check=True,
                       capture_output=True, timeout=60)

    def grasp_cc(self):
        return [os.path.join(Daemon.bin, "grasp-cc")]


def bad_files_are_listed_and_stop_nothing():
    with Directory() as directory:
        directory.copy("hog")
        directory.copy("pipeline", "open")
        os.chmod(directory.file("open.so"), 0o666)
        with open(directory.file("text.so"), "w") as file:
            file.write("this is no module\n")
        directory.build("plain", EMPTY, [Daemon.cc, "-shared", "-fPIC"])
        directory.build("refused", REFUSED, directory.grasp_cc())
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            items = {item["name"]: item for item in client.get("/v1/modules")["items"]}
            assert sorted(items) == ["hog", "open", "plain", "refused", "text"], items
            assert items["hog"]["loaded"] and items["hog"]["build_id"], items
            assert {e["name"] for e in items["hog"]["entries"]} >= {"scalar", "simd", "calls"}, items
            for name in ("open", "plain", "refused", "text"):
                assert not items[name]["loaded"] and items[name]["error"], items[name]
                client.want(404, "POST", "/v1/goroutines", {"module": name, "entry": "run"}, "module-not-loaded")
                client.want(422, "POST", "/v1/modules", {"name": name}, "module-refused")
            assert "write" in items["open"]["error"], items["open"]
            assert "pthread_exit" in items["refused"]["error"], items["refused"]
            client.spawn("hog", "scalar")


def a_file_whose_name_no_request_could_give_is_listed_as_refused():
    """A name is 63 bytes of [A-Za-z0-9_.-] at most, in a request as at the start."""
    with Directory() as directory:
        longest = "n" * 63
        directory.copy("hog", longest)
        wrong = [longest + "n", "two words", "tab\there", "-x"]
        for name in wrong:
            directory.copy("pipeline", name)
        directory.copy("pipeline", ".hidden")
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            items = {item["name"]: item for item in client.get("/v1/modules")["items"]}
            assert sorted(items) == sorted([longest] + wrong), items
            assert items[longest]["loaded"], items
            for name in wrong:
                assert not items[name]["loaded"] and "its name" in items[name]["error"], items[name]
                client.want(400, "POST", "/v1/modules", {"name": name}, "bad-request")


def a_module_of_another_architecture_is_refused():
    with Directory() as directory:
        directory.copy("hog", "other")
        with open(directory.file("other.so"), "r+b") as file:
            file.seek(18)  # e_machine
            file.write((243).to_bytes(2, "little"))  # RISC-V
        with Daemon(modules=directory.path) as daemon:
            item = daemon.client().get("/v1/modules/other")
            assert not item["loaded"] and item["error"], item


def a_module_without_entries_says_so():
    with Directory() as directory:
        directory.build("lonely", "int lonely(void) { return 1; }\n", directory.grasp_cc())
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            assert client.get("/v1/modules/lonely")["entries"] == []
            assert "no entries" in client.want(200, "GET", "/v1/modules?format=text").text
            answer = client.want(404, "POST", "/v1/goroutines", {"module": "lonely", "entry": "run"}, "entry-not-found")
            assert "GR_ENTRY" in answer.json["detail"], answer


def modules_are_loaded_on_request():
    with Directory() as directory:
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            client.want(404, "POST", "/v1/modules", {"name": "hog"}, "not-found")
            directory.copy("hog")
            assert client.want(201, "POST", "/v1/modules", {"name": "hog"}).json["loaded"] is True
            client.want(200, "POST", "/v1/modules", {"name": "hog"})
            client.spawn("hog", "scalar")
            assert client.get("/v1/modules/hog")["live"] == 1
            os.unlink(directory.file("hog.so"))
            directory.copy("pipeline", "hog")
            client.want(409, "POST", "/v1/modules", {"name": "hog"}, "module-changed")
            for name in ("../hog", "/tmp/x", ".hog", "a/b", ""):
                client.want(400, "POST", "/v1/modules", {"name": name}, "bad-request")


def install(directory, name, source):
    """As an installer does it: a new file, moved over the old one."""
    directory.build("fresh", source, directory.grasp_cc())
    os.rename(directory.file("fresh.so"), directory.file(name + ".so"))


def text_mappings(daemon, name):
    """How many executable mappings the daemon has of a file; None: it is emulated, and no text of it is for the kernel."""
    if emulator():
        return None
    with open(f"/proc/{daemon.process.pid}/maps") as maps:
        return sum(name in line and "r-xp" in line for line in maps)


def a_module_is_replaced_while_its_goroutines_run_and_are_held():
    with Directory() as directory:
        install(directory, "swap", VERSION % 1)
        with Daemon("--procs", "2", modules=directory.path) as daemon:
            client = daemon.client()
            before = client.get("/v1/modules/swap")
            assert before["leaving"] == [] and before["kept_by"] is None, before
            running, held = client.spawn("swap", "spin"), client.spawn("swap", "spin")
            until(lambda: client.get(f"/v1/goroutines/{held}")["cpu_ns"] > 1000000, "it is in its loop")
            suspension = client.want(200, "POST", f"/v1/goroutines/{held}/suspend", {"lease_ms": 600000}).json["id"]
            install(directory, "swap", VERSION % 2)
            client.want(409, "POST", "/v1/modules", {"name": "swap"}, "module-changed")
            after = client.want(201, "POST", "/v1/modules", {"name": "swap", "replace": True}).json
            assert after["build_id"] != before["build_id"] and after["live"] == 0, after
            assert [(l["build_id"], l["live"]) for l in after["leaving"]] == [(before["build_id"], 2)], after
            assert after["leaving"][0]["text"] == before["text"] != after["text"], after
            client.want(200, "POST", "/v1/modules", {"name": "swap", "replace": True})  # nothing to do
            assert client.wait_dead(client.spawn("swap", "which"))["code"] == 2
            # The held one still is where it was, and has names.
            frames = client.get(f"/v1/goroutines/{held}/stack")["frames"]
            assert any(f["function"] == "spin" and f["module"] == "swap" for f in frames), frames
            client.want(409, "DELETE", "/v1/modules/swap", code="module-busy")
            client.want(204, "DELETE", f"/v1/suspensions/{suspension}")
            for g in (running, held):
                client.want(202, "DELETE", f"/v1/goroutines/{g}")
                assert client.wait_dead(g)["code"] == 1
            until(lambda: client.get("/v1/modules/swap")["leaving"] == [], "the old build has left")
            assert text_mappings(daemon, "swap.so") in (1, None)
            until(lambda: client.ask("DELETE", "/v1/modules/swap").status == 204, "it is unloaded")
            client.want(404, "GET", "/v1/modules/swap", code="module-not-loaded")
            client.want(404, "DELETE", "/v1/modules/swap", code="module-not-loaded")
            client.want(404, "POST", "/v1/goroutines", {"module": "swap", "entry": "which"}, "module-not-loaded")
            assert text_mappings(daemon, "swap.so") in (0, None)
            client.want(201, "POST", "/v1/modules", {"name": "swap"})
            assert client.wait_dead(client.spawn("swap", "which"))["code"] == 2


def links_and_modes_do_not_lead_out_of_the_directory():
    with Directory() as outside, Directory() as directory:
        outside.copy("hog")
        directory.copy("pipeline", "real")
        os.symlink(outside.file("hog.so"), directory.file("escape.so"))
        os.symlink("real.so", directory.file("inside.so"))
        os.symlink("/nonexistent", directory.file("dangling.so"))
        os.mkdir(directory.file("folder.so"))
        os.mkdir(directory.file("sub"))
        directory.copy("hog", "sub/hog")
        os.symlink("sub/hog.so", directory.file("below.so"))
        os.mkfifo(directory.file("fifo.so"))
        directory.copy("echo", "group")
        os.chmod(directory.file("group.so"), 0o664)
        if os.geteuid() == 0:
            directory.copy("echo", "theirs")
            os.chown(directory.file("theirs.so"), 65534, 65534)
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            items = {item["name"]: item for item in client.get("/v1/modules")["items"]}
            loaded = sorted(name for name, item in items.items() if item["loaded"])
            assert len(loaded) == 1 and loaded[0] in ("inside", "real"), items  # one build under two names is one too many
            marks = {"escape": "outside", "below": "outside", "folder": "regular", "fifo": "regular", "group": "chmod go-w"}
            if os.geteuid() == 0:
                marks["theirs"] = "uid 65534"
            for name, mark in marks.items():
                assert not items[name]["loaded"] and mark in items[name]["error"], items[name]
                client.want(422, "POST", "/v1/modules", {"name": name}, "module-refused")
            client.want(404, "POST", "/v1/modules", {"name": "dangling"}, "not-found")


def a_directory_that_others_can_write_is_refused():
    with Directory() as directory:
        directory.copy("hog")
        for mode in (0o777, 0o775, 0o1777):
            os.chmod(directory.path, mode)
            done = subprocess.run([os.path.join(Daemon.bin, "graspd"), "--unix", directory.file("s"), "--modules", directory.path],
                                  capture_output=True, text=True, timeout=30)
            assert done.returncode == 1 and "chmod go-w" in done.stderr, (oct(mode), done)
        os.chmod(directory.path, 0o755)


def bad_input_gets_a_clear_answer():
    """What issue lists call bad input, each with the words that say what to fix."""
    with Directory() as directory:
        directory.copy("hog")
        directory.build("tls", TLS, directory.grasp_cc())
        directory.build("refused", REFUSED, directory.grasp_cc())
        directory.build("plain", EMPTY, [Daemon.cc, "-shared", "-fPIC"])
        directory.copy("hog", "foreign")
        with open(directory.file("foreign.so"), "r+b") as file:
            file.seek(18)
            machine = int.from_bytes(file.read(2), "little")
            file.seek(18)
            file.write((183 + 62 - machine).to_bytes(2, "little"))
        with open(directory.file("cut.so"), "wb") as file, open(directory.file("hog.so"), "rb") as whole:
            file.write(whole.read()[:5000])
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            spawn = "/v1/goroutines"
            rows = [
                (404, "GET", "/v1/goroutines/12345", None, "not-found", "12345"),
                (400, "GET", "/v1/goroutines/abc", None, "bad-request", "integers from 1"),
                (404, "GET", "/v1/suspensions/12345", None, "not-found", "12345"),
                (404, "GET", "/v1/modules/none", None, "module-not-loaded", "GET /v1/modules"),
                (400, "POST", spawn, '{"module": "hog", }', "bad-request", "JSON"),
                (400, "POST", spawn, '{"module": "hog", "entry": "scalar", "colour": 1}', "unknown-field", "colour"),
                (400, "POST", spawn, {"module": 7, "entry": "scalar"}, "bad-request", "module"),
                (404, "POST", spawn, {"module": "none", "entry": "x"}, "module-not-loaded", "none"),
                (404, "POST", spawn, {"module": "hog", "entry": "x"}, "entry-not-found", "x"),
                (404, "POST", spawn, {"module": "plain", "entry": "x"}, "module-not-loaded", "plain"),
                (422, "POST", "/v1/modules", {"name": "plain"}, "module-refused", "grasp-cc"),
                (422, "POST", "/v1/modules", {"name": "refused"}, "module-refused", "pthread_exit"),
                (422, "POST", "/v1/modules", {"name": "foreign"}, "module-refused", "built for"),
                (422, "POST", "/v1/modules", {"name": "cut"}, "module-refused", "cut"),
                (404, "POST", "/v1/modules", {"name": "absent"}, "not-found", "absent.so"),
                (400, "POST", "/v1/modules", {"name": "/etc/passwd"}, "bad-request", "name"),
            ]
            for status, method, target, body, code, mark in rows:
                detail = client.want(status, method, target, body, code).json["detail"]
                assert mark in detail, (target, body, detail)
            tls = client.get("/v1/modules/tls")
            assert tls["goroutines"] == "wired" and "thread-local" in tls["wired_because"], tls
            assert client.wait_dead(client.spawn("tls", "run"))["code"] == 0
            assert client.get("/v1/runtime")["live"] == 0


def a_mended_file_loses_its_error():
    with Directory() as directory:
        directory.copy("hog")
        os.chmod(directory.file("hog.so"), 0o666)
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            assert client.get("/v1/modules/hog")["loaded"] is False
            os.chmod(directory.file("hog.so"), 0o644)
            client.want(201, "POST", "/v1/modules", {"name": "hog"})
            items = client.get("/v1/modules")["items"]
            assert len(items) == 1 and items[0]["loaded"], items


def without_a_directory_nothing_is_loaded():
    with Daemon(modules=None) as daemon:
        client = daemon.client()
        client.want(403, "POST", "/v1/modules", {"name": "hog"}, "forbidden")
        assert client.get("/v1/modules")["items"] == []


def thread_locals_wire_goroutines_to_threads():
    with Directory() as directory:
        directory.build("tls", TLS, directory.grasp_cc())
        with Daemon(modules=directory.path) as daemon:
            client = daemon.client()
            module = client.get("/v1/modules/tls")
            assert module["loaded"] and module["goroutines"] == "wired" and module["wired_because"], module
            for g in client.spawn("tls", "run", count=4):
                assert client.wait_dead(g)["code"] == 0


main([
    bad_files_are_listed_and_stop_nothing,
    a_file_whose_name_no_request_could_give_is_listed_as_refused,
    a_module_of_another_architecture_is_refused,
    a_module_without_entries_says_so,
    modules_are_loaded_on_request,
    a_module_is_replaced_while_its_goroutines_run_and_are_held,
    links_and_modes_do_not_lead_out_of_the_directory,
    a_directory_that_others_can_write_is_refused,
    bad_input_gets_a_clear_answer,
    a_mended_file_loses_its_error,
    without_a_directory_nothing_is_loaded,
    thread_locals_wire_goroutines_to_threads,
])
