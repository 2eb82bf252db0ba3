// Maps times of a run to positions on the time axis. Long stretches without running code can be drawn shorter.

import { duration } from "../core/format.js";

/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {{from: number, to: number, x0: number, x1: number, shortened: boolean}} Stretch */
/**
 * @typedef {object} Scale
 * @property {(at: number) => number} x from 0 to 1
 * @property {{x: number, label: string}[]} ticks
 * @property {{x0: number, x1: number, label: string}[]} breaks
 * @property {boolean} worthwhile whether shortening would make the steps easier to see
 * @property {boolean} shortened
 */

/** Code that runs for less than this share of the time would hardly be visible. */
const HARD_TO_SEE = 0.08;
/** Shorter runs are drawn to scale: their pauses are informative, such as the growing waits before retries. */
const LONG_MS = 120_000;
/** Drawn length of a shortened pause, as a share of all running code. */
const PAUSE_SHARE = 0.25;
const TICK_ROOM = 0.11;

/** @param {string|null|undefined} iso */
export function at(iso) {
  return iso ? Date.parse(iso) : Number.NaN;
}

/** When the run's code was running, merged and in order. @param {RunDetail} run @param {number} from @param {number} to */
function busyTimes(run, from, to) {
  const times = run.trace.filter((span) => !span.kept).flatMap((span) => span.attempts.map((each) => [
    Math.max(from, at(each.started_at)), Math.min(to, Math.max(at(each.ended_at), at(each.started_at) + 1)),
  ])).filter(([began, ended]) => began < ended).sort((one, other) => one[0] - other[0]);
  /** @type {number[][]} */
  const merged = [];
  for (const [began, ended] of times) {
    const last = merged.at(-1);
    if (last && began <= last[1]) last[1] = Math.max(last[1], ended);
    else merged.push([began, ended]);
  }
  return merged;
}

/** @param {RunDetail} run @param {number} now @param {boolean|null} wish null decides automatically @returns {Scale} */
export function makeScale(run, now, wish) {
  const from = at(run.queued_at);
  const to = Math.max(from + 1, run.ended_at ? at(run.ended_at) : now);
  const busy = busyTimes(run, from, to);
  const running = busy.reduce((sum, [began, ended]) => sum + ended - began, 0);
  const worthwhile = running > 0 && to - from > LONG_MS && running < HARD_TO_SEE * (to - from);
  const shortened = wish ?? worthwhile;
  const stretches = shortened ? split(busy, from, to, running) : [{ from, to, x0: 0, x1: 1, shortened: false }];
  const x = (/** @type {number} */ moment) => positionOf(stretches, moment);
  const breaks = stretches.filter((each) => each.shortened).map(({ x0, x1, from: began, to: ended }) => ({ x0, x1, label: duration(ended - began) }));
  const ticks = breaks.length ? breakTicks(stretches, from) : niceTicks(to - from);
  return { x, ticks, breaks, worthwhile, shortened };
}

/** @param {number[][]} busy @param {number} from @param {number} to @param {number} running @returns {Stretch[]} */
function split(busy, from, to, running) {
  const longest = Math.max(1, running * PAUSE_SHARE);
  /** @type {{from: number, to: number, length: number, shortened: boolean}[]} */
  const parts = [];
  let cursor = from;
  const pause = (/** @type {number} */ until) => {
    if (until <= cursor) return;
    const length = until - cursor;
    parts.push({ from: cursor, to: until, length: Math.min(length, longest), shortened: length > longest });
  };
  for (const [began, ended] of busy) {
    pause(began);
    parts.push({ from: began, to: ended, length: ended - began, shortened: false });
    cursor = ended;
  }
  pause(to);
  const whole = parts.reduce((sum, part) => sum + part.length, 0);
  let x = 0;
  return parts.map(({ from: began, to: ended, length, shortened }) => {
    const x0 = x;
    x += length / whole;
    return { from: began, to: ended, x0, x1: x, shortened };
  });
}

/** @param {Stretch[]} stretches @param {number} moment */
function positionOf(stretches, moment) {
  let low = 0;
  let high = stretches.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (stretches[middle].from <= moment) low = middle;
    else high = middle - 1;
  }
  const { from, to, x0, x1 } = stretches[low];
  const share = Math.min(1, Math.max(0, (moment - from) / (to - from)));
  return x0 + share * (x1 - x0);
}

/** Ticks at the ends of stretches, where there is room. @param {Stretch[]} stretches @param {number} from */
function breakTicks(stretches, from) {
  const ticks = [{ x: 0, label: "0" }];
  for (const { x1, to } of stretches) {
    const last = ticks[ticks.length - 1];
    if (x1 - last.x >= TICK_ROOM && x1 < 1 - TICK_ROOM / 2) ticks.push({ x: x1, label: duration(to - from) });
  }
  return ticks;
}

/** @param {number} length */
function niceTicks(length) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 14400e3, 21600e3, 43200e3, 86400e3];
  let step = steps.find((each) => length / each <= 7);
  step ??= 86400e3 * Math.ceil(length / 86400e3 / 7);
  const ticks = [];
  for (let moment = 0; moment <= length * (1 - TICK_ROOM / 2); moment += step) ticks.push({ x: moment / length, label: moment ? short(moment) : "0" });
  return ticks;
}

/** A duration without needless zeros. @param {number} ms */
function short(ms) {
  return duration(ms).replace(/\.0+ /, " ").replace(/(\.\d*?)0+ /, "$1 ");
}
