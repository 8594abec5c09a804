// Flame graph of where goroutines are (or spend their time): width is how many; click zooms, text searches.
import { useMemo, useState } from "preact/hooks";
import * as api from "../api.js";
import { count } from "../format.js";
import { html } from "../html.js";
import { Empty, Field } from "../parts.js";
import { attempt } from "../store.js";

const LEVELS_MAX = 64;
const SHARE_MIN = 0.001; // narrower frames are not drawn

// "a;b;c 12" lines to a tree { name, value, children }.
export function treeOf(folded) {
  const root = { name: "all", value: 0, children: new Map() };
  for (const line of folded.split("\n")) {
    const split = line.lastIndexOf(" ");
    const value = Number(line.slice(split + 1));
    if (split < 0 || !(value > 0)) continue;
    root.value += value;
    let node = root;
    for (const name of line.slice(0, split).split(";")) {
      if (!node.children.has(name)) node.children.set(name, { name, value: 0, children: new Map() });
      node = node.children.get(name);
      node.value += value;
    }
  }
  return root;
}

function boxes(root) {
  const out = [];
  const visit = (node, left, level) => {
    out.push({ node, left, level, share: node.value / root.value });
    if (level >= LEVELS_MAX) return;
    let at = left;
    for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const share = child.value / root.value;
      if (share >= SHARE_MIN) visit(child, at, level + 1);
      at += share;
    }
  };
  visit(root, 0, 0);
  return out;
}

function hue(name) {
  let hash = 0;
  for (const c of name) hash = (hash * 31 + c.charCodeAt(0)) >>> 0;
  return 18 + (hash % 38);
}

function Graph({ root, search }) {
  const [zoomed, setZoomed] = useState(root);
  const shown = zoomed.value ? zoomed : root;
  const drawn = useMemo(() => boxes(shown), [shown]);
  const levels = Math.max(...drawn.map((b) => b.level)) + 1;
  const wanted = search.trim().toLowerCase();
  return html`<div class="flame" role="tree" aria-label="Flame graph" style=${{ height: `${levels * 22}px` }}>
    ${drawn.map(({ node, left, level, share }) => html`<button role="treeitem" key=${`${level}-${left}-${node.name}`}
      class=${`flame-box ${wanted && node.name.toLowerCase().includes(wanted) ? "found" : ""}`}
      style=${{ left: `${left * 100}%`, width: `${share * 100}%`, top: `${level * 22}px`, background: level ? `hsl(${hue(node.name)} 75% 62%)` : "" }}
      title=${`${node.name}: ${count(node.value)} (${((100 * node.value) / root.value).toFixed(1)} %)`}
      onClick=${() => setZoomed(node === shown ? root : node)}>${share > 0.02 ? node.name : ""}</button>`)}
  </div>`;
}

const SOURCES = {
  goroutines: { title: "where goroutines are now", path: () => "/debug/pprof/goroutine?format=folded" },
  cpu: { title: "where they spend CPU time", path: (seconds) => `/debug/pprof/profile?seconds=${seconds}&format=folded` },
};

export function Flame() {
  const [source, setSource] = useState("goroutines");
  const [seconds, setSeconds] = useState(2);
  const [busy, setBusy] = useState(false);
  const [tree, setTree] = useState(null);
  const [search, setSearch] = useState("");
  const load = async () => {
    setBusy(true);
    const text = await attempt(() => api.get(SOURCES[source].path(seconds)));
    setBusy(false);
    if (typeof text === "string") setTree(treeOf(text));
  };
  return html`<section class="page" aria-label="Flame graph">
    <div class="bar"><h1>Flame graph</h1>
      <${Field} label="Of"><select value=${source} onChange=${(e) => setSource(e.target.value)}>${Object.entries(SOURCES).map(([k, s]) => html`<option value=${k}>${s.title}</option>`)}</select><//>
      ${source === "cpu" && html`<${Field} label="Seconds"><input type="number" class="short" min="1" max="60" value=${seconds} onInput=${(e) => setSeconds(Number(e.target.value) || 1)} /><//>`}
      <button id="flame-load" disabled=${busy} onClick=${load}>${busy ? "Collecting …" : "Collect"}</button>
      <${Field} label="Find"><input type="search" value=${search} onInput=${(e) => setSearch(e.target.value)} /><//>
      ${tree && html`<span class="note">${count(tree.value)} samples; click a box to zoom, again to go back</span>`}</div>
    ${tree?.value ? html`<section class="card wide"><${Graph} key=${tree} root=${tree} search=${search} /></section>`
      : html`<${Empty}>${tree ? "No goroutine was found." : "Shows by whose calls goroutines got where they are; nobody is stopped for more than some microseconds."}<//>`}
  </section>`;
}
