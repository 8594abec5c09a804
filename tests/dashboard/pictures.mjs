// The two pictures of the README: node pictures.mjs BIN MODULES FOLDER. Looked at by a person before they are committed.
import { chromium } from "playwright-core";
import { join } from "node:path";
import { startDaemon } from "./daemon.mjs";

const WAIT_MS = 60000;
const [bin, modules, folder] = process.argv.slice(2);
const daemon = await startDaemon(bin, modules);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });

async function open(scheme, width, height, path) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme });
  page.setDefaultTimeout(WAIT_MS);
  await page.goto(`http://127.0.0.1:${daemon.port}/#token=${daemon.token}`);
  await page.getByText("live", { exact: true }).waitFor();
  await page.evaluate((hash) => (location.hash = hash), `#/${path}`);
  return page;
}

// No notice lies over the page.
const quiet = (page) => page.waitForFunction(() => !document.querySelector(".notices .notice"));

const start = async (module, entry, args, labels, count) =>
  (await daemon.call("POST", "/v1/goroutines", { module, entry, args, labels, count })).ids;

const [scalar] = await start("hog", "scalar", { counter: join(daemon.folder, "a"), stretch: 0 }, { team: "red" });
const [calls] = await start("hog", "calls", { counter: join(daemon.folder, "b") }, { team: "blue" });
await start("hog", "simd", { counter: join(daemon.folder, "c") }, { team: "blue" });
await start("deadlock", "cycle", null, { team: "green" });
await start("pipeline", "sieve", { primes: 40000 }, { team: "red" });
await daemon.call("POST", `/v1/goroutines/${calls}/suspend`, { lease_ms: 600000, owner: "anna", reason: "a look at its loop" });

const list = await open("dark", 1200, 480, "goroutines");
await list.locator(`[role=row]:has(a[href="#/goroutines/${scalar}"])`).waitFor();
await quiet(list);
await list.screenshot({ path: join(folder, "dashboard-list.png") });

const one = await open("light", 1200, 860, `goroutines/${scalar}`);
await one.locator("#take-snapshot").click();
await one.getByText("scalar_stretch").first().waitFor();
await one.locator("#take-snapshot").click();
await one.locator(".register.changed").first().waitFor();
await one.locator("#suspend").click();
await one.locator(".state.suspended").first().waitFor();
await quiet(one);
await one.screenshot({ path: join(folder, "dashboard-goroutine.png") });

await browser.close();
await daemon.stop();
