'use strict';
// Task-like things of Node: async functions, setImmediate, worker threads.
const { Worker, isMainThread, workerData, MessageChannel } = require('worker_threads');
const { now, emit, rss, scaled } = require('./stats');

if (!isMainThread) {
  const f = new Int32Array(workerData.sab);
  if (workerData.kind === 'atomics') {
    for (;;) {
      Atomics.wait(f, 0, 0);
      const q = Atomics.load(f, 2);
      Atomics.store(f, 0, 0);
      Atomics.store(f, 1, 1);
      Atomics.notify(f, 1);
      if (q) break;
    }
  } else if (workerData.kind === 'port') {
    workerData.port.on('message', (m) => { if (m < 0) workerData.port.close(); else workerData.port.postMessage(m); });
  }
  return;
}

async function main() {
  let v = [];
  const tick = async () => { await null; };
  for (let b = 0; b < scaled(100, 3); b++) { // 1e6 in all
    const t = now(), ps = new Array(10000);
    for (let i = 0; i < 10000; i++) ps[i] = tick();
    await Promise.all(ps);
    v.push((now() - t) / 10000);
  }
  emit('spawn_exit_async', 'ns/task', v);

  v = [];
  const yielder = async () => { for (let i = 0; i < 10000; i++) await null; };
  for (let b = 0; b < scaled(50, 3); b++) {
    const t = now();
    await Promise.all([yielder(), yielder()]);
    v.push((now() - t) / 20000);
  }
  emit('yield_await', 'ns/switch', v);

  v = [];
  for (let b = 0; b < scaled(100, 3); b++) {
    const t = now();
    for (let i = 0; i < 1000; i++) await new Promise((r) => setImmediate(r));
    v.push((now() - t) / 1000);
  }
  emit('yield_setImmediate', 'ns/switch', v);

  { // same-thread message channel
    v = [];
    const { port1, port2 } = new MessageChannel();
    port2.on('message', (m) => port2.postMessage(m));
    let done; port1.on('message', () => done());
    for (let i = 0; i < scaled(3000, 20); i++) {
      const t = now();
      await new Promise((r) => { done = r; port1.postMessage(i); });
      v.push(now() - t);
    }
    port1.close();
    emit('pingpong_rtt_1thr', 'ns/rtt', v);
  }
  { // across worker threads
    v = [];
    const { port1, port2 } = new MessageChannel();
    const w = new Worker(__filename, { workerData: { kind: 'port', port: port2, sab: new SharedArrayBuffer(16) }, transferList: [port2] });
    await new Promise((r) => w.on('online', r));
    let done; port1.on('message', () => done());
    for (let i = 0; i < scaled(3000, 20); i++) {
      const t = now();
      await new Promise((r) => { done = r; port1.postMessage(i); });
      v.push(now() - t);
    }
    port1.postMessage(-1); port1.close();
    await w.terminate();
    emit('pingpong_rtt_2thr', 'ns/rtt', v);
  }
  { // futex-like, across worker threads
    v = [];
    const sab = new SharedArrayBuffer(16), f = new Int32Array(sab);
    const w = new Worker(__filename, { workerData: { kind: 'atomics', sab } });
    await new Promise((r) => w.on('online', r));
    for (let i = 0, n = scaled(5000, 20); i < n; i++) {
      const t = now();
      if (i === n - 1) Atomics.store(f, 2, 1);
      Atomics.store(f, 0, 1);
      Atomics.notify(f, 0);
      Atomics.wait(f, 1, 0);
      Atomics.store(f, 1, 0);
      v.push(now() - t);
    }
    await w.terminate();
    emit('pingpong_rtt_2thr_atomics', 'ns/rtt', v);
  }
  v = [];
  for (let i = 0; i < scaled(30, 3); i++) {
    const t = now();
    await new Promise((r) => new Worker('0', { eval: true }).on('exit', r));
    v.push(now() - t);
  }
  emit('spawn_exit_worker', 'ns/task', v);

  { // 10k timers over 1 s
    v = [];
    const base = now() / 1e6 + 100;
    await new Promise((r) => {
      let i = 0;
      const some = () => { // in portions: setTimeout counts from the loop's cached time
        for (const e = i + 50; i < e; i++) {
          const dl = base + (i * 7919) % 1000;
          setTimeout(() => { v.push((now() / 1e6 - dl) * 1000); if (v.length === 10000) r(); }, Math.ceil(dl - now() / 1e6));
        }
        if (i < 10000) setImmediate(some);
      };
      some();
    });
    emit('sleep_late_10k', 'us', v);
  }
  { // 100k parked async functions
    if (global.gc) global.gc();
    const keep = [], N = 100000;
    const park = async () => { await new Promise((r) => keep.push(r)); };
    const r0 = rss();
    for (let i = 0; i < N; i++) park();
    await null;
    if (global.gc) global.gc();
    emit('idle_mem_100k', 'B/task', [(rss() - r0) / N]);
    for (const r of keep) r();
  }
}
main().then(() => process.exit(0));
