// One goroutine: what it is, why it is not running, registers of two snapshots side by side, frames, holders, log.
import { useState } from "preact/hooks";
import * as api from "../api.js";
import { bytes, clock, count, duration, labels, place } from "../format.js";
import { html } from "../html.js";
import { Countdown, Empty, Id, State, Table, useLoaded } from "../parts.js";
import { attempt } from "../store.js";
import { resumeOne, suspendOne } from "./goroutines.js";

const baseName = (path) => path.split("/").pop();

function Facts({ g }) {
  const facts = [
    ["State", html`<${State} g=${g} />`],
    ["Entry", `${g.module ?? "–"}/${g.entry ?? "–"}${g.name ? ` (${g.name})` : ""}`],
    ["Root", html`<${Id} id=${g.root} />`],
    ["Parent", html`<${Id} id=${g.parent} />`],
    ["Created", clock(g.created_at)],
    ["CPU time", duration(g.cpu_ns)],
    ["Holds", count(g.holds)],
    ["Thread, processor", `${g.m ?? "–"}, ${g.p ?? "–"}`],
    ["Last seen at", place(g)],
    ["Stopped", `${count(g.preempts?.sync)} × at a check, ${count(g.preempts?.async)} × by signal`],
    ["Labels", labels(g) || "–"],
  ];
  if (g.exit) facts.push(["Exit", `${g.exit.reason}, code ${g.exit.code}`], ["Result", html`<code>${JSON.stringify(g.exit.result)}</code>`]);
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// One thing that it waits for, in words.
function Wait({ on }) {
  const parts = [html`${on.op ? `${on.op} on ` : ""}${on.kind} <code>${on.address}</code>`];
  if (on.owner) parts.push(html`, held by goroutine <${Id} id=${on.owner} /> (${on.owner_suspended ? "suspended" : on.owner_state}${on.owner_wait_reason ? `: ${on.owner_wait_reason}` : ""})`);
  if (on.capacity !== undefined) parts.push(`, ${on.length} of ${on.capacity} elements${on.closed ? ", closed" : ""}`);
  if (on.last_sender) parts.push(html`, last sender <${Id} id=${on.last_sender} />`);
  if (on.last_receiver) parts.push(html`, last receiver <${Id} id=${on.last_receiver} />`);
  const others = (on.waiters || []).slice(0, 20);
  if (others.length) parts.push(html`; waiting: ${others.map((id, i) => html`${i ? ", " : ""}<${Id} id=${id} />`)}${on.waiting > others.length ? ` and ${on.waiting - others.length} more` : ""}`);
  return html`<li>${parts}</li>`;
}

function whyLines(g) {
  if (g.suspended) return [`It is held: ${count(g.holds)} ${g.holds === 1 ? "hold" : "holds"}.`];
  if (g.holds) return ["A stop was requested; it has not reached a safe-point yet."];
  if (g.state === "runnable") return ["It could run, and waits for a processor."];
  if (g.state === "running") return ["It is running."];
  if (g.state === "syscall") return ["It is in a system call."];
  return [];
}

function Why({ g }) {
  if (g.state === "dead") return null;
  return html`<section class="card"><h2>Why is it not running?</h2>
    ${whyLines(g).map((l) => html`<p>${l}</p>`)}
    ${g.wait_reason && html`<p>It waits: ${g.wait_reason}, for ${duration(g.wait_ns)}${g.wait_timed ? ", with a deadline" : ""}.</p>`}
    ${g.waits_for?.length > 0 && html`<ul class="waits">${g.waits_for.map((on) => html`<${Wait} on=${on} />`)}</ul>`}
    ${g.locks_held?.length > 0 && html`<p>It holds ${g.locks_held.map((l, i) => html`${i ? ", " : ""}<code>${typeof l === "string" ? l : l.address}</code>`)}.</p>`}
  </section>`;
}

function Registers({ now, before }) {
  const names = Object.keys(now.registers);
  if (!names.length) return html`<${Empty}>No registers were saved at this safe-point.<//>`;
  return html`<div class="registers" role="list" aria-label="Registers">
    ${names.map((name) => {
      const changed = before && before.registers[name] !== now.registers[name];
      return html`<div role="listitem" class=${changed ? "register changed" : "register"} title=${changed ? `was ${before.registers[name] ?? "not saved"}` : ""}>
        <span>${name}</span><code>${now.registers[name]}</code>${changed && html`<span class="sr">changed</span>`}</div>`;
    })}</div>`;
}

function Frames({ snapshot }) {
  return html`<ol class="frames" aria-label="Stack frames">
    ${snapshot.frames.map((f) => html`<li class=${f.inlined ? "inlined" : ""}>
      <span class="fn">${f.function ?? f.pc}</span>${f.inlined ? html`<span class="tag">inlined</span>` : ""}
      <span class="src" title=${f.file ?? ""}>${f.file ? `${baseName(f.file)}:${f.line}` : ""}</span>
      <span class="mod">${f.module ?? ""}</span><code>${f.pc}</code></li>`)}
  </ol>`;
}

function Snapshot({ id, dead }) {
  const [shots, setShots] = useState([]);
  const take = async () => {
    const shot = await attempt(() => api.get(`/v1/goroutines/${id}/snapshot`));
    if (shot) setShots((old) => [{ ...shot, at: new Date() }, ...old].slice(0, 2));
  };
  const save = () => attempt(() => api.post("/v1/snapshots", { ids: [id] }), (s) => `Saved as snapshot ${s.id}`);
  const [now, before] = shots;
  const changed = before && now ? Object.keys(now.registers).filter((r) => now.registers[r] !== before.registers[r]).length : 0;
  return html`<section class="card wide"><h2>Snapshot</h2>
    <div class="bar">
      <button id="take-snapshot" disabled=${dead} onClick=${take}>${now ? "Take another" : "Take a snapshot"}</button>
      <button class="quiet" disabled=${dead} onClick=${save}>Save to the state directory</button>
      <a class="button quiet" href=${`#/roots/${id}`}>Who is referred to?</a>
      ${now && html`<span class="note">${now.safepoint} safe-point, stopped after ${duration(now.latency_ns)}, held ${duration(now.held_ns)}, ${bytes(now.stack.copied_bytes)} of stack${before ? `, ${changed} registers changed` : ""}</span>`}
    </div>
    ${now ? html`<div class="columns"><${Frames} snapshot=${now} /><${Registers} now=${now} before=${before} /></div>`
      : html`<${Empty}>A snapshot stops the goroutine for some microseconds, reads its registers and stack, and lets it go on. The second one marks the registers that changed.<//>`}
  </section>`;
}

function Holders({ g }) {
  const held = useLoaded(async (signal) => {
    const all = await Promise.all((g.suspensions || []).slice(0, 50).map((id) => api.get(`/v1/suspensions/${id}`, { signal }).catch(() => null)));
    return all.filter(Boolean);
  }, [String(g.suspensions)]);
  return html`<section class="card"><h2>Holders</h2>
    <${Table} label="Holders" rowKey=${(s) => s.id} rows=${held.value || []} empty="Nobody holds it." columns=${[
      ["Suspension", (s) => html`<a href="#/suspensions">${s.id}</a>`, "num"],
      ["Owner", (s) => s.owner || s.principal],
      ["Reason", (s) => s.reason || "–"],
      ["Lease", (s) => html`<${Countdown} expires=${Date.now() + s.remaining_ms} />`, "num"],
      ["", (s) => html`<button class="quiet" onClick=${() => attempt(() => api.post(`/v1/goroutines/${g.id}/resume`, { suspension: s.id }))}>Release</button>`],
    ]} /></section>`;
}

function Log({ id, root }) {
  const log = useLoaded((signal) => api.get(`/v1/goroutines/${root || id}/log`, { signal }), [id, root], 2000);
  const lines = log.value?.lines || [];
  return html`<section class="card"><h2>Log of root ${root}</h2>
    ${lines.length ? html`<pre class="log" tabindex="0" aria-label="Log">${lines.map((l) => (typeof l === "string" ? l : l.text ?? JSON.stringify(l))).join("\n")}</pre>` : html`<${Empty}>It wrote nothing.<//>`}</section>`;
}

export function Goroutine({ id }) {
  const { value: g, error } = useLoaded((signal) => api.get(`/v1/goroutines/${id}`, { signal }), [id], 500);
  if (!g) return html`<section class="page">${error ? html`<p class="error" role="alert">${error.message}</p>` : html`<${Empty}>Loading …<//>`}</section>`;
  const dead = g.state === "dead";
  const cancel = () => confirm(`Ask goroutine ${id} to end?`) && attempt(() => api.call("DELETE", `/v1/goroutines/${id}`), `Goroutine ${id} was asked to end`);
  return html`<section class="page" aria-label=${`Goroutine ${id}`}>
    <div class="bar">
      <h1>Goroutine ${id}</h1><${State} g=${g} />
      <span class="spacer"></span>
      <button id="suspend" disabled=${dead} onClick=${() => suspendOne(id)}>Suspend</button>
      <button id="resume" disabled=${dead || !g.holds} onClick=${() => resumeOne(id)}>Resume</button>
      <button class="danger" disabled=${dead} onClick=${cancel}>End it</button>
    </div>
    ${error && html`<p class="error" role="alert">${error.message}</p>`}
    <div class="cards">
      <section class="card"><h2>Facts</h2><${Facts} g=${g} /></section>
      <${Why} g=${g} />
      <${Snapshot} id=${id} dead=${dead} />
      <${Holders} g=${g} />
      <${Log} id=${id} root=${g.root} />
    </div>
  </section>`;
}

// What the goroutine's registers and stack point at.
export function Roots({ id }) {
  const { value, error } = useLoaded((signal) => api.get(`/v1/goroutines/${id}/roots`, { signal }), [id]);
  const rows = value?.items ?? value?.roots ?? [];
  const keys = [...new Set(rows.flatMap((r) => Object.keys(r)))];
  return html`<section class="page" aria-label="Roots"><div class="bar"><h1>What goroutine <${Id} id=${id} /> refers to</h1></div>
    ${error && html`<p class="error" role="alert">${error.message}</p>`}
    <${Table} label="Roots" rows=${rows} rowKey=${(r) => JSON.stringify(r)} empty=${value ? "Nothing that the runtime knows." : "Loading …"}
      columns=${keys.map((k) => [k.replaceAll("_", " "), (r) => (typeof r[k] === "object" ? JSON.stringify(r[k]) : String(r[k] ?? ""))])} />
  </section>`;
}
