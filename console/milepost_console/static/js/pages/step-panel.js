// One step: attempts and the waits between them, what it waited for, its output or error.

import { query } from "../core/api.js";
import { elapsed, time } from "../core/clock.js";
import { h, visible } from "../core/dom.js";
import { duration } from "../core/format.js";
import { copyButton } from "../parts/copy.js";
import { icon } from "../parts/icons.js";
import { jsonView } from "../parts/json.js";
import { badge } from "../parts/status.js";
import { errorLine } from "./diagnosis.js";
import { canReplayFrom, replayFrom } from "./run-actions.js";
import { runPath } from "./runs-row.js";
import { isRetry, spanKey } from "./trace-rows.js";
import { eventWord } from "./words.js";

/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {import("../core/types.js").Span} Span */
/** @typedef {import("../core/types.js").Failure} Failure */

/** @type {Record<string, string>} */
const KINDS = { run: "Step", sleep: "Sleep", wait: "Wait for an event", invoke: "Invoked function", function: "The function itself" };

/** An error with its traceback and cause. @param {Failure} error @param {string} label */
export function errorView(error, label) {
  const stack = error.stack?.trim() ?? "";
  return h(
    "div", { class: "error-view" },
    h("p", { class: "said" }, errorLine(error)),
    error.code && h("p", { class: "muted" }, "Code ", h("code", null, visible(error.code))),
    stack && h("div", { class: "json-box" }, h("pre", { class: "stack", tabindex: "0", role: "region", "aria-label": label }, visible(stack)), copyButton(stack, "traceback")),
    error.data !== null && error.data !== undefined && [h("h4", null, "Error data"), jsonView(error.data, { label: "error data" })],
    error.cause && [h("h4", null, "Caused by"), h("p", { class: "said" }, errorLine(error.cause))],
  );
}

/** @param {RunDetail} run @param {Span} span @param {import("../core/dom.js").Child[]} logs @param {() => void} close */
export function stepPanel(run, span, logs, close) {
  return h(
    "aside", { class: "card panel", "aria-label": `Step ${visible(span.name)}`, data: { key: `panel ${spanKey(span)}` } },
    h("header", null,
      h("div", { class: "panel-title" }, h("span", { class: "muted" }, KINDS[span.kind] ?? span.kind), h("h2", null, visible(span.name))),
      h("button", { class: "icon-button", type: "button", "aria-label": "Close the step", on: { click: close } }, icon("close"))),
    h("div", { class: "panel-body" },
      h("div", { class: "panel-line" }, badge(span.status), !span.kept && h("span", { class: "muted" }, span.duration_ms === null && span.started_at && !run.ended_at ? ["for ", elapsed(span.started_at)] : duration(span.duration_ms)), span.started_at && h("span", { class: "muted" }, time(span.started_at, "clock")),
        h("span", { class: "grow" }),
        canReplayFrom(span) && run.event && h("button", { class: "button small", type: "button", on: { click: () => void replayFrom(run, span) } }, icon("again"), "Replay from this step")),
      span.kept && h("p", { class: "muted" }, "This result was kept; the step ran in ", run.origin_run_id ? h("a", { href: runPath(run.origin_run_id) }, "the replayed run") : "the replayed run", "."),
      facts(span), waitFacts(span), childFacts(span),
      attempts(run, span),
      span.error && [h("h3", null, "Error"), errorView(span.error, "traceback")],
      span.invoke && span.invoke.data !== null && span.invoke.data !== undefined && [h("h3", null, "Input"), jsonView(span.invoke.data, { label: "input data" })],
      showsOutput(span) && [h("h3", null, span.kind === "wait" ? "Matching event" : "Output"), jsonView(span.output, { label: "output" })],
      logs),
  );
}

/** @param {Span} span */
function showsOutput(span) {
  return span.status === "Completed" && span.kind !== "sleep" && !span.error;
}

/** @param {Span} span */
function facts(span) {
  if (span.status === "Vanished") return h("p", null, "Later code no longer has this step; its result was dropped.");
  if (span.status === "Abandoned") return h("p", null, "The run ended before this step did.");
  if (span.kind === "sleep") return h("p", null, span.ended_at ? ["Slept until ", time(span.ended_at, "absolute"), "."] : ["Sleeps until ", time(span.due_at, "absolute"), " (", time(span.due_at), ")."]);
  if (span.status === "Retrying" && span.next_try_at) return h("p", null, "Next attempt ", time(span.next_try_at), " (", time(span.next_try_at, "absolute"), ").");
  if (span.status === "Planned") return h("p", null, "Not started yet.");
  return null;
}

/** @param {Span} span */
function waitFacts(span) {
  if (!span.wait) return null;
  const { event, expression, matches_when: bound } = span.wait;
  const open = span.status === "Waiting";
  return [
    h("p", null, open ? "An event " : "It waited for the event ", h("code", null, eventWord(event)), open ? (bound ? " ends this wait if:" : " ends this wait.") : (bound ? " with the condition:" : ".")),
    bound && h("div", { class: "command" }, h("code", null, visible(bound)), copyButton(bound, "expression")),
    bound && bound !== expression && h("p", { class: "muted" }, "Written as ", h("code", null, visible(expression))),
    open && span.due_at && h("p", null, "It times out ", time(span.due_at), " (", time(span.due_at, "absolute"), ")."),
    span.status === "TimedOut" && h("p", null, "No matching event arrived in time; the step returned None."),
    open && h("p", null, h("a", { class: "button small", href: `/events${query({ send: event, data: JSON.stringify(matching(bound)) })}` }, icon("send"), "Send a matching event")),
    span.detail?.event_id && h("p", null, "Ended by event ", h("a", { href: `/events/${encodeURIComponent(span.detail.event_id)}` }, span.detail.event_id), "."),
  ];
}

/** Data that satisfies the equalities of an expression with values filled in: `async.data.order_id == "7"`. @param {string} bound */
function matching(bound) {
  /** @type {Record<string, unknown>} */
  const data = {};
  const value = String.raw`("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false)`;
  const field = String.raw`async\.data\.([A-Za-z_]\w*)`;
  for (const [, name, found] of bound.matchAll(RegExp(`${field}\\s*==\\s*${value}`, "g"))) data[name] = JSON.parse(found);
  for (const [, found, name] of bound.matchAll(RegExp(`${value}\\s*==\\s*${field}`, "g"))) data[name] = JSON.parse(found);
  return data;
}

/** @param {Span} span */
function childFacts(span) {
  if (!span.invoke) return null;
  // A refused invoke has no run.
  const child = span.detail?.run_id ?? (["Invoking", "Abandoned", "TimedOut"].includes(span.status) ? span.invoke.run_id : null);
  return h("p", null,
    "Invoked ", h("a", { href: `/functions/${encodeURIComponent(span.invoke.function_id)}` }, visible(span.invoke.function_id)),
    child ? [": ", h("a", { href: runPath(child), class: "mono" }, child)] : "", ".");
}

/** @param {RunDetail} run @param {Span} span */
function attempts(run, span) {
  if (!span.attempts.length || (span.attempts.length === 1 && span.status === "Completed")) return null;
  const isOneJob = span.attempts.every((_, index) => index === 0 || isRetry(span, index));
  return [
    h("h3", null, `Attempts (${span.attempts.length}${isOneJob ? ` of at most ${run.max_attempts}` : ""})`),
    h("ol", { class: "attempts" }, span.attempts.map((each, index) => h(
      "li", { class: each.status === "Failed" ? "attempt-bad" : "attempt-good", data: { key: `attempt ${each.attempt} ${each.started_at}` } },
      h("div", { class: "attempt-line" },
        icon(each.status === "Failed" ? "cross" : "check"), h("span", null, `Attempt ${each.attempt + 1}`), h("span", { class: "muted" }, time(each.started_at, "clock")), h("span", { class: "grow" }), h("span", { class: "number" }, duration(each.duration_ms))),
      each.error && (index < span.attempts.length - 1 || !span.error) && h("details", null, h("summary", null, errorLine(each.error)), each.error.stack && h("pre", { class: "stack", tabindex: "0" }, visible(each.error.stack.trim()))),
      waited(span, index),
    ))),
  ];
}

/** The wait between a failed attempt and the next. @param {Span} span @param {number} index */
function waited(span, index) {
  const [each, next] = span.attempts.slice(index);
  if (next && !isRetry(span, index + 1)) return null;
  if (next) return h("p", { class: "waited" }, `waited ${duration(Date.parse(next.started_at) - Date.parse(each.ended_at))}`);
  if (span.status === "Retrying" && each.next_at) return h("p", { class: "waited" }, "next attempt ", time(each.next_at));
  return null;
}
