// Small pieces that many views use.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.js";

export const State = ({ g }) => {
  const shown = g.suspended ? "suspended" : g.state;
  return html`<span class=${`state ${shown}`}>${shown}</span>`;
};

export const Id = ({ id }) => (id ? html`<a href=${`#/goroutines/${id}`}>${id}</a>` : "–");

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

export function Field({ label, children }) {
  return html`<label class="field"><span>${label}</span>${children}</label>`;
}

// A table of rows: columns are [title, render, className].
export function Table({ label, columns, rows, rowKey, empty }) {
  if (!rows.length) return html`<${Empty}>${empty}<//>`;
  return html`<table aria-label=${label}>
    <thead><tr>${columns.map(([title, , cls]) => html`<th scope="col" class=${cls}>${title}</th>`)}</tr></thead>
    <tbody>
      ${rows.map((row) => html`<tr key=${rowKey(row)}>${columns.map(([, render, cls]) => html`<td class=${cls}>${render(row)}</td>`)}</tr>`)}
    </tbody>
  </table>`;
}

// Calls load() now, whenever `deps` change, and every `everyMs` while the page is visible.
export function useLoaded(load, deps, everyMs = 0) {
  const [result, setResult] = useState({ value: undefined, error: null });
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const run = async () => {
      try {
        if (!document.hidden) {
          const value = await latest.current(abort.signal);
          if (!abort.signal.aborted) setResult({ value, error: null });
        }
      } catch (error) {
        if (!abort.signal.aborted) setResult((old) => ({ value: old.value, error }));
      }
      if (everyMs && !abort.signal.aborted) timer = setTimeout(run, everyMs);
    };
    run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, deps);
  return result;
}

// Seconds that tick down to `expires` (a Date), red when few are left.
export function Countdown({ expires }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, (expires - now) / 1000);
  return html`<span class=${left < 5 ? "countdown soon" : "countdown"} role="timer">${left.toFixed(left < 10 ? 1 : 0)} s</span>`;
}
