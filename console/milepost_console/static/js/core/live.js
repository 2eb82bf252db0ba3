// The server's stream of updates, read with fetch to detect silence: the server pings every 15 s.
//
// States: connecting → live → down → connecting …, and "resting" while the tab is hidden (browsers allow only six
// connections to one server). After each reconnection, "resync" makes the pages load what they missed.

const SILENCE_MS = 40_000;
const REST_AFTER_MS = 20_000;
const MAX_BACKOFF_MS = 10_000;

/** @typedef {"connecting"|"live"|"down"|"resting"} LiveState */

/** @type {Map<string, Set<(data: any) => void>>} */
const listeners = new Map();
/** @type {LiveState} */
let state = "connecting";
let lastHeard = Date.now();
let retryAt = 0;
let failures = 0;
let generation = 0;
let everLive = false;
/** @type {AbortController|null} */
let connection = null;
/** @type {ReturnType<typeof setTimeout>|undefined} */
let timer;
/** @type {ReturnType<typeof setInterval>|undefined} */
let polling;

/**
 * Calls the listener for `run`, `received`, `log`, `app`, `resync` or `state` until the signal aborts.
 * @param {string} kind @param {(data: any) => void} listener @param {AbortSignal} [signal]
 */
export function onLive(kind, listener, signal) {
  const all = listeners.get(kind) ?? new Set();
  listeners.set(kind, all.add(listener));
  signal?.addEventListener("abort", () => all.delete(listener));
}

/** @param {string} kind @param {unknown} data */
function emit(kind, data) {
  for (const listener of listeners.get(kind) ?? []) listener(data);
}

/** @param {LiveState} next */
function become(next) {
  if (state === next) return;
  state = next;
  emit("state", next);
}

export function liveState() {
  return { state, lastHeard, retryAt, everLive };
}

export function startLive() {
  connect();
  setInterval(() => {
    if (state === "live" && Date.now() - lastHeard > SILENCE_MS) lost();
  }, 2000);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(rest, REST_AFTER_MS);
    else if (state === "resting" || state === "down") connect();
  });
}

/**
 * Makes the pages reload regularly, for servers without live updates (deployed stacks).
 * @param {number} everyMs
 */
export function pollEvery(everyMs) {
  clearInterval(polling);
  polling = setInterval(() => state === "live" && !document.hidden && emit("resync", null), everyMs);
}

/** Connects now instead of waiting for the next attempt. */
export function connect() {
  clearTimeout(timer);
  connection?.abort();
  const mine = ++generation;
  connection = new AbortController();
  if (state !== "down") become("connecting");
  read(connection.signal, mine).then(() => mine === generation && lost(), () => mine === generation && lost());
}

function rest() {
  generation++;
  connection?.abort();
  become("resting");
}

function lost() {
  connection?.abort();
  generation++;
  failures++;
  const wait = Math.min(MAX_BACKOFF_MS, 500 * 2 ** Math.min(failures - 1, 5));
  retryAt = Date.now() + wait;
  become("down");
  clearTimeout(timer);
  timer = setTimeout(connect, wait);
}

/** @param {AbortSignal} signal @param {number} mine */
async function read(signal, mine) {
  const response = await fetch("/api/stream", { signal, cache: "no-store", headers: { accept: "text/event-stream" } });
  if (!response.ok || !response.body) throw new Error(`stream answered ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done || mine !== generation) return;
    lastHeard = Date.now();
    rest += value;
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? "";
    for (const block of blocks) handle(block);
  }
}

/** @param {string} block */
function handle(block) {
  if (state !== "live") {
    const again = everLive;
    failures = 0;
    everLive = true;
    become("live");
    if (again) emit("resync", null);
  }
  let kind = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) kind = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  if (!data.length) return;
  try {
    emit(kind, JSON.parse(data.join("\n")));
  } catch (error) {
    console.error("A message of the stream could not be parsed.", error);
  }
}
