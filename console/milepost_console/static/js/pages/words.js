// A function's configuration, limits and backlog in words, and event names as people read them.

import { h, visible } from "../core/dom.js";
import { counted, duration } from "../core/format.js";

/** @typedef {import("../core/types.js").FunctionInfo} FunctionInfo */
/** @typedef {import("../core/dom.js").Child} Child */

/** Milliseconds of each unit in the API's durations. @type {Record<string, number>} */
const UNITS = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** A duration that the API gives in seconds or as text such as "1w1d". @param {string|number|null|undefined} value */
function length(value) {
  if (typeof value === "number") return duration(value * 1000);
  const parts = [...String(value).matchAll(/(\d+)(ms|[wdhms])(?=\d|$)/g)];
  return parts.length ? duration(parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit], 0)) : visible(value);
}

/** What happens to cron times that passed while nothing ran; the default is not mentioned. @type {Record<string, string>} */
const MISSED = { all: "; each missed time runs later", skip: "; missed times are skipped" };

/** @param {FunctionInfo["triggers"][number]} trigger @returns {Child[]} */
export function triggerWords(trigger) {
  if (trigger.cron !== undefined) {
    return ["Cron ", h("code", null, visible(trigger.cron)), trigger.tz ? ` in ${visible(trigger.tz)}` : "", trigger.jitter ? `, spread by up to ${length(trigger.jitter)}` : "", MISSED[trigger.catch_up ?? ""] ?? ""];
  }
  return ["Event ", h("code", null, eventWord(trigger.event)), trigger.expression ? [" if ", h("code", null, visible(trigger.expression))] : ""];
}

/** @param {FunctionInfo["retries"]} retries */
function retryWords(retries) {
  const attempts = retries?.max_attempts ?? 1;
  if (attempts <= 1) return "The function and each step get one attempt; errors are not retried.";
  const { first_delay: first, factor, max_delay: most, jitter } = retries.backoff ?? {};
  const wait = first
    ? `The first delay is ${length(first)}, and each later one ${factor ?? 2} times as long${most ? `, up to ${length(most)}` : ""}${jitter ? `; each is randomly shortened by up to ${Math.round(jitter * 100)}%` : ""}.`
    : "Delays between attempts grow from about 15 s to 2 h.";
  return `Each step gets up to ${counted(attempts, "attempt")}. ${wait}`;
}

/** @param {FunctionInfo} info @returns {Child[][]} */
export function configWords(info) {
  /** @type {Child[][]} */
  const said = [[retryWords(info.retries)]];
  said.push([info.mode === "checkpoint"
    ? "Checkpoint mode: an invocation runs as many steps as fit into its time budget and saves each before the next starts."
    : "Step mode: one step per invocation."]);
  if (info.idempotency) said.push(["At most one run in 24 hours for each value of ", h("code", null, visible(info.idempotency)), "."]);
  for (const each of info.cancel_on ?? []) {
    said.push(["A run is cancelled by the event ", h("code", null, eventWord(each.event)), each.expression ? [" if ", h("code", null, visible(each.expression))] : "", each.timeout ? `, within ${length(each.timeout)}` : "", "."]);
  }
  return said;
}

/** The limits of the function's runs. @param {FunctionInfo} info @returns {string[]} */
export function limitWords(info) {
  const { limits, timeouts } = info;
  return [
    timeouts?.start ? `A run that has not started after ${length(timeouts.start)} is cancelled.` : "A run may stay queued for any length of time.",
    timeouts?.finish ? `A run that has not ended ${length(timeouts.finish)} after its start is cancelled.` : "A run may take any length of time.",
    limits.invocation_seconds ? `One call to the app may take up to ${length(limits.invocation_seconds)}; after that the attempt fails.` : "Its app is no longer registered.",
    `A run has at most ${counted(limits.steps, "step")}.`,
    `Runs and their events are kept for ${length(limits.retention_seconds)}, longer while a run is live.`,
    "Runs start immediately; concurrency limits (flow control) are not available yet.",
  ];
}

/** What the checked running runs are doing. @param {import("../core/types.js").Backlog} backlog @returns {string[]} */
export function backlogWords(backlog) {
  const { working, retrying, sleeping, waiting, invoking, looked_at: seen, running } = backlog;
  const parts = /** @type {[number, string][]} */ ([
    [working, "working"], [retrying, "waiting for a retry"], [sleeping, "sleeping"],
    [waiting, "waiting for an event"], [invoking, "waiting for another run"],
  ]).filter(([count]) => count > 0).map(([count, what]) => `${count.toLocaleString("en-US")} ${what}`);
  if (parts.length && seen < running) parts[0] = `of the latest ${seen.toLocaleString("en-US")}: ${parts[0]}`;
  return parts;
}

/** @type {Record<string, string>} */
const INTERNAL = {
  "inngest/function.cancelled": "function cancelled", "inngest/function.failed": "function failed",
  "inngest/function.finished": "function finished", "inngest/function.invoked": "invoked", "inngest/scheduled.timer": "cron",
};

/** Whether the engine itself published an event; its reserved prefix cannot be sent. @param {string} name */
export function isInternal(name) {
  return name.startsWith("inngest/");
}

/** An event's name for people: words for the engine's own events. The terminal's `event_word` does the same. @param {string} name */
export function eventWord(name) {
  return INTERNAL[name] ?? visible(name);
}

/** For functions without triggers. */
export const NO_TRIGGER = "No triggers: it runs when other functions invoke it, or by hand.";
