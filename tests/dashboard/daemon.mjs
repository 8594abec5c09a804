// A graspd of the test's own, with a token and a TCP port, that can be started anew on the same port.
import { spawn } from "node:child_process";
import { mkdtemp, writeFile, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";

export async function startDaemon(bin, modules) {
  const folder = await mkdtemp(join(tmpdir(), "grasp-"));
  const token = randomBytes(32).toString("hex");
  await writeFile(join(folder, "token"), `${token}\n`, { mode: 0o600 });
  await mkdir(join(folder, "state"), { mode: 0o700 });
  const daemon = { folder, token, port: 0, process: null };

  daemon.start = async () => {
    daemon.process = spawn(join(bin, "graspd"), ["--modules", modules, "--unix", join(folder, "s"), "--listen", `127.0.0.1:${daemon.port}`,
      "--token-file", join(folder, "token"), "--state", join(folder, "state"), "--procs", "2"], { stdio: ["ignore", "pipe", "pipe"] });
    let log = "";
    daemon.process.stderr.on("data", (part) => (log += part));
    for await (const line of createInterface({ input: daemon.process.stdout })) {
      const match = line.match(/^graspd ready .*listen=127\.0\.0\.1:(\d+)/);
      if (match) {
        daemon.port = Number(match[1]);
        daemon.process.stdout.resume();
        return;
      }
    }
    throw new Error(`graspd did not start: ${log}`);
  };
  daemon.stop = async () => {
    if (daemon.process.exitCode !== null) return;
    const ended = new Promise((resolve) => daemon.process.once("exit", resolve));
    daemon.process.kill("SIGTERM");
    await ended;
  };
  daemon.call = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${daemon.port}${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text && (response.headers.get("content-type") || "").includes("json") ? JSON.parse(text) : text;
  };
  await daemon.start();
  return daemon;
}
