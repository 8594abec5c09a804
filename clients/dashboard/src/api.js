// The only place that talks to the daemon: token, errors, instance changes, streams.

const TOKEN_KEY = "grasp.token";

// The token comes in the fragment, which no server sees, and leaves the address bar at once.
export function takeToken() {
  const match = location.hash.match(/^#token=([^&]+)/);
  if (!match) return;
  sessionStorage.setItem(TOKEN_KEY, decodeURIComponent(match[1]));
  history.replaceState(null, "", location.pathname);
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.code = problem.code || "";
    this.problem = problem;
  }
}

let instance = null;
const instanceListeners = new Set();

// fn(newInstance) once the daemon that answers is another one than before.
export function onInstanceChange(fn) {
  instanceListeners.add(fn);
  return () => instanceListeners.delete(fn);
}

function noteInstance(response) {
  const seen = response.headers.get("Grasp-Instance");
  if (!seen || seen === instance) return;
  const changed = instance !== null;
  instance = seen;
  if (changed) instanceListeners.forEach((fn) => fn(seen));
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return { title: response.statusText };
  }
}

export async function open(method, path, { body, headers = {}, signal } = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const all = { ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method,
    headers: all,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    cache: "no-store",
    credentials: "omit", // else the browser asks for a password of its own on 401
  });
  noteInstance(response);
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  return response;
}

export async function call(method, path, options) {
  const response = await open(method, path, options);
  if (response.status === 204) return null;
  const type = response.headers.get("Content-Type") || "";
  return type.includes("json") ? response.json() : response.text();
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body, options) => call("POST", path, { ...options, body });

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield parts;
  }
  if (rest) yield [rest];
}

// A whole list as NDJSON: onChunk(objects) as they come. Resolves to the list's seq; a list that was cut is an error.
export async function streamList(path, onChunk, signal) {
  const response = await open("GET", path, { signal, headers: { Accept: "application/x-ndjson" } });
  let end = null;
  for await (const part of lines(response)) {
    const objects = [];
    for (const line of part) {
      if (!line) continue;
      const value = JSON.parse(line);
      if (value.end === true) end = value;
      else objects.push(value);
    }
    if (objects.length) onChunk(objects);
  }
  if (!end) throw new Error("the list was cut off before its end");
  return end.seq;
}

// Server-Sent Events by fetch, because EventSource can't send a token. Reconnects until the signal aborts.
//   onEvent({ type, data }), onState("live" | "waiting", error)
export async function streamEvents(path, { onEvent, onState, signal }) {
  let last = null;
  let pause = 500;
  while (!signal.aborted) {
    try {
      const response = await open("GET", path, {
        signal,
        headers: { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) },
      });
      onState("live");
      pause = 500;
      let event = { type: "message", data: "" };
      for await (const part of lines(response)) {
        for (const raw of part) {
          const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
          if (line === "") {
            if (event.data) onEvent({ type: event.type, data: JSON.parse(event.data) });
            else if (event.type === "reset") onEvent({ type: "reset", data: {} });
            event = { type: "message", data: "" };
          } else if (line.startsWith("data:")) event.data += line.slice(5).trimStart();
          else if (line.startsWith("id:")) last = line.slice(3).trim();
          else if (line.startsWith("event:")) event.type = line.slice(6).trim();
        }
      }
      onState("waiting", new Error("the daemon closed the event stream"));
    } catch (error) {
      if (signal.aborted) return;
      onState("waiting", error);
      if (error instanceof ApiError && error.status === 412) last = null;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 5000);
  }
}
