// State that several views share, and the loops that keep it fresh.
import { useEffect, useReducer } from "preact/hooks";
import * as api from "./api.js";

const EVENT_LOG_MAX = 500;
const POLL_MS = 1000;
const SERIES_POINTS_MAX = 300;

export const state = {
  connection: "connecting", // connecting, live, waiting, unauthorized
  problem: null, // why it waits
  restarted: null, // when another instance answered
  runtime: null,
  events: [], // newest first
  changes: 0, // counts events, so that lists know that something happened
  series: { time: [], states: {}, latency: {}, requests: [], round: [] },
  notices: [], // { id, kind, text }
};

const listeners = new Set();

export function changed() {
  listeners.forEach((fn) => fn());
}

// Renders the component again whenever shared state changes.
export function useStore() {
  const [, render] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    listeners.add(render);
    return () => listeners.delete(render);
  }, []);
  return state;
}

let noticeId = 0;

export function notify(text, kind = "info") {
  const id = ++noticeId;
  state.notices = [...state.notices, { id, kind, text }].slice(-4);
  changed();
  setTimeout(() => {
    state.notices = state.notices.filter((n) => n.id !== id);
    changed();
  }, kind === "error" ? 12000 : 5000);
}

// Runs an action and says what went wrong. Resolves to its value, or undefined.
export async function attempt(action, done) {
  try {
    const value = await action();
    if (done) notify(typeof done === "function" ? done(value) : done);
    return value === null ? true : value;
  } catch (error) {
    if (error.status === 401) {
      state.connection = "unauthorized";
      changed();
    }
    notify(error.message, "error");
    return undefined;
  }
}

function onEvent({ type, data }) {
  if (type === "reset") {
    state.changes++;
    changed();
    return;
  }
  state.events = [data, ...state.events].slice(0, EVENT_LOG_MAX);
  state.changes++;
  if (data.type === "lease-expired" || data.type === "deadlock-suspected")
    notify(data.type === "lease-expired" ? `The lease of suspension ${data.suspension ?? ""} ran out` : "A deadlock is suspected: see the event log", "warning");
  changed();
}

function onStreamState(connection, error) {
  if (error?.status === 401) connection = "unauthorized";
  state.connection = connection;
  state.problem = error ? error.message : null;
  changed();
}

// ---- What is polled: the runtime, and the metrics behind the charts ------------------------------------

// Prometheus text to { name: [{ labels, value }] }.
export function parseMetrics(text) {
  const metrics = {};
  for (const line of text.split("\n")) {
    const match = line.match(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/);
    if (!match) continue;
    const labels = {};
    for (const [, key, value] of (match[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = value;
    (metrics[match[1]] ||= []).push({ labels, value: Number(match[3]) });
  }
  return metrics;
}

// The quantile of what a cumulative histogram counted between two readings, in seconds; null if nothing.
export function quantile(before, after, q) {
  const counts = after.map((b, i) => b.value - (before[i]?.value ?? 0));
  const total = counts.length ? counts[counts.length - 1] : 0;
  if (total <= 0) return null;
  const i = counts.findIndex((c) => c >= q * total);
  const le = Number(after[i].labels.le === "+Inf" ? after[Math.max(0, i - 1)].labels.le : after[i].labels.le);
  return le;
}

let lastMetrics = null;

function bucketsOf(metrics, safepoint) {
  return (metrics?.grasp_suspend_latency_seconds_bucket || []).filter((b) => b.labels.safepoint === safepoint);
}

function total(metrics, name) {
  return (metrics[name] || []).reduce((sum, m) => sum + m.value, 0);
}

function addPoint(metrics, roundTripMs, seconds) {
  const s = state.series;
  const push = (list, value) => {
    list.push(value);
    if (list.length > SERIES_POINTS_MAX) list.shift();
  };
  push(s.time, Date.now() / 1000);
  for (const m of metrics.grasp_goroutines || []) push((s.states[m.labels.state] ||= s.time.slice(1).map(() => null)), m.value);
  for (const kind of ["sync", "async"])
    for (const [name, q] of [["p50", 0.5], ["p99", 0.99]]) {
      const value = lastMetrics && quantile(bucketsOf(lastMetrics, kind), bucketsOf(metrics, kind), q);
      push((s.latency[`${kind} ${name}`] ||= s.time.slice(1).map(() => null)), value === null || !lastMetrics ? null : value * 1e6);
    }
  const before = lastMetrics ? total(lastMetrics, "grasp_http_requests_total") : null;
  push(s.requests, before === null ? null : (total(metrics, "grasp_http_requests_total") - before) / seconds);
  push(s.round, roundTripMs);
  lastMetrics = metrics;
}

let lastPoll = 0;

async function poll() {
  const began = performance.now();
  state.runtime = await api.get("/v1/runtime");
  const roundTrip = performance.now() - began;
  const metrics = parseMetrics(await api.get("/metrics"));
  addPoint(metrics, roundTrip, lastPoll ? (began - lastPoll) / 1000 : 1);
  lastPoll = began;
}

async function pollForEver() {
  for (;;) {
    if (!document.hidden && state.connection !== "unauthorized") {
      try {
        await poll();
      } catch (error) {
        if (error.status === 401) state.connection = "unauthorized";
        state.problem = error.message;
      }
      changed();
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

let events = null;

export function connect() {
  events?.abort();
  events = new AbortController();
  state.connection = "connecting";
  api.streamEvents("/v1/events", { onEvent, onState: onStreamState, signal: events.signal });
}

export function start() {
  api.onInstanceChange(() => {
    state.restarted = new Date();
    state.events = [];
    state.changes++;
    lastMetrics = null;
    notify("The daemon was restarted: earlier goroutines and suspensions are gone", "warning");
  });
  connect();
  pollForEver();
}
