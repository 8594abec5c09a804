#!/usr/bin/env python3
"""e2e_modules.py: which files become modules, and what is said of those that do not."""
import os
import shutil
import subprocess
import tempfile

from harness import Daemon, main

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
        directory.build("plain", EMPTY, ["cc", "-shared", "-fPIC"])
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


def a_module_of_another_architecture_is_refused():
    with Directory() as directory:
        directory.copy("hog", "other")
        with open(directory.file("other.so"), "r+b") as file:
            file.seek(18)  # e_machine
            file.write((243).to_bytes(2, "little"))  # RISC-V
        with Daemon(modules=directory.path) as daemon:
            item = daemon.client().get("/v1/modules/other")
            assert not item["loaded"] and item["error"], item


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
    a_module_of_another_architecture_is_refused,
    modules_are_loaded_on_request,
    a_mended_file_loses_its_error,
    without_a_directory_nothing_is_loaded,
    thread_locals_wire_goroutines_to_threads,
])
