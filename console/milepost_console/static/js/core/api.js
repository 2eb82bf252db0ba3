// Calls to the JSON API. Errors carry the server's message and code; health watchers hear whether the server answered.

/** @typedef {import("./types.js").RunRow} RunRow */

/** A call that the server refused, or did not answer (`status` 0). */
export class ApiError extends Error {
  /** @param {string} message @param {number} status @param {string} code */
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** @type {Set<(answered: boolean) => void>} */
const watchers = new Set();

/** Calls the watcher after each request with whether the server answered. @param {(answered: boolean) => void} watcher */
export function watchHealth(watcher) {
  watchers.add(watcher);
}

/**
 * @param {string} path @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export function get(path, options = {}) {
  return call("GET", path, undefined, options.signal);
}

/** @param {string} path @param {unknown} [body] @returns {Promise<any>} */
export function post(path, body = {}) {
  return call("POST", path, body);
}

/** @param {string} path @returns {Promise<any>} */
export function erase(path) {
  return call("DELETE", path, {});
}

/** @param {string} method @param {string} path @param {unknown} body @param {AbortSignal} [signal] */
async function call(method, path, body, signal) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, {
      method, signal, cache: "no-store", credentials: "same-origin",
      headers: body === undefined ? {} : { "content-type": "application/json", "x-milepost": "1" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    watchers.forEach((watcher) => watcher(false));
    throw new ApiError("The server does not answer. Is it still running?", 0, "");
  }
  watchers.forEach((watcher) => watcher(true));
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  const reason = answer?.error ?? answer?.detail;
  const message = typeof reason === "string" ? reason : `The server answered with status ${response.status} and no message.`;
  throw new ApiError(message, response.status, answer?.code ?? "");
}

/** A query string of the filled-in fields. @param {Record<string, string|number|string[]|null|undefined>} fields */
export function query(fields) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") made.append(name, String(each));
    }
  }
  const text = made.toString();
  return text ? `?${text}` : "";
}

/** @param {unknown} error */
export function wasAborted(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/** An error as a sentence for people. @param {unknown} error */
export function sentence(error) {
  if (error instanceof ApiError) return error.code ? `${error.message} (${error.code})` : error.message;
  return error instanceof Error ? error.message : String(error);
}
