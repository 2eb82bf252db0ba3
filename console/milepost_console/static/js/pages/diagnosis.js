// The box at the top of a run: what happened, in which step, and what to do.

import { time } from "../core/clock.js";
import { h, visible } from "../core/dom.js";
import { counted } from "../core/format.js";
import { icon } from "../parts/icons.js";

/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {import("../core/types.js").Span} Span */
/** @typedef {import("../core/types.js").Failure} Failure */
/** @typedef {import("../core/dom.js").Child} Child */

const MESSAGE_CHARS = 600;

/** Advice for errors recognised by name or code. @type {[RegExp, string][]} */
const ADVICE = [
  [/NonDeterminism/, "The code no longer matches the steps that this run has recorded. Restore the old order of the steps, or replay from the start with the new code."],
  [/EventMismatch|ValidationError/, "The event's data does not fit what the code expects. Edit the event and replay, or widen the model."],
  [/PayloadTooLarge|output_too_large/, "A value exceeds its size limit. Store large data elsewhere and pass a reference."],
  [/NotSerializable/, "A step returned a value that cannot be written as JSON. Return plain data, then replay from this step."],
  [/http_unreachable|not_sdk|Server returned a fatal error/, "The app did not give a valid answer. Check on the Apps page that it is running at the right address, then replay from this step."],
  [/request_duration_too_long|TimeoutError|Timeout/, "Something took too long. Check the service that the step called, then replay from this step."],
  [/Connection|OperationalError|Unreachable|ECONN/i, "A service that the step called could not be reached. Once it is back, replay from this step: the results before it are kept."],
];

/** @type {Record<string, string>} */
const CANCELLED = {
  event: "An event listed in the function's cancel_on arrived.",
  api: "It was cancelled by hand or through the API.",
  parent: "The run that invoked it was cancelled, and cancel_with_parent was on for that invoke.",
  "start timeout": "It was queued for longer than its start timeout allows. Check that the app answers, then replay the run.",
  "finish timeout": "It ran for longer than its finish timeout allows. If the work needs more time, raise the timeout, then replay the run.",
};

/** @param {Failure|null|undefined} error */
export function errorLine(error) {
  if (!error) return "";
  const text = [error.name, error.message].filter(Boolean).join(": ") || JSON.stringify(error);
  return visible(text.length > MESSAGE_CHARS ? `${text.slice(0, MESSAGE_CHARS)}…` : text);
}

/** @param {RunDetail} run @param {Span|null} span @param {Child[]} buttons */
export function diagnosis(run, span, buttons) {
  if (run.status === "Failed") return box("bad", "cross", failedTitle(span), errorLine(run.error), failedAdvice(run, span), buttons);
  if (run.status === "Cancelled") return box("off", "slash", "This run was cancelled.", cancelReason(run), CANCELLED[run.outcome ?? ""] ?? "", buttons);
  if (run.status === "Queued") return box("note", "queue", "This run is queued.", "", queuedAdvice(run), buttons);
  if (run.status !== "Running") return null;
  const open = run.trace.filter((each) => ["Retrying", "Waiting", "Sleeping", "Invoking"].includes(each.status));
  const retrying = open.find((each) => each.status === "Retrying");
  if (retrying) return box("warn", "again", ["Step ", h("b", null, visible(retrying.name)), ` failed ${counted(retrying.attempts.length, "time")} of at most ${run.max_attempts}.`], errorLine(retrying.error ?? retrying.attempts.at(-1)?.error), ["The next attempt is ", time(retrying.next_try_at), ". If the cause is temporary, there is nothing to do."], buttons);
  const [first] = open;
  if (!first || open.length > 1) return null;
  return box("note", first.status === "Sleeping" ? "moon" : "ear", [`${{ Waiting: "Waiting for an event", Sleeping: "Sleeping", Invoking: "Waiting for another run" }[first.status]} in step `, h("b", null, visible(first.name)), "."], "", first.due_at ? ["Until ", time(first.due_at, "absolute"), " at the latest."] : "", []);
}

/** @param {Span|null} span @returns {Child[]} */
function failedTitle(span) {
  if (!span || span.kind === "function") {
    const tries = span?.attempts.length ?? 0;
    return [`Failed in the function itself, outside its steps${tries > 1 ? `, after ${counted(tries, "attempt")}` : ""}.`];
  }
  return ["Failed in step ", h("b", null, visible(span.name)), span.attempts.length ? `, after ${counted(span.attempts.length, "attempt")}.` : "."];
}

/** @param {RunDetail} run @param {Span|null} span */
function failedAdvice(run, span) {
  const named = `${run.error?.name ?? ""} ${run.error?.code ?? ""} ${span?.error?.name ?? ""} ${run.error?.message ?? ""}`;
  const known = ADVICE.find(([pattern]) => pattern.test(named))?.[1];
  if (known) return known;
  if (span?.kind === "invoke") return "The invoked run failed. Open that run to see why, fix the cause, then replay from this step.";
  if (span && span.attempts.length > 0 && span.attempts.length < run.max_attempts) {
    return "The code raised an error that must not be retried, so the remaining attempts were not made. Fix the cause, then replay.";
  }
  if (!span || span.kind === "function") return "Fix the code, then replay. All steps run again; to keep completed steps, replay from a step.";
  return "Every attempt failed. Once the cause is fixed, replay from this step: the results before it are kept.";
}

/** @param {RunDetail} run */
function cancelReason(run) {
  const said = run.error ?? run.output;
  const reason = said && typeof said === "object" && "reason" in said ? String(said.reason ?? "") : errorLine(run.error);
  return visible(reason);
}

/** @param {RunDetail} run @returns {Child[]} */
function queuedAdvice(run) {
  const later = run.start_at && Date.parse(run.start_at) > Date.parse(run.queued_at) + 1000;
  return later ? ["It will start ", time(run.start_at), "."] : ["It will start as soon as a worker is free."];
}

/** @param {string} tone @param {string} shape @param {Child|Child[]} title @param {string} said @param {Child|Child[]} advice @param {Child[]} buttons */
function box(tone, shape, title, said, advice, buttons) {
  return h(
    "section", { class: `diagnosis diagnosis-${tone}`, "aria-label": "What happened" },
    h("h2", null, icon(shape), h("span", null, title)),
    said && h("p", { class: "said" }, said), advice && h("p", { class: "advice" }, advice),
    buttons.length > 0 && h("div", { class: "buttons" }, buttons),
  );
}
