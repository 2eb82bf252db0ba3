// A function's configuration, limits and backlog, said in words.

import { h, visible } from "../core/dom.js";
import { counted, duration } from "../core/format.js";

/** @typedef {import("../core/types.js").FunctionInfo} FunctionInfo */
/** @typedef {import("../core/dom.js").Child} Child */

/** A length of time that the API gives as seconds or as text such as "10m". @param {string|number|null|undefined} value */
function length(value) {
  if (typeof value === "number") return duration(value * 1000);
  return visible(value).replace(/(\d+)(ms|[wdhms])(?=\d|$)/g, (_, count, unit) => `${count} ${unit === "m" ? "min" : unit} `).trim();
}

/** What becomes of moments that passed while nothing ran; the usual rule goes without saying. @type {Record<string, string>} */
const MISSED = { all: "; each missed moment is made up for", skip: "; a missed moment is left out" };

/** @param {FunctionInfo["triggers"][number]} trigger @returns {Child[]} */
export function triggerWords(trigger) {
  if (trigger.cron !== undefined) {
    return ["on the cron line ", h("code", null, visible(trigger.cron)), trigger.tz ? ` in ${visible(trigger.tz)}` : "", trigger.jitter ? `, spread by up to ${length(trigger.jitter)}` : "", MISSED[trigger.catch_up ?? ""] ?? ""];
  }
  return ["on event ", h("code", null, visible(trigger.event)), trigger.expression ? [" if ", h("code", null, visible(trigger.expression))] : ""];
}

/** @param {FunctionInfo["retries"]} retries */
function retryWords(retries) {
  const attempts = retries?.max_attempts ?? 1;
  if (attempts <= 1) return "A step or the function is tried once; an error is final.";
  const { first_delay: first, factor, max_delay: most, jitter } = retries.backoff ?? {};
  const wait = first
    ? `The first wait is ${length(first)}, each further one ${factor ?? 2} times as long${most ? `, ${length(most)} at most` : ""}${jitter ? `; up to ${Math.round(jitter * 100)} % of each is taken off at random` : ""}.`
    : "The waits grow from about 15 s to 2 h.";
  return `Each step is tried up to ${counted(attempts, "time")}. ${wait}`;
}

/** @param {FunctionInfo} info @returns {Child[][]} */
export function configWords(info) {
  /** @type {Child[][]} */
  const said = [[retryWords(info.retries)]];
  said.push([info.mode === "checkpoint"
    ? "Checkpoint mode: one invocation runs as many steps as fit into its time, each saved before the next."
    : "Step mode: one step per invocation."]);
  if (info.idempotency) said.push(["At most one run within 24 hours for each value of ", h("code", null, visible(info.idempotency)), "."]);
  for (const each of info.cancel_on ?? []) {
    said.push(["A run is cancelled by event ", h("code", null, visible(each.event)), each.expression ? [" if ", h("code", null, visible(each.expression))] : "", each.timeout ? `, within ${length(each.timeout)}` : "", "."]);
  }
  return said;
}

/** What a run of the function may take, and what bounds there are not. @param {FunctionInfo} info @returns {string[]} */
export function limitWords(info) {
  const { limits, timeouts } = info;
  return [
    timeouts?.start ? `A run that has not started after ${length(timeouts.start)} is cancelled.` : "A run may wait in the queue for as long as it takes.",
    timeouts?.finish ? `A run that has not ended ${length(timeouts.finish)} after its start is cancelled.` : "A run may go on for as long as it takes.",
    limits.invocation_seconds ? `One call of the app may take ${length(limits.invocation_seconds)}; after that the attempt has failed.` : "Its app is not registered any more.",
    `A run has at most ${counted(limits.steps, "step")}.`,
    `Runs and their events are kept for ${length(limits.retention_seconds)}, longer while a run goes on.`,
    "Runs start at once, however many go on: limits on that (flow control) do not exist yet.",
  ];
}

/** What the running runs are at, as far as it was looked at. @param {import("../core/types.js").Backlog} backlog @returns {string[]} */
export function backlogWords(backlog) {
  const { working, retrying, sleeping, waiting, invoking, looked_at: seen, running } = backlog;
  const parts = /** @type {[number, string][]} */ ([
    [working, "at work"], [retrying, "waiting for another try"], [sleeping, "asleep"],
    [waiting, "waiting for an event"], [invoking, "waiting for another run"],
  ]).filter(([count]) => count > 0).map(([count, what]) => `${count.toLocaleString("en-US")} ${what}`);
  if (parts.length && seen < running) parts[0] = `of the latest ${seen.toLocaleString("en-US")}: ${parts[0]}`;
  return parts;
}

/** @type {Record<string, string>} */
const INTERNAL = { "inngest/function.invoked": "invoked", "inngest/scheduled.timer": "cron", "inngest/function.failed": "a run failed" };

/** The name of an event; those that the engine makes itself are told in a word. @param {string} name */
export function eventWord(name) {
  return INTERNAL[name] ?? visible(name);
}

/** What a function without any trigger is for. */
export const NO_TRIGGER = "Nothing starts it by itself: other functions invoke it, or you do.";
