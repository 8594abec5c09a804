// What a person does in the dashboard, in Chromium: node browser.mjs BIN MODULES. Each case is a claim.
import { chromium } from "playwright-core";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startDaemon } from "./daemon.mjs";

const HANG_MS = 60000;
const CROWD = 20000;
const ROWS_IN_PAGE_MAX = 200; // of a table of any length
const LOOK_MS = 200; // how long to look to see that a counter stands still

const [bin, modules] = process.argv.slice(2);
const daemon = await startDaemon(bin, modules);
const counter = join(daemon.folder, "counter");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
page.setDefaultTimeout(HANG_MS);
const faults = [];
page.on("pageerror", (error) => faults.push(`error in the page: ${error.message}`));
page.on("console", (message) => /Content Security Policy/.test(message.text()) && faults.push(message.text()));
page.on("request", (request) => {
  const url = request.url();
  if (!url.startsWith(`http://127.0.0.1:${daemon.port}/`) && !url.startsWith("data:") && !url.startsWith("blob:")) faults.push(`request to ${url}`);
});

function check(condition, what) {
  if (!condition) throw new Error(what);
}

async function until(probe, what) {
  const end = Date.now() + HANG_MS;
  for (;;) {
    const value = await probe();
    if (value) return value;
    check(Date.now() < end, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const count = async () => (await readFile(counter)).readBigUInt64LE(0);
const open = (path) => page.evaluate((hash) => (location.hash = hash), `#/${path}`);
const row = (id) => page.locator(`[role=row]:has(a[href="#/goroutines/${id}"])`);
let hog;

const only = process.env.GRASP_CASES?.split(",");
const cases = {
  async the_token_leaves_the_address_bar_at_once() {
    await page.goto(`http://127.0.0.1:${daemon.port}/#token=${daemon.token}`);
    await page.getByText("live", { exact: true }).waitFor();
    check(!page.url().includes(daemon.token), `the URL is ${page.url()}`);
  },

  async a_goroutine_started_from_the_page_is_in_the_table() {
    await open("modules");
    await page.locator("#entry").selectOption("hog/scalar");
    await page.locator("#args").fill(JSON.stringify({ counter, stretch: 0 }));
    await page.locator("#labels").fill("app=web");
    await page.getByRole("button", { name: "Start" }).click();
    hog = await until(async () => (await daemon.call("GET", "/v1/goroutines?selector=app%3Dweb")).items[0]?.id, "the goroutine exists");
    await open("goroutines");
    await row(hog).waitFor();
  },

  async suspending_stops_its_counter_and_resuming_moves_it() {
    await open(`goroutines/${hog}`);
    await until(async () => (await count()) > 0n, "the counter moves");
    await page.locator("#suspend").click();
    await page.locator(".state.suspended").first().waitFor();
    const stopped = await count();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    check((await count()) === stopped, "the counter moved while it was suspended");
    await page.locator("#resume").click();
    await until(async () => (await count()) > stopped, "the counter moves again");
  },

  async a_second_snapshot_marks_the_registers_that_changed() {
    await page.locator("#take-snapshot").click();
    await page.getByText("scalar_stretch").first().waitFor();
    await page.locator("#take-snapshot").click();
    await page.locator(".register.changed").first().waitFor();
  },

  async a_group_is_held_with_a_lease_that_counts_down_and_can_be_renewed() {
    await open("goroutines");
    await row(hog).locator("input[type=checkbox]").check();
    await page.getByRole("button", { name: "Hold 1 marked" }).click();
    await until(async () => (await daemon.call("GET", `/v1/goroutines/${hog}`)).suspended, "it is held");
    await open("suspensions");
    const timer = page.getByRole("timer").first();
    await timer.waitFor();
    const shown = await timer.textContent();
    await until(async () => (await timer.textContent()) !== shown, "the countdown goes on");
    const before = (await daemon.call("GET", "/v1/suspensions")).items[0].expires_at;
    await page.getByRole("button", { name: "Renew" }).click();
    await until(async () => (await daemon.call("GET", "/v1/suspensions")).items[0].expires_at > before, "the lease is longer");
    await page.getByRole("button", { name: "Release" }).click();
    await until(async () => !(await daemon.call("GET", `/v1/goroutines/${hog}`)).suspended, "it is released");
  },

  async keys_select_suspend_and_resume() {
    await open("goroutines");
    await row(hog).waitFor();
    await page.locator("#goroutine-rows").focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("s");
    await until(async () => (await daemon.call("GET", `/v1/goroutines/${hog}`)).suspended, "s suspends it");
    await page.keyboard.press("r");
    await until(async () => !(await daemon.call("GET", `/v1/goroutines/${hog}`)).holds, "r resumes it");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: `Goroutine ${hog}` }).waitFor();
  },

  async events_tell_of_it() {
    await open("events");
    await page.locator(".event.suspended").first().waitFor();
    await page.locator(".event.resumed").first().waitFor();
  },

  async a_flame_graph_and_a_timeline_are_drawn() {
    await open("flame");
    await page.locator("#flame-load").click();
    await page.locator(".flame-box", { hasText: "scalar" }).first().waitFor();
    await open("timeline");
    await page.locator("#record").click();
    await page.locator("canvas.timeline").waitFor();
    await page.getByText(/slices on \d+ tracks/).waitFor();
  },

  async a_snapshot_is_saved_and_shown() {
    await open("snapshots");
    await page.getByRole("button", { name: "Save a cut of all" }).click();
    await page.getByRole("button", { name: "Show" }).first().click();
    await page.getByText("scalar_stretch").first().waitFor();
  },

  async bad_input_says_what_is_wrong_and_changes_nothing() {
    await open("modules");
    await page.locator("#args").fill("{counter");
    await page.getByRole("button", { name: "Start" }).click();
    await page.locator(".notice.error", { hasText: "not JSON" }).waitFor();
    await page.locator("#module-name").fill("nonesuch");
    await page.getByRole("button", { name: "Load", exact: true }).click();
    await page.locator(".notice.error", { hasText: "nonesuch" }).waitFor();
    check((await daemon.call("GET", "/v1/goroutines")).items.length === 1, "something was started");
  },

  async every_control_has_a_name() {
    for (const path of ["goroutines", `goroutines/${hog}`, "suspensions", "modules", "snapshots", "timeline", "flame", "charts", "deadlocks", "events"]) {
      await open(path);
      await page.locator("main > section").waitFor();
      const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, a")]
        .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.title || e.closest("label")))
        .map((e) => e.outerHTML));
      check(nameless.length === 0, `${path}: ${nameless.join(" ")}`);
    }
  },

  async twenty_thousand_goroutines_are_filtered_and_scrolled_with_few_rows_in_the_page() {
    await daemon.call("POST", "/v1/goroutines", { module: "deadlock", entry: "channel", count: CROWD });
    await open("goroutines");
    await page.getByText(new RegExp(`${(CROWD + 1).toLocaleString("en-US")} shown`)).waitFor();
    await page.evaluate(() => {
      window.longest = 0;
      new PerformanceObserver((list) => list.getEntries().forEach((e) => (window.longest = Math.max(window.longest, e.duration)))).observe({ type: "longtask" });
    });
    const rows = page.locator("#goroutine-rows");
    for (let i = 1; i <= 20; i++) {
      await rows.evaluate((box, share) => (box.scrollTop = box.scrollHeight * share), i / 20);
      await page.evaluate(() => new Promise(requestAnimationFrame));
    }
    check((await page.locator(".grid-row").count()) <= ROWS_IN_PAGE_MAX, "the whole list is in the page");
    await page.locator("#filter-text").fill(`${hog} hog/scalar`);
    await page.getByText("1 shown", { exact: false }).waitFor();
    await page.locator("#filter-text").fill("");
    console.log(`longest task of the page's main thread with ${CROWD} goroutines: ${(await page.evaluate(() => window.longest)).toFixed(0)} ms`);
  },

  async a_restart_of_the_daemon_is_told_and_survived() {
    await daemon.stop();
    await page.locator(".connection.waiting").waitFor();
    await daemon.start();
    await page.getByText("The daemon was restarted at").waitFor();
    await page.locator(".connection.live").waitFor();
    await page.getByText("0 shown of 0", { exact: false }).waitFor();
  },

  async a_wrong_token_is_asked_for_again() {
    await page.evaluate(() => sessionStorage.setItem("grasp.token", "wrong"));
    await page.reload();
    await page.getByRole("heading", { name: "Token needed" }).waitFor();
    await page.locator("#token").fill(daemon.token);
    await page.getByRole("button", { name: "Use it" }).click();
    await page.locator(".connection.live").waitFor();
  },

  async nothing_broke_the_policy_or_left_the_daemon() {
    check(faults.length === 0, faults.join("\n"));
  },
};

let passed = 0;
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  if (only && !only.some((part) => name.includes(part))) continue;
  try {
    await run();
    passed++;
    console.log(`ok     ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
}
await browser.close();
await daemon.stop();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
