// One source of time: the server's clock, in the zone the reader chose. Every <time> of the page ticks from here.

import { h } from "./dom.js";
import { moment, relative } from "./format.js";

const STORED = "milepost.zone";
let offset = 0;

/** The server's now, in milliseconds. */
export function now() {
  return Date.now() + offset;
}

/** Take the server's word for the time; small differences are network, not clocks. @param {string} serverNow */
export function setServerNow(serverNow) {
  const seen = Date.parse(serverNow) - Date.now();
  if (Number.isFinite(seen)) offset = Math.abs(seen) > 2000 ? seen : 0;
}

export function clockOffset() {
  return offset;
}

/** Asked for with every moment of every row, and slow to find out. */
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
 * A moment, told relative to now, with the absolute time and its zone on hover.
 * @param {string|null|undefined} iso @param {"relative"|"absolute"|"clock"|"precise"} [mode]
 */
export function time(iso, mode = "relative") {
  if (!iso) return h("span", { class: "muted" }, "–");
  const element = h("time", { datetime: iso, data: { mode } });
  tell(element);
  return element;
}

/** The time since a moment, counting on. @param {string} iso */
export function elapsed(iso) {
  const element = h("time", { datetime: iso, data: { mode: "elapsed" } });
  tell(element);
  return element;
}

/** @param {HTMLTimeElement} element */
function tell(element) {
  const at = Date.parse(element.dateTime);
  if (Number.isNaN(at)) {
    element.textContent = element.dateTime;
    return;
  }
  const told = moment(at, zone());
  const text = TELLINGS[/** @type {keyof typeof TELLINGS} */ (element.dataset.mode)](at, told);
  if (element.textContent !== text) element.textContent = text;
  const title = `${told.full}\n${new Date(at).toISOString()}`;
  if (element.title !== title) element.title = title;
}

const TELLINGS = {
  relative: (/** @type {number} */ at) => relative(at - now()),
  absolute: (/** @type {number} */ _at, /** @type {{full: string}} */ told) => told.full,
  clock: (/** @type {number} */ _at, /** @type {{clock: string}} */ told) => told.clock,
  precise: (/** @type {number} */ _at, /** @type {{precise: string}} */ told) => told.precise,
  elapsed: (/** @type {number} */ at) => relative(at - now()).replace(/ ago$/, "").replace("just now", "0 s"),
};

/** Bring every moment on the page up to date. */
export function tick() {
  for (const element of document.querySelectorAll("time[data-mode]")) tell(/** @type {HTMLTimeElement} */ (element));
}

export function startTicking() {
  setInterval(() => document.hidden || tick(), 1000);
  document.addEventListener("visibilitychange", () => document.hidden || tick());
}
