// Who waits for whom: cycles, and waits whose other party is missing.
import * as api from "../api.js";
import { duration } from "../format.js";
import { html } from "../html.js";
import { Empty, Id, Table, useLoaded } from "../parts.js";
import { useStore } from "../store.js";

const WAIT_COLUMNS = [
  ["Goroutine", (w) => html`<${Id} id=${w.goroutine} />`, "num"],
  ["Entry", (w) => `${w.module ?? "–"}/${w.entry ?? "–"}${w.name ? ` (${w.name})` : ""}`],
  ["Since", (w) => duration(w.wait_ns), "num"],
  ["Waits for", (w) => html`${w.waits_for?.op ?? ""} ${w.waits_for?.kind ?? "–"} <code>${w.waits_for?.address ?? ""}</code>`],
];

export function Deadlocks() {
  const { changes } = useStore();
  const { value, error } = useLoaded((signal) => api.get("/v1/deadlocks", { signal }), [changes], 3000);
  return html`<section class="page" aria-label="Deadlocks">
    <div class="bar"><h1>Deadlocks</h1>
      ${value && html`<span class=${value.deadlock ? "error" : "note"}>${value.deadlock ? "Nothing can go on." : value.because ? `Not everything waits: ${value.because}${value.because_goroutine ? ` (goroutine ${value.because_goroutine})` : ""}` : "No deadlock."}</span>`}</div>
    ${error && html`<p class="error" role="alert">${error.message}</p>`}
    ${(value?.cycles || []).map((cycle, i) => html`<section class="card" key=${i}><h2>Cycle of ${cycle.length}</h2>
      <${Table} label=${`Cycle ${i + 1}`} rows=${cycle} rowKey=${(w) => w.goroutine} columns=${[...WAIT_COLUMNS, ["Needs", (w) => html`<${Id} id=${w.needs} />`, "num"]]} /></section>`)}
    ${value?.waiting?.length > 0 && html`<section class="card"><h2>Somebody is missing</h2>
      <${Table} label="Waits" rows=${value.waiting} rowKey=${(w) => w.goroutine} columns=${[...WAIT_COLUMNS, ["Missing", (w) => w.missing ?? "–"]]} /></section>`}
    ${value && !value.cycles?.length && !value.waiting?.length && html`<${Empty}>No cycle, and no wait whose other party is missing.<//>`}
  </section>`;
}
