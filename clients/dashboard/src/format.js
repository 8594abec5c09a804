// Numbers and times as people read them.

export function duration(ns) {
  if (ns === null || ns === undefined) return "–";
  if (ns < 1000) return `${ns} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(1)} ms`;
  if (ns < 60e9) return `${(ns / 1e9).toFixed(1)} s`;
  const minutes = Math.floor(ns / 60e9);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${(n / 1024).toFixed(1)} KiB`;
  return `${(n / 1024 / 1024).toFixed(1)} MiB`;
}

export const count = (n) => (n ?? 0).toLocaleString("en-US");

export function clock(time) {
  return time ? time.replace("T", " ").replace(/\.\d+Z$|Z$/, "") : "–";
}

export function place(g) {
  const base = (path) => path.split("/").pop();
  if (g.function) return g.file ? `${g.function} ${base(g.file)}:${g.line}` : g.function;
  return g.pc && g.pc !== "0x0" ? g.pc : "–";
}

export const labels = (g) =>
  Object.entries(g.labels || {})
    .map(([k, v]) => `${k}=${v}`)
    .join(", ");
