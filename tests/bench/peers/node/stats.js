'use strict';
// What the Node.js peers share: a clock, and one JSON line for each metric (nearest rank).
const fs = require('fs');
const peer = 'node' + process.versions.node;
exports.now = () => Number(process.hrtime.bigint());
exports.emit = (metric, unit, a) => {
  if (!a.length) return;
  const v = Float64Array.from(a).sort();
  const n = v.length;
  const q = (p) => v[Math.min(n - 1, Math.max(0, Math.ceil(p * n - 1e-6) - 1))];
  const r = (x) => Math.round(x * 1000) / 1000;
  fs.writeSync(1, JSON.stringify({ peer, metric, unit, n, p50: r(q(.5)), p99: r(q(.99)),
    p999: r(q(.999)), max: r(v[n - 1]), min: r(v[0]) }) + '\n');
};
exports.rss = () => Number(fs.readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096;
// How many samples to take where a full run takes `full`; never fewer than `least`.
exports.scaled = (full, least) => Math.max(least, Math.floor(full / Math.max(1, Number(process.env.BENCH_DIVISOR || 1))));
