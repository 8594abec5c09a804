// Who holds what, until when; renewing and releasing.
import { useState } from "preact/hooks";
import * as api from "../api.js";
import { clock, count, duration } from "../format.js";
import { html } from "../html.js";
import { Countdown, Table, useLoaded } from "../parts.js";
import { attempt, useStore } from "../store.js";

export function Suspensions() {
  const { changes } = useStore();
  const [acted, setActed] = useState(0);
  const { value, error } = useLoaded((signal) => api.get("/v1/suspensions?limit=1000", { signal }), [changes, acted], 2000);
  const received = Date.now();
  const act = async (action, done) => {
    await attempt(action, done);
    setActed((n) => n + 1);
  };
  return html`<section class="page" aria-label="Suspensions">
    <div class="bar"><h1>Suspensions</h1></div>
    ${error && html`<p class="error" role="alert">${error.message}</p>`}
    <${Table} label="Suspensions" rowKey=${(s) => s.id} rows=${value?.items || []} empty="Nothing is held. Mark goroutines in the table and hold them together, or suspend one." columns=${[
      ["ID", (s) => s.id, "num"],
      ["Goroutines", (s) => count(s.count), "num"],
      ["Owner", (s) => s.owner || "–"],
      ["Principal", (s) => s.principal],
      ["Reason", (s) => s.reason || "–"],
      ["Since", (s) => clock(s.created_at)],
      ["Skew", (s) => duration(s.skew_ns), "num"],
      ["Lease", (s) => html`<${Countdown} key=${`${s.id}-${s.expires_at}`} expires=${received + s.remaining_ms} />`, "num"],
      ["", (s) => html`<span class="actions">
        <button class="quiet" onClick=${() => act(() => api.call("PATCH", `/v1/suspensions/${s.id}`, { body: { lease_ms: s.lease_ms } }), `Suspension ${s.id} renewed for ${s.lease_ms / 1000} s`)}>Renew</button>
        <button onClick=${() => act(() => api.call("DELETE", `/v1/suspensions/${s.id}`), `Suspension ${s.id} released`)}>Release</button></span>`],
    ]} />
  </section>`;
}
