// The only source of time: the server's clock, shown in the chosen zone. Updates every <time> on the page.

import { h } from "./dom.js";
import { moment, relative } from "./format.js";

const STORED = "milepost.zone";
let offset = 0;

/** The server's current time, in milliseconds. */
export function now() {
  return Date.now() + offset;
}

/** Adopts the server's time. Differences below 2 s are network delay and ignored. @param {string} serverNow */
export function setServerNow(serverNow) {
  const seen = Date.parse(serverNow) - Date.now();
  if (Number.isFinite(seen)) offset = Math.abs(seen) > 2000 ? seen : 0;
}

export function clockOffset() {
  return offset;
}

/** Cached: needed for every time on the page, and slow to determine. */
let chosen = readZone();
addEventListener("storage", ({ key }) => {
  if (key === STORED) chosen = readZone();
});

function readZone() {
  if (localStorage.getItem(STORED) === "UTC") return "UTC";
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** The IANA zone that times are shown in. */
export function zone() {
  return chosen;
}

export function switchZone() {
  if (zone() === "UTC") localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, "UTC");
  chosen = readZone();
  tick();
}

/**
 * A time relative to now, with the absolute time and its zone on hover.
 * @param {string|null|undefined} iso @param {"relative"|"absolute"|"clock"|"precise"} [mode]
 */
export function time(iso, mode = "relative") {
  if (!iso) return h("span", { class: "muted" }, "–");
  const element = h("time", { datetime: iso, data: { mode } });
  update(element);
  return element;
}

/** The time since a moment, counting up. @param {string} iso */
export function elapsed(iso) {
  const element = h("time", { datetime: iso, data: { mode: "elapsed" } });
  update(element);
  return element;
}

/** @param {HTMLTimeElement} element */
function update(element) {
  const at = Date.parse(element.dateTime);
  if (Number.isNaN(at)) {
    element.textContent = element.dateTime;
    return;
  }
  const shown = moment(at, zone());
  const text = MODES[/** @type {keyof typeof MODES} */ (element.dataset.mode)](at, shown);
  if (element.textContent !== text) element.textContent = text;
  const title = `${shown.full}\n${new Date(at).toISOString()}`;
  if (element.title !== title) element.title = title;
}

const MODES = {
  relative: (/** @type {number} */ at) => relative(at - now()),
  absolute: (/** @type {number} */ _at, /** @type {{full: string}} */ shown) => shown.full,
  clock: (/** @type {number} */ _at, /** @type {{clock: string}} */ shown) => shown.clock,
  precise: (/** @type {number} */ _at, /** @type {{precise: string}} */ shown) => shown.precise,
  elapsed: (/** @type {number} */ at) => relative(at - now()).replace(/ ago$/, "").replace("just now", "0 s"),
};

/** Updates every time on the page. */
export function tick() {
  for (const element of document.querySelectorAll("time[data-mode]")) update(/** @type {HTMLTimeElement} */ (element));
}

export function startTicking() {
  setInterval(() => document.hidden || tick(), 1000);
  document.addEventListener("visibilitychange", () => document.hidden || tick());
}
