// Who ran where: a recording of the scheduler trace, a track for each processor. Wheel or +/- zooms, drag or arrows pan.
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.js";
import { count, duration } from "../format.js";
import { html } from "../html.js";
import { Empty, Field } from "../parts.js";
import { attempt } from "../store.js";

const TRACK_PX = 26;
const AXIS_PX = 20;
const NAME_PX = 110;

// Chrome's JSON to tracks: [{ name, slices: [{ at, end, name, args }] }], times in µs.
export function tracksOf(trace) {
  const all = Array.isArray(trace) ? trace : trace.traceEvents || [];
  // The trace has a process each for processors, goroutines and holds: this page shows the first.
  const processors = all.find((e) => e.ph === "M" && e.name === "process_name" && e.args.name === "processors");
  const events = processors ? all.filter((e) => e.pid === processors.pid) : all;
  const names = new Map();
  const tracks = new Map();
  const key = (e) => `${e.pid}/${e.tid}`;
  const open = new Map();
  const add = (e, at, end) => {
    if (!tracks.has(key(e))) tracks.set(key(e), []);
    tracks.get(key(e)).push({ at, end, name: e.name, args: e.args || {} });
  };
  for (const e of events) {
    if (e.ph === "M" && e.name === "thread_name") names.set(key(e), e.args.name);
    else if (e.ph === "X") add(e, e.ts, e.ts + (e.dur || 0));
    else if (e.ph === "B") open.set(key(e), e);
    else if (e.ph === "E" && open.has(key(e))) {
      const begin = open.get(key(e));
      add(begin, begin.ts, e.ts);
      open.delete(key(e));
    } else if (e.ph === "i" || e.ph === "I") add(e, e.ts, e.ts);
  }
  return [...tracks].map(([k, slices]) => ({ name: names.get(k) || k, slices: slices.sort((a, b) => a.at - b.at) }))
    .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}

// A colour that stays the same for the same name.
function colour(name) {
  let hash = 2166136261;
  for (const c of name) hash = Math.imul(hash ^ c.charCodeAt(0), 16777619);
  return `hsl(${(hash >>> 0) % 360} 55% 55%)`;
}

// First slice that ends at or after `at`: slices of a track are in order and do not overlap, but for nested ones.
function firstAt(slices, at) {
  let lo = 0, hi = slices.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (slices[mid].end < at) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

function draw(canvas, tracks, view) {
  const width = canvas.clientWidth, height = tracks.length * TRACK_PX + AXIS_PX;
  const scale = devicePixelRatio;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const x = (t) => NAME_PX + ((t - view.from) / (view.to - view.from)) * (width - NAME_PX);
  g.font = "12px system-ui, sans-serif";
  tracks.forEach((track, row) => {
    const top = AXIS_PX + row * TRACK_PX;
    g.fillStyle = style.color;
    g.fillText(track.name, 4, top + 17, NAME_PX - 8);
    let drawnTo = NAME_PX;
    for (let i = firstAt(track.slices, view.from); i < track.slices.length && track.slices[i].at <= view.to; i++) {
      const slice = track.slices[i];
      const left = Math.max(NAME_PX, x(slice.at)), right = Math.min(width, x(slice.end));
      if (right - drawnTo < 0.5 && right - left < 0.5) continue; /* nothing would be seen of it */
      g.fillStyle = colour(slice.name);
      g.fillRect(left, top + 3, Math.max(1, right - left), TRACK_PX - 6);
      drawnTo = right;
      if (right - left > 40) {
        g.fillStyle = "#fff";
        g.save();
        g.beginPath();
        g.rect(left, top, right - left, TRACK_PX);
        g.clip();
        g.fillText(slice.name, left + 4, top + 17);
        g.restore();
      }
    }
  });
  g.fillStyle = style.color;
  for (let i = 0; i <= 5; i++) {
    const t = view.from + ((view.to - view.from) * i) / 5;
    g.fillText(`${((t - view.zero) / 1000).toFixed(2)} ms`, Math.min(x(t), width - 60), 13);
  }
}

function Tracks({ tracks }) {
  const canvas = useRef(null);
  const all = useRef(null);
  const [view, setView] = useState(null);
  const [hover, setHover] = useState(null);
  useEffect(() => {
    const slices = tracks.flatMap((t) => (t.slices.length ? [t.slices[0].at, Math.max(...t.slices.slice(-50).map((s) => s.end))] : []));
    const from = Math.min(...slices), to = Math.max(...slices);
    all.current = { from, to: to > from ? to : from + 1, zero: from };
    setView(all.current);
  }, [tracks]);
  useEffect(() => {
    if (view) draw(canvas.current, tracks, view);
  }, [tracks, view]);
  useEffect(() => {
    const observer = new ResizeObserver(() => view && draw(canvas.current, tracks, view));
    observer.observe(canvas.current);
    return () => observer.disconnect();
  }, [tracks, view]);
  const zoom = (factor, at = 0.5) => setView((v) => {
    const span = Math.min(all.current.to - all.current.from, Math.max(5, (v.to - v.from) * factor));
    const pivot = v.from + (v.to - v.from) * at;
    const from = Math.max(all.current.from, Math.min(all.current.to - span, pivot - span * at));
    return { ...v, from, to: from + span };
  });
  const pan = (share) => setView((v) => {
    const span = v.to - v.from;
    const from = Math.max(all.current.from, Math.min(all.current.to - span, v.from + span * share));
    return { ...v, from, to: from + span };
  });
  const at = (e) => (e.offsetX - NAME_PX) / (canvas.current.clientWidth - NAME_PX);
  const onMove = (e) => {
    if (e.buttons === 1) return pan(-e.movementX / (canvas.current.clientWidth - NAME_PX));
    const track = tracks[Math.floor((e.offsetY - AXIS_PX) / TRACK_PX)];
    if (!track || !view) return setHover(null);
    const t = view.from + (view.to - view.from) * at(e);
    const slice = track.slices.slice(Math.max(0, firstAt(track.slices, t) - 2)).slice(0, 6).find((s) => s.at <= t && t <= s.end);
    setHover(slice ? { slice, track } : null);
  };
  const onKey = (e) => {
    const actions = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), 0: () => setView(all.current) };
    if (!actions[e.key]) return;
    e.preventDefault();
    e.stopPropagation();
    actions[e.key]();
  };
  return html`<div>
    <canvas ref=${canvas} class="timeline" tabindex="0" role="img" aria-label="Which goroutine ran on which processor"
      style=${{ height: `${tracks.length * TRACK_PX + AXIS_PX}px` }} onMouseMove=${onMove} onMouseLeave=${() => setHover(null)} onKeyDown=${onKey}
      onWheel=${(e) => { e.preventDefault(); zoom(e.deltaY > 0 ? 1.25 : 0.8, Math.max(0, at(e))); }}></canvas>
    <p class="note" role="status">${hover ? `${hover.track.name}: ${hover.slice.name}, ${duration(Math.round((hover.slice.end - hover.slice.at) * 1000))} ${JSON.stringify(hover.slice.args)}` : "Wheel or + − zooms, drag or ← → moves, 0 shows all."}</p>
  </div>`;
}

export function Timeline() {
  const [seconds, setSeconds] = useState(1);
  const [recording, setRecording] = useState(false);
  const [tracks, setTracks] = useState(null);
  const record = async () => {
    setRecording(true);
    const trace = await attempt(() => api.get(`/debug/trace?seconds=${seconds}`));
    setRecording(false);
    if (trace) setTracks(tracksOf(typeof trace === "string" ? JSON.parse(trace) : trace));
  };
  const slices = tracks?.reduce((n, t) => n + t.slices.length, 0);
  return html`<section class="page" aria-label="Timeline">
    <div class="bar"><h1>Timeline</h1>
      <${Field} label="Seconds"><input type="number" class="short" min="1" max="60" value=${seconds} onInput=${(e) => setSeconds(Number(e.target.value) || 1)} /><//>
      <button id="record" disabled=${recording} onClick=${record}>${recording ? `Recording ${seconds} s …` : "Record"}</button>
      ${tracks && html`<span class="note">${count(slices)} slices on ${tracks.length} tracks</span>`}</div>
    ${tracks?.length ? html`<section class="card wide"><${Tracks} tracks=${tracks} /></section>`
      : html`<${Empty}>${tracks ? "Nothing ran meanwhile." : "Records what the scheduler does and shows which goroutine ran on which processor."}<//>`}
  </section>`;
}
