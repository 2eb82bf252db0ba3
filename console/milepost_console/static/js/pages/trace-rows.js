// The rows of a trace: the time in the queue, steps, and groups of parallel steps.

import { at } from "./trace-scale.js";

/** @typedef {import("../core/types.js").Span} Span */
/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {{key: string, type: "queue"}} QueueRow */
/** @typedef {{key: string, type: "group", turn: number, members: Span[], folded: boolean}} GroupRow */
/** @typedef {{key: string, type: "span", span: Span, inGroup: boolean, lastOfGroup: boolean}} SpanRow */
/** @typedef {QueueRow|GroupRow|SpanRow} TraceRow */

/** Groups with more steps than this are folded and show only remarkable steps. */
const FOLDED_FROM = 24;

/** @param {Span} span */
export function spanKey(span) {
  return span.step_id || `(function) ${span.name}`;
}

/** Whether a step failed, was retried, or is not completed. @param {Span} span */
export function isRemarkable(span) {
  return span.status !== "Completed" || span.attempts.some((each) => each.status === "Failed");
}

/**
 * @param {RunDetail} run
 * @param {{turned: Set<number>, text: string, remarkable: boolean}} view groups whose folding was toggled, and a search
 * @returns {TraceRow[]}
 */
export function traceRows(run, view) {
  const wanted = view.text.toLowerCase();
  const searching = Boolean(wanted) || view.remarkable;
  const spans = run.trace.filter((span) => (!wanted || span.name.toLowerCase().includes(wanted)) && (!view.remarkable || isRemarkable(span)));
  /** @type {Map<number, Span[]>} */
  const groups = new Map();
  for (const span of spans) if (span.turn !== null && span.turn !== undefined) groups.set(span.turn, [...(groups.get(span.turn) ?? []), span]);
  /** @type {TraceRow[]} */
  const rows = searching ? [] : [{ key: "(queue)", type: "queue" }];
  const done = new Set();
  for (const span of spans) {
    const members = span.turn === null || span.turn === undefined ? [] : groups.get(span.turn) ?? [];
    if (members.length < 2) rows.push(spanRow(span, false, false));
    else if (!done.has(span.turn)) {
      done.add(span.turn);
      rows.push(...groupRows(/** @type {number} */ (span.turn), members, view, searching));
    }
  }
  return rows;
}

/** @param {number} turn @param {Span[]} members @param {{turned: Set<number>}} view @param {boolean} searching @returns {TraceRow[]} */
function groupRows(turn, members, view, searching) {
  const folded = !searching && view.turned.has(turn) !== members.length > FOLDED_FROM;
  const shown = folded ? members.filter(isRemarkable) : members;
  return [
    { key: `(group ${turn})`, type: "group", turn, members, folded },
    ...shown.map((span, index) => spanRow(span, true, index === shown.length - 1)),
  ];
}

/** @param {Span} span @param {boolean} inGroup @param {boolean} lastOfGroup @returns {SpanRow} */
function spanRow(span, inGroup, lastOfGroup) {
  return { key: spanKey(span), type: "span", span, inGroup, lastOfGroup };
}

/** Whether an attempt repeats the one before it. The function's own attempts start from 0 again after progress. @param {Span} span @param {number} index */
export function isRetry(span, index) {
  return index > 0 && span.attempts[index].attempt > span.attempts[index - 1].attempt;
}

/**
 * The pieces of a step's bar, each with its start and end.
 * @param {Span} span @param {number} end the run's end, or now
 * @returns {{from: number, to: number, kind: string}[]}
 */
export function barPieces(span, end) {
  const began = at(span.started_at);
  const ended = span.ended_at ? at(span.ended_at) : end;
  if (span.kept || Number.isNaN(began)) return [];
  if (span.kind === "sleep") return [{ from: began, to: ended, kind: "sleep" }];
  if (span.kind === "wait") return [{ from: began, to: ended, kind: span.status === "TimedOut" ? "late" : "listen" }];
  if (span.kind === "invoke") return [{ from: began, to: ended, kind: span.status === "Failed" ? "child-bad" : "child" }];
  const pieces = [];
  let until = began;
  for (const [index, each] of span.attempts.entries()) {
    const from = at(each.started_at);
    if (from > until) pieces.push({ from: until, to: from, kind: isRetry(span, index) ? "retry" : "pause" });
    pieces.push({ from, to: at(each.ended_at), kind: each.status === "Failed" ? "bad" : "good" });
    until = at(each.ended_at);
  }
  const open = !span.ended_at && span.status !== "Abandoned" && span.status !== "Failed";
  if (open && end > until) pieces.push({ from: until, to: end, kind: span.status === "Retrying" ? "retry" : "open" });
  return pieces;
}

/** The step to show first: the one that made the run fail, or the one being retried. @param {RunDetail} run @returns {Span|null} */
export function firstToShow(run) {
  const last = (/** @type {(span: Span) => boolean} */ test) => run.trace.filter(test).at(-1) ?? null;
  if (run.status === "Failed") {
    const message = run.error?.message;
    return last((span) => span.status === "Failed" && span.error?.message === message && span.kind !== "function")
      ?? last((span) => span.status === "Failed" && span.kind === "function") ?? last((span) => span.status === "Failed");
  }
  if (run.status === "Running") return last((span) => span.status === "Retrying");
  return null;
}
