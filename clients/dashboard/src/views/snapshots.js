// Saved snapshots: consistent cuts of groups, kept by the daemon in its state directory.
import { useState } from "preact/hooks";
import * as api from "../api.js";
import { clock, count, duration } from "../format.js";
import { html } from "../html.js";
import { Empty, Table, useLoaded } from "../parts.js";
import { attempt } from "../store.js";

// Downloads go through fetch, because a link can't send the token.
async function download(path, name) {
  const response = await api.open("GET", path);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

export function Snapshots() {
  const [acted, setActed] = useState(0);
  const [shown, setShown] = useState(null);
  const { value, error } = useLoaded((signal) => api.get("/v1/snapshots?limit=1000", { signal }), [acted], 5000);
  const again = () => setActed((n) => n + 1);
  const show = async (id) => {
    const text = await attempt(() => api.get(`/v1/snapshots/${id}?format=text`));
    if (text) setShown({ id, text });
  };
  return html`<section class="page" aria-label="Snapshots">
    <div class="bar"><h1>Saved snapshots</h1><span class="spacer"></span>
      <button onClick=${() => attempt(() => api.post("/v1/snapshots", { all: true }), (s) => `Snapshot ${s.id} of ${count(s.count)} goroutines is saved`).then(again)}>Save a cut of all</button></div>
    ${error && html`<p class="error" role="alert">${error.message}</p>`}
    <${Table} label="Snapshots" rowKey=${(s) => s.id} rows=${value?.items || []} empty="Nothing is saved." columns=${[
      ["ID", (s) => s.id, "num"],
      ["Taken", (s) => clock(s.created_at)],
      ["Goroutines", (s) => count(s.count), "num"],
      ["Skew", (s) => duration(s.skew_ns), "num"],
      ["", (s) => html`<span class="actions">
        <button class="quiet" onClick=${() => show(s.id)}>Show</button>
        ${["json", "folded", "core"].map((f) => html`<button class="quiet" onClick=${() => attempt(() => download(`/v1/snapshots/${s.id}?format=${f}`, `snapshot-${s.id}.${f}`))}>${f}</button>`)}
        <button class="danger" onClick=${() => attempt(() => api.call("DELETE", `/v1/snapshots/${s.id}`), `Snapshot ${s.id} is deleted`).then(again)}>Delete</button></span>`],
    ]} />
    ${shown && html`<section class="card wide"><h2>Snapshot ${shown.id}</h2><pre class="log tall" tabindex="0">${shown.text}</pre></section>`}
    ${!value && !error && html`<${Empty}>Loading …<//>`}
  </section>`;
}
