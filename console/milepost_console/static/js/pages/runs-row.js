// One run as a table row.

import { elapsed, time } from "../core/clock.js";
import { h, visible } from "../core/dom.js";
import { duration, shortId } from "../core/format.js";
import { icon } from "../parts/icons.js";
import { badge } from "../parts/status.js";
import { eventWord } from "./words.js";

/** @typedef {import("../core/types.js").RunRow} RunRow */

/** @param {string} id */
export function runPath(id) {
  return `/runs/${encodeURIComponent(id)}`;
}

/** A run's duration, or the time since it was queued. @param {RunRow} row */
export function runDuration(row) {
  if (row.ended_at) return h("span", null, duration(row.duration_ms ?? Date.parse(row.ended_at) - Date.parse(row.queued_at)));
  return elapsed(row.queued_at);
}

/**
 * @param {RunRow} row @param {number} index
 * @param {{selected: boolean, onSelect: (row: RunRow, event: MouseEvent) => void}} selection
 */
export function runRow(row, index, selection) {
  const name = visible(row.function_id);
  return h(
    "div",
    {
      class: `run-row status-${row.status}${selection.selected ? " selected" : ""}`, role: "row",
      "aria-rowindex": index + 2, data: { run: row.run_id },
    },
    h("span", { class: "c-select", role: "cell" }, h("input", {
      type: "checkbox", checked: selection.selected, tabindex: "-1", "aria-label": `Select run ${row.run_id} of ${name}`,
      on: { click: (/** @type {MouseEvent} */ event) => selection.onSelect(row, event) },
    })),
    h("span", { class: "c-status", role: "cell" }, badge(row.status)),
    h("span", { class: "c-function", role: "cell" }, h("a", { class: "row-link", href: runPath(row.run_id), title: name }, name)),
    h("span", { class: "c-event", role: "cell", title: eventWord(row.event_name) }, eventWord(row.event_name)),
    h("span", { class: "c-id", role: "cell", title: row.run_id }, row.origin_run_id && h("span", { class: "replayed", title: `Replay of ${row.origin_run_id}` }, icon("again"), h("span", { class: "offscreen" }, "replay ")), shortId(row.run_id)),
    h("span", { class: "c-time", role: "cell" }, time(row.queued_at)),
    h("span", { class: "c-duration", role: "cell" }, runDuration(row)),
  );
}

export const RUN_COLUMNS = ["Status", "Function", "Event", "Run", "Queued", "Duration"];

/** A short list of runs, as other pages show it. @param {RunRow[]} rows @param {string} empty */
export function shortRuns(rows, empty) {
  if (!rows.length) return h("p", { class: "muted" }, empty);
  return h("ul", { class: "short-runs" }, rows.map((row) => h(
    "li", { data: { key: row.run_id } },
    badge(row.status), h("a", { href: runPath(row.run_id), title: row.run_id }, visible(row.function_id)),
    h("span", { class: "mono muted" }, shortId(row.run_id)), h("span", { class: "grow" }), h("span", { class: "muted" }, time(row.queued_at)),
    h("span", { class: "number" }, runDuration(row)),
  )));
}
