// Modules, loading, and starting entries.
import { useState } from "preact/hooks";
import * as api from "../api.js";
import { count } from "../format.js";
import { html } from "../html.js";
import { Field, Table, useLoaded } from "../parts.js";
import { attempt } from "../store.js";

function Load({ done }) {
  const [name, setName] = useState("");
  const [replace, setReplace] = useState(false);
  const load = async (event) => {
    event.preventDefault();
    if (await attempt(() => api.post("/v1/modules", replace ? { name, replace: true } : { name }), `Module ${name} is loaded`)) done();
  };
  return html`<form class="bar" onSubmit=${load} aria-label="Load a module">
    <${Field} label="Name in the module directory"><input id="module-name" required pattern="[A-Za-z0-9_.\\-]+" value=${name} onInput=${(e) => setName(e.target.value)} /><//>
    <label class="check"><input type="checkbox" checked=${replace} onChange=${(e) => setReplace(e.target.checked)} /> replace a changed one</label>
    <button>Load</button></form>`;
}

function Start({ modules, done }) {
  const entries = modules.filter((m) => m.loaded).flatMap((m) => m.entries.map((e) => ({ module: m.name, entry: e.name, doc: e.doc })));
  const [chosen, setChosen] = useState("");
  const [args, setArgs] = useState("");
  const [labels, setLabels] = useState("");
  const [copies, setCopies] = useState(1);
  const entry = entries.find((e) => `${e.module}/${e.entry}` === chosen) || entries[0];
  const start = async (event) => {
    event.preventDefault();
    const body = { module: entry.module, entry: entry.entry };
    const ok = await attempt(async () => {
      if (args.trim()) {
        try {
          body.args = JSON.parse(args);
        } catch (error) {
          throw new Error(`The arguments are not JSON: ${error.message}`);
        }
      }
      if (labels.trim()) body.labels = Object.fromEntries(labels.split(",").map((pair) => pair.trim().split("=", 2)).map(([k, v]) => [k, v ?? ""]));
      if (copies > 1) body.count = copies;
      return api.post("/v1/goroutines", body);
    }, ({ ids }) => (ids.length === 1 ? `Goroutine ${ids[0]} started` : `${count(ids.length)} goroutines started`));
    if (ok) done();
  };
  if (!entry) return null;
  return html`<form class="bar" onSubmit=${start} aria-label="Start goroutines">
    <${Field} label="Entry"><select id="entry" value=${chosen || `${entry.module}/${entry.entry}`} onChange=${(e) => setChosen(e.target.value)}>${entries.map((e) => html`<option value=${`${e.module}/${e.entry}`}>${e.module}/${e.entry}</option>`)}</select><//>
    <${Field} label="Arguments (JSON)"><input id="args" class="long" placeholder=${'{"counter": "/tmp/c"}'} value=${args} onInput=${(e) => setArgs(e.target.value)} /><//>
    <${Field} label="Labels"><input id="labels" placeholder="app=web,tier=a" value=${labels} onInput=${(e) => setLabels(e.target.value)} /><//>
    <${Field} label="Count"><input type="number" id="count" class="short" min="1" max="100000" value=${copies} onInput=${(e) => setCopies(Number(e.target.value) || 1)} /><//>
    <button>Start</button><span class="note">${entry.doc}</span></form>`;
}

export function Modules() {
  const [acted, setActed] = useState(0);
  const { value, error } = useLoaded((signal) => api.get("/v1/modules?limit=1000", { signal }), [acted], 3000);
  const done = () => setActed((n) => n + 1);
  const modules = value?.items || [];
  const unload = (m) => confirm(`Unload ${m.name}?`) && attempt(() => api.call("DELETE", `/v1/modules/${m.name}`), `Module ${m.name} is unloaded`).then(done);
  return html`<section class="page" aria-label="Modules">
    <div class="bar"><h1>Modules</h1></div>
    ${error && html`<p class="error" role="alert">${error.message}</p>`}
    <${Start} modules=${modules} done=${done} />
    <${Table} label="Modules" rowKey=${(m) => m.name} rows=${modules} empty=${value ? "No module is loaded." : "Loading …"} columns=${[
      ["Name", (m) => m.name],
      ["Entries", (m) => (m.loaded ? m.entries.map((e) => html`<div><b>${e.name}</b> <span class="note">${e.doc}</span></div>`) : html`<span class="error">${m.error}</span>`), "grow"],
      ["Goroutines", (m) => (m.loaded ? `${count(m.live)} alive, ${m.goroutines ?? "free"}` : "–")],
      ["Build", (m) => html`<code>${(m.build_id || "").slice(0, 12)}</code>`],
      ["", (m) => m.loaded && html`<button class="quiet" disabled=${m.live > 0} onClick=${() => unload(m)}>Unload</button>`],
    ]} />
    <${Load} done=${done} />
  </section>`;
}
