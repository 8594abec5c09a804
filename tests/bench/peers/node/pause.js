'use strict';
// Suspending running JavaScript from outside: a worker thread attaches an
// inspector session to the main thread and asks for Debugger.pause; the
// "paused" event carries the call frames (a snapshot), then Debugger.resume.
const { Worker, isMainThread, workerData } = require('worker_threads');
const { now, emit, scaled } = require('./stats');
if (isMainThread) {
  const sab = new SharedArrayBuffer(64);
  const f = new Int32Array(sab);
  const w = new Worker(__filename, { workerData: sab });
  w.on('message', () => {
    // spin with calls until the worker says stop
    const callee = (x) => (x * 1103515245 + 12345) & 0x7fffffff;
    let x = 1;
    while (Atomics.load(f, 1) === 0) { x = callee(x); Atomics.add(f, 0, 1); }
    setTimeout(() => process.exit(0), 50);
  });
} else {
  const inspector = require('inspector');
  const { parentPort } = require('worker_threads');
  const f = new Int32Array(workerData);
  const s = new inspector.Session();
  if (!s.connectToMainThread) { console.error('node pause: connectToMainThread missing, skipped'); Atomics.store(f, 1, 1); parentPort.postMessage(0); return; }
  s.connectToMainThread();
  const alive = setInterval(() => {}, 1000); // a session alone does not keep a worker alive
  const N = scaled(2000, 10), sus = [], both = [], end = now() + 15e9;
  let t0 = 0, t1 = 0;
  const finish = () => {
    emit('suspend_spin_inspector', 'ns', sus);
    emit('suspend_resume_spin_inspector', 'ns', both);
    Atomics.store(f, 1, 1);
    s.disconnect();
    clearInterval(alive);
  };
  const next = () => {
    if (sus.length >= N || now() > end) return finish();
    const p = Atomics.load(f, 0);
    while (((Atomics.load(f, 0) - p) | 0) < 20);
    t0 = now();
    s.post('Debugger.pause');
  };
  s.on('Debugger.paused', (m) => {
    t1 = now();
    if (!m.params.callFrames.length) console.error('no frames');
    s.post('Debugger.resume');
  });
  s.on('Debugger.resumed', () => {
    const t2 = now();
    if (t1) { sus.push(t1 - t0); both.push(t2 - t0); }
    setImmediate(next);
  });
  s.post('Debugger.enable', () => { parentPort.postMessage(0); setTimeout(next, 200); });
}
