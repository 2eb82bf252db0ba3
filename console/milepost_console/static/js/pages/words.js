// A function's configuration, said in words.

import { h, visible } from "../core/dom.js";
import { counted, duration } from "../core/format.js";

/** @typedef {import("../core/types.js").FunctionInfo} FunctionInfo */
/** @typedef {import("../core/dom.js").Child} Child */

/** A length of time that the API gives as seconds or as text such as "10m". @param {string|number|null|undefined} value */
function length(value) {
  return typeof value === "number" ? duration(value * 1000) : visible(value);
}

/** @param {FunctionInfo["triggers"][number]} trigger @returns {Child[]} */
export function triggerWords(trigger) {
  if (trigger.cron !== undefined) {
    return ["on the cron line ", h("code", null, visible(trigger.cron)), trigger.tz ? ` in ${visible(trigger.tz)}` : "", trigger.jitter ? `, spread by up to ${length(trigger.jitter)}` : ""];
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
  if (info.timeouts?.start) said.push([`A run that has not started after ${length(info.timeouts.start)} is cancelled.`]);
  if (info.timeouts?.finish) said.push([`A run that has not ended ${length(info.timeouts.finish)} after its start is cancelled.`]);
  for (const each of info.cancel_on ?? []) {
    said.push(["A run is cancelled by event ", h("code", null, visible(each.event)), each.expression ? [" if ", h("code", null, visible(each.expression))] : "", each.timeout ? `, within ${length(each.timeout)}` : "", "."]);
  }
  return said;
}

/** @type {Record<string, string>} */
const INTERNAL = { "inngest/function.invoked": "invoked", "inngest/scheduled.timer": "cron", "inngest/function.failed": "a run failed" };

/** The name of an event; those that the engine makes itself are told in a word. @param {string} name */
export function eventWord(name) {
  return INTERNAL[name] ?? visible(name);
}

/** What a function without any trigger is for. */
export const NO_TRIGGER = "Nothing starts it by itself: other functions invoke it, or you do.";
