// The event log: what the daemon tells, newest first.
import { useState } from "preact/hooks";
import { clock } from "../format.js";
import { html } from "../html.js";
import { Empty, Field, Id } from "../parts.js";
import { useStore } from "../store.js";

const KNOWN = ["type", "seq", "at", "goroutine", "root"];

function rest(event) {
  return Object.entries(event).filter(([k]) => !KNOWN.includes(k)).map(([k, v]) => `${k}=${typeof v === "object" ? JSON.stringify(v) : v}`).join("  ");
}

export function Events() {
  const { events } = useStore();
  const [type, setType] = useState("");
  const types = [...new Set(events.map((e) => e.type))].sort();
  const rows = type ? events.filter((e) => e.type === type) : events;
  return html`<section class="page" aria-label="Events">
    <div class="bar"><h1>Events</h1><span class="spacer"></span>
      <${Field} label="Type"><select value=${type} onChange=${(e) => setType(e.target.value)}><option value="">all</option>${types.map((t) => html`<option value=${t}>${t}</option>`)}</select><//></div>
    ${rows.length ? html`<table aria-label="Events" aria-live="polite"><thead><tr><th scope="col">Time</th><th scope="col" class="num">Seq</th><th scope="col">Type</th><th scope="col" class="num">Goroutine</th><th scope="col" class="grow">Details</th></tr></thead>
      <tbody>${rows.map((e) => html`<tr key=${e.seq}><td>${clock(e.at)}</td><td class="num">${e.seq}</td><td><span class=${`event ${e.type}`}>${e.type}</span></td><td class="num"><${Id} id=${e.goroutine ?? e.root} /></td><td class="grow">${rest(e)}</td></tr>`)}</tbody></table>`
      : html`<${Empty}>No event yet. Suspending, resuming, leases that run out, modules and log lines appear here.<//>`}
  </section>`;
}
