// The live table: filtered by the daemon where it can, by text here; only the rows in sight are in the page.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "../api.js";
import { count, duration, labels, place } from "../format.js";
import { html } from "../html.js";
import { Field, State } from "../parts.js";
import { attempt, notify, useStore } from "../store.js";

const ROW_PX = 28;
const ROWS_BEYOND = 12; // rendered above and below what is in sight
const STATES = ["runnable", "running", "syscall", "waiting", "preempted", "dead"];
const REFRESH_MS_MIN = 1000;
const REFRESH_SHARE = 4; // a list that took t to load is loaded again after t times this

const COLUMNS = [
  { key: "id", title: "ID", cls: "num", render: (g) => html`<a href=${`#/goroutines/${g.id}`} tabindex="-1">${g.id}</a>`, sort: (g) => g.id },
  { key: "state", title: "State", render: (g) => html`<${State} g=${g} />`, sort: (g) => (g.suspended ? "suspended" : g.state) },
  { key: "holds", title: "Holds", cls: "num", render: (g) => g.holds || "", sort: (g) => g.holds },
  { key: "entry", title: "Entry", render: (g) => `${g.module ?? "–"}/${g.entry ?? "–"}`, sort: (g) => `${g.module}/${g.entry}` },
  { key: "name", title: "Name", render: (g) => g.name ?? "", sort: (g) => g.name ?? "" },
  { key: "cpu", title: "CPU", cls: "num", render: (g) => duration(g.cpu_ns), sort: (g) => g.cpu_ns },
  { key: "wait", title: "Waits for", render: (g) => (g.wait_reason ? `${g.wait_reason} ${duration(g.wait_ns)}` : ""), sort: (g) => g.wait_ns },
  { key: "place", title: "Place", render: place, sort: place },
  { key: "labels", title: "Labels", render: labels, sort: labels },
];

function textOf(g) {
  return (g.text ??= `${g.id} ${g.module}/${g.entry} ${g.name} ${place(g)} ${g.wait_reason ?? ""} ${labels(g)}`.toLowerCase());
}

function listPath(filter) {
  const query = new URLSearchParams();
  if (filter.state === "suspended") query.set("suspended", "true");
  else if (filter.state) query.set("state", filter.state);
  if (filter.module) query.set("module", filter.module);
  if (filter.selector) query.set("selector", filter.selector);
  return `/v1/goroutines?${query}`;
}

// The list, loaded again and again, at a pace that its size allows.
function useGoroutines(filter) {
  const [list, setList] = useState({ rows: [], loading: true, error: null, tookMs: 0 });
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const load = async () => {
      const began = performance.now();
      try {
        if (!document.hidden) {
          const rows = [];
          await api.streamList(listPath(filter), (part) => rows.push(...part), abort.signal);
          setList({ rows, loading: false, error: null, tookMs: performance.now() - began });
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        setList((old) => ({ ...old, loading: false, error }));
      }
      timer = setTimeout(load, Math.max(REFRESH_MS_MIN, REFRESH_SHARE * (performance.now() - began)));
    };
    load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [filter.state, filter.module, filter.selector]);
  return list;
}

function useSorted(rows, text, sort) {
  return useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const kept = wanted ? rows.filter((g) => textOf(g).includes(wanted)) : rows.slice();
    if (sort.key !== "id" || sort.down) {
      const by = COLUMNS.find((c) => c.key === sort.key).sort;
      kept.sort((a, b) => {
        const x = by(a), y = by(b);
        return (x < y ? -1 : x > y ? 1 : a.id - b.id) * (sort.down ? -1 : 1);
      });
    }
    return kept;
  }, [rows, text, sort.key, sort.down]);
}

function Grid({ rows, active, setActive, marked, toggle, sort, setSort }) {
  const body = useRef(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  useEffect(() => {
    const measure = () => setView({ top: body.current.scrollTop, height: body.current.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(body.current);
    body.current.addEventListener("scroll", measure, { passive: true });
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const i = rows.findIndex((g) => g.id === active);
    if (i < 0) return;
    const top = i * ROW_PX, box = body.current;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW_PX > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW_PX - box.clientHeight;
  }, [active]);
  const from = Math.max(0, Math.floor(view.top / ROW_PX) - ROWS_BEYOND);
  const to = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW_PX) + ROWS_BEYOND);
  return html`<div class="grid" role="grid" aria-label="Goroutines" aria-rowcount=${rows.length + 1}>
    <div class="grid-head" role="row" aria-rowindex="1">
      <span class="cell mark" role="columnheader" aria-label="Marked"></span>
      ${COLUMNS.map((c) => html`<span class=${`cell ${c.cls ?? ""}`} role="columnheader" aria-sort=${sort.key === c.key ? (sort.down ? "descending" : "ascending") : "none"}>
        <button class="plain" onClick=${() => setSort({ key: c.key, down: sort.key === c.key && !sort.down })}>
          ${c.title}${sort.key === c.key ? (sort.down ? " ▾" : " ▴") : ""}
        </button></span>`)}
    </div>
    <div class="grid-body" ref=${body} tabindex="0" role="rowgroup" id="goroutine-rows">
      <div class="grid-space" style=${{ height: `${rows.length * ROW_PX}px` }}>
        ${rows.slice(from, to).map((g, i) => html`<div key=${g.id} role="row" aria-rowindex=${from + i + 2} aria-selected=${marked.has(g.id)}
            class=${`grid-row ${g.id === active ? "active" : ""} ${marked.has(g.id) ? "marked" : ""}`}
            style=${{ transform: `translateY(${(from + i) * ROW_PX}px)` }}
            onClick=${() => setActive(g.id)} onDblClick=${() => (location.hash = `#/goroutines/${g.id}`)}>
          <span class="cell mark" role="gridcell"><input type="checkbox" tabindex="-1" aria-label=${`Mark goroutine ${g.id}`} checked=${marked.has(g.id)} onChange=${() => toggle(g.id)} /></span>
          ${COLUMNS.map((c) => html`<span class=${`cell ${c.cls ?? ""}`} role="gridcell">${c.render(g)}</span>`)}
        </div>`)}
      </div>
    </div>
  </div>`;
}

export async function suspendOne(id) {
  return attempt(() => api.post(`/v1/goroutines/${id}/suspend`, { owner: "dashboard" }), (s) => `Goroutine ${id} is stopped (${s.safepoint}, ${duration(s.latency_ns)})`);
}

export async function resumeOne(id) {
  return attempt(() => api.post(`/v1/goroutines/${id}/resume`), (g) => `Goroutine ${id}: ${g.holds ? `${g.holds} holds remain` : "runs on"}`);
}

async function holdGroup(selection, lease_ms) {
  return attempt(() => api.post("/v1/suspensions", { ...selection, lease_ms, owner: "dashboard" }), (s) => `Suspension ${s.id} holds ${count(s.count)} goroutines, stopped within ${duration(s.skew_ns)}`);
}

// What "hold these" means: the marked ones, else what the daemon's filters select, else what is listed.
function selectionOf(marked, rows, filter, text) {
  if (marked.size) return { ids: [...marked] };
  if (!text && !filter.state) {
    if (filter.selector && !filter.module) return { selector: filter.selector };
    if (filter.module && !filter.selector) return { module: filter.module };
    if (!filter.module && !filter.selector) return { all: true };
  }
  return { ids: rows.filter((g) => g.state !== "dead").map((g) => g.id) };
}

export function Goroutines() {
  const { runtime } = useStore();
  const [filter, setFilter] = useState({ state: "", module: "", selector: "" });
  const [selectorText, setSelectorText] = useState("");
  const [text, setText] = useState("");
  const [sort, setSort] = useState({ key: "id", down: false });
  const [active, setActive] = useState(null);
  const [marked, setMarked] = useState(new Set());
  const [lease, setLease] = useState(30);
  const list = useGoroutines(filter);
  const rows = useSorted(list.rows, text, sort);
  const modules = useMemo(() => [...new Set(list.rows.map((g) => g.module).filter(Boolean))].sort(), [list.rows]);

  const toggle = (id) =>
    setMarked((old) => {
      const next = new Set(old);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  const hold = () => {
    const selection = selectionOf(marked, rows, filter, text);
    if (selection.ids && !selection.ids.length) return notify("Nothing is listed", "warning");
    holdGroup(selection, lease * 1000);
  };

  const onKey = useRef(null);
  const move = (by) => {
    if (!rows.length) return;
    const i = rows.findIndex((g) => g.id === active);
    setActive(rows[Math.max(0, Math.min(rows.length - 1, i < 0 ? 0 : i + by))].id);
  };
  onKey.current = (event) => {
    if (event.target.matches("input:not([type=checkbox]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor((document.getElementById("goroutine-rows")?.clientHeight ?? 280) / ROW_PX) - 1);
    const actions = {
      ArrowDown: () => move(1), j: () => move(1), ArrowUp: () => move(-1), k: () => move(-1),
      PageDown: () => move(page), PageUp: () => move(-page), Home: () => move(-rows.length), End: () => move(rows.length),
      Enter: () => active && (location.hash = `#/goroutines/${active}`),
      s: () => active && suspendOne(active), r: () => active && resumeOne(active),
      x: () => active && toggle(active), " ": () => active && toggle(active),
      h: hold,
    };
    const action = actions[event.key];
    if (!action || (event.key === "Enter" && event.target.matches("a, button"))) return;
    event.preventDefault();
    action();
  };
  // One listener that calls the newest: a key that comes right after another must not meet the state from before it.
  useEffect(() => {
    const listener = (event) => onKey.current(event);
    addEventListener("keydown", listener);
    return () => removeEventListener("keydown", listener);
  }, []);

  return html`<section class="fill" aria-label="Goroutines">
    <div class="bar">
      <${Field} label="Search"><input id="filter-text" type="search" placeholder="id, function …   ( / )" value=${text} onInput=${(e) => setText(e.target.value)} /><//>
      <${Field} label="State"><select id="filter-state" value=${filter.state} onChange=${(e) => setFilter({ ...filter, state: e.target.value })}>
        <option value="">any</option><option value="suspended">suspended</option>${STATES.map((s) => html`<option value=${s}>${s}</option>`)}
      </select><//>
      <${Field} label="Module"><select id="filter-module" value=${filter.module} onChange=${(e) => setFilter({ ...filter, module: e.target.value })}>
        <option value="">any</option>${(filter.module && !modules.includes(filter.module) ? [filter.module, ...modules] : modules).map((m) => html`<option value=${m}>${m}</option>`)}
      </select><//>
      <${Field} label="Labels"><input id="filter-selector" placeholder="app=web,!canary" value=${selectorText} onInput=${(e) => setSelectorText(e.target.value)}
        onChange=${() => setFilter({ ...filter, selector: selectorText.trim() })} /><//>
      <span class="spacer"></span>
      <${Field} label="Lease, s"><input type="number" min="1" max="3600" class="short" value=${lease} onInput=${(e) => setLease(Number(e.target.value) || 30)} /><//>
      <button onClick=${hold} title="Suspends the marked ones, or all that are listed, together (h)">Hold ${marked.size ? `${count(marked.size)} marked` : "all listed"}</button>
      ${marked.size > 0 && html`<button class="quiet" onClick=${() => setMarked(new Set())}>Unmark</button>`}
    </div>
    ${list.error && html`<p class="error" role="alert">${list.error.message}</p>`}
    <${Grid} ...${{ rows, active, setActive, marked, toggle, sort, setSort }} />
    <div class="foot" role="status">
      ${list.loading ? "Loading …" : `${count(rows.length)} shown of ${count(list.rows.length)} loaded in ${list.tookMs.toFixed(0)} ms`}
      ${runtime ? ` · ${count(runtime.live)} alive · ${count(runtime.held)} held` : ""}
      ${active ? ` · goroutine ${active}: Enter opens, s suspends, r resumes, x marks` : " · ↑ ↓ select, ? shows all keys"}
    </div>
  </section>`;
}
