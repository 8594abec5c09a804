// The last five minutes: how long stops took, what goroutines did, how the control plane answered.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { count } from "../format.js";
import { html } from "../html.js";
import { useStore } from "../store.js";

const PALETTE = ["#2f7fd1", "#d1662f", "#2f9e6a", "#b23fb0", "#c29a1b", "#7a6ff0"];
const HEIGHT_PX = 220;

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function options(width, names, unit) {
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
  return {
    width, height: HEIGHT_PX,
    legend: { live: true },
    cursor: { y: false },
    scales: { y: { range: (_, lo, hi) => [0, hi > 0 ? hi * 1.1 : 1] } },
    axes: [axis, { ...axis, size: 60, values: (_, ticks) => ticks.map((t) => count(t)) }],
    series: [{}, ...names.map((label, i) => ({ label: `${label}${unit ? `, ${unit}` : ""}`, stroke: PALETTE[i % PALETTE.length], width: 1.5, spanGaps: false, points: { show: false } }))],
  };
}

function Chart({ title, unit, time, lines }) {
  const box = useRef(null);
  const plot = useRef(null);
  const names = Object.keys(lines);
  const key = names.join();
  useEffect(() => {
    if (!names.length) return undefined;
    plot.current = new uPlot(options(box.current.clientWidth, names, unit), [time, ...names.map((n) => lines[n])], box.current);
    const observer = new ResizeObserver(() => plot.current.setSize({ width: box.current.clientWidth, height: HEIGHT_PX }));
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, [key]);
  useEffect(() => plot.current?.setData([time.slice(), ...names.map((n) => lines[n].slice())]));
  return html`<section class="card wide" aria-label=${title}><h2>${title}</h2><div ref=${box}></div></section>`;
}

export function Charts() {
  const { series: s, runtime } = useStore();
  return html`<section class="page" aria-label="Charts">
    <div class="bar"><h1>Charts</h1>${runtime && html`<span class="note">${runtime.arch}, ${runtime.procs} processors, ${runtime.threads} threads, asynchronous preemption ${runtime.async_preempt ? "on" : "off"}, slice ${runtime.time_slice_us} µs</span>`}</div>
    <div class="cards">
      <${Chart} title="Suspend latency" unit="µs" time=${s.time} lines=${s.latency} />
      <${Chart} title="Goroutines by state" time=${s.time} lines=${s.states} />
      <${Chart} title="Requests per second" time=${s.time} lines=${{ requests: s.requests }} />
      <${Chart} title="Answer of the daemon, seen from here" unit="ms" time=${s.time} lines=${{ "round trip": s.round }} />
    </div></section>`;
}
