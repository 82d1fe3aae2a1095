// Asking the server: the key, errors as problems, uploads with progress, and asking again while it is away or busy.

import { keep, kept } from "./session.js";

const AWAY = new Set(["unreachable", "not-ready", "closing"]); // asked again until it is back
const BUSY = new Set(["queue-full", "overloaded", "too-many-bytes", "decoders-busy", "too-many-connections", "out-of-memory"]);
const MOST_TRIES = 8; // while it is busy
const LONGEST_PAUSE_S = 8;

/** What went wrong: the server's stable code, or `unreachable`, `cancelled`, `unknown`. */
export class Problem extends Error {
  constructor(code, detail = "", retryAfterS = 0) {
    super(detail || code);
    Object.assign(this, { code, detail, retryAfterS });
  }

  get isAway() {
    return AWAY.has(this.code);
  }
}

export const key = () => kept("key");
export const setKey = (text) => keep("key", text);

function headers(others) {
  const shown = key();
  return shown ? { ...others, Authorization: `Bearer ${shown}` } : others;
}

function problemOf(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a proxy's own page
  }
  const problem = new Problem(body.code ?? (status >= 502 ? "not-ready" : "unknown"), body.detail ?? `HTTP ${status}`, Number(retryAfter) || 0);
  document.dispatchEvent(new CustomEvent("problem", { detail: problem }));
  return problem;
}

function unreachable() {
  const problem = new Problem("unreachable");
  document.dispatchEvent(new CustomEvent("problem", { detail: problem }));
  return problem;
}

/** GET or POST. Without credentials: the browser would ask for a password over the page. Throws a Problem. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "omit", headers: headers(options.headers) });
  } catch {
    throw options.signal?.aborted ? new Problem("cancelled") : unreachable();
  }
  if (answer.ok) return answer;
  throw problemOf(answer.status, await answer.text().catch(() => ""), answer.headers.get("Retry-After"));
}

/** POST a picture; `progress` gets the share that is sent, 0..1. Gives the JSON and a header's reader. */
export function upload(path, image, { progress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    const shown = headers({ "Content-Type": image.type || "application/octet-stream" });
    for (const [name, value] of Object.entries(shown)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && progress?.(event.loaded / event.total);
    request.onload = () => {
      if (request.status === 200) resolve({ body: JSON.parse(request.responseText), header: (name) => request.getResponseHeader(name) });
      else reject(problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new Problem("cancelled"));
    signal?.addEventListener("abort", () => request.abort());
    if (signal?.aborted) reject(new Problem("cancelled"));
    else request.send(image);
  });
}

export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new Problem("cancelled"));
    });
  });
}

/** Do something again while the server is away or busy; `waiting` hears why. Throws the Problem that stays. */
export async function persist(action, { waiting, signal }) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await action();
    } catch (problem) {
      const again = problem.isAway || (BUSY.has(problem.code) && tries < MOST_TRIES);
      if (!again) throw problem;
      waiting(problem);
      await pause(Math.min(problem.retryAfterS || 0.5 * 1.6 ** tries, LONGEST_PAUSE_S), signal);
    }
  }
}
