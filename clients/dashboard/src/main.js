// The shell: navigation, connection state, keys, theme.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import * as api from "./api.js";
import { html } from "./html.js";
import { connect, start, useStore } from "./store.js";
import { Charts } from "./views/charts.js";
import { Deadlocks } from "./views/deadlocks.js";
import { Events } from "./views/log.js";
import { Flame } from "./views/flame.js";
import { Goroutine, Roots } from "./views/goroutine.js";
import { Goroutines } from "./views/goroutines.js";
import { Modules } from "./views/modules.js";
import { Snapshots } from "./views/snapshots.js";
import { Suspensions } from "./views/suspensions.js";
import { Timeline } from "./views/timeline.js";

const PAGES = [
  ["goroutines", "Goroutines", Goroutines, "1"],
  ["suspensions", "Suspensions", Suspensions, "2"],
  ["modules", "Modules", Modules, "3"],
  ["snapshots", "Snapshots", Snapshots, "4"],
  ["timeline", "Timeline", Timeline, "5"],
  ["flame", "Flame graph", Flame, "6"],
  ["charts", "Charts", Charts, "7"],
  ["deadlocks", "Deadlocks", Deadlocks, "8"],
  ["events", "Events", Events, "9"],
];

const KEYS = [
  ["1 … 9", "go to a page"], ["/", "search goroutines"], ["↑ ↓ or k j", "select a row"], ["Enter", "open the selected goroutine"],
  ["s, r", "suspend, resume the selected goroutine"], ["x or Space", "mark it"], ["h", "hold the marked ones, or all listed, together"],
  ["Esc", "back to the table"], ["t", "light, dark"], ["?", "this list"],
];

const CONNECTION = {
  connecting: "connecting …",
  live: "live",
  waiting: "no connection, trying again",
  unauthorized: "token needed",
};

function useRoute() {
  const read = () => location.hash.replace(/^#\/?/, "").split("/");
  const [route, setRoute] = useState(read());
  useEffect(() => {
    const onChange = () => setRoute(read());
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  return route;
}

function toggleTheme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("grasp.theme", document.documentElement.dataset.theme);
}

function Token() {
  const [token, setToken] = useState("");
  const use = (event) => {
    event.preventDefault();
    api.setToken(token.trim());
    connect();
  };
  return html`<form class="token card" onSubmit=${use}><h1>Token needed</h1>
    <p>Open the URL that the daemon's start printed (it ends in <code>/#token=…</code>), or paste the token.</p>
    <div class="bar"><input id="token" type="password" autocomplete="off" aria-label="Token" value=${token} onInput=${(e) => setToken(e.target.value)} /><button>Use it</button></div></form>`;
}

function Help({ close }) {
  useEffect(() => document.getElementById("help").showModal(), []);
  return html`<dialog id="help" aria-label="Keys" onClose=${close} onClick=${close}><h2>Keys</h2>
    <dl class="facts">${KEYS.map(([key, what]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
    <form method="dialog"><button>Close</button></form></dialog>`;
}

function useKeys(setHelp) {
  useEffect(() => {
    const onKey = (event) => {
      if (event.target.matches("input:not([type=checkbox]), select, textarea")) {
        if (event.key === "Escape") event.target.blur();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const page = PAGES.find(([, , , key]) => key === event.key);
      if (page) location.hash = `#/${page[0]}`;
      else if (event.key === "?") setHelp(true);
      else if (event.key === "t") toggleTheme();
      else if (event.key === "Escape") location.hash = "#/goroutines";
      else if (event.key === "/") {
        event.preventDefault();
        location.hash = "#/goroutines";
        setTimeout(() => document.getElementById("filter-text")?.focus());
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function App() {
  const state = useStore();
  const [name, id] = useRoute();
  const [help, setHelp] = useState(false);
  useKeys(setHelp);
  const page = PAGES.find(([key]) => key === name) || PAGES[0];
  let view = html`<${page[2]} />`;
  if (name === "goroutines" && /^\d+$/.test(id || "")) view = html`<${Goroutine} key=${id} id=${Number(id)} />`;
  if (name === "roots" && /^\d+$/.test(id || "")) view = html`<${Roots} key=${id} id=${Number(id)} />`;
  if (state.connection === "unauthorized") view = html`<${Token} />`;
  return html`
    <header><a class="brand" href="#/goroutines">Grasp</a>
      <nav aria-label="Pages">${PAGES.map(([key, title]) => html`<a href=${`#/${key}`} aria-current=${page[0] === key ? "page" : null}>${title}</a>`)}</nav>
      <span class="spacer"></span>
      <span class=${`connection ${state.connection}`} role="status" title=${state.problem || ""}>${CONNECTION[state.connection]}</span>
      <button class="plain" onClick=${toggleTheme} aria-label="Light or dark">◐</button>
      <button class="plain" onClick=${() => setHelp(true)} aria-label="Keys">?</button></header>
    ${state.restarted && html`<p class="banner" role="alert">The daemon was restarted at ${state.restarted.toLocaleTimeString()}. Goroutines do not survive a restart; what you see is of the new one.
      <button class="plain" onClick=${() => { state.restarted = null; location.hash = "#/goroutines"; }}>Dismiss</button></p>`}
    <main>${view}</main>
    <div class="notices" aria-live="polite">${state.notices.map((n) => html`<p key=${n.id} class=${`notice ${n.kind}`} role=${n.kind === "error" ? "alert" : "status"}>${n.text}</p>`)}</div>
    ${help && html`<${Help} close=${() => setHelp(false)} />`}`;
}

api.takeToken();
const theme = localStorage.getItem("grasp.theme");
if (theme) document.documentElement.dataset.theme = theme;
start();
render(html`<${App} />`, document.getElementById("app"));
