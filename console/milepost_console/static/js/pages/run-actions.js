// Actions on a run: replay (completely, from a step, or with an edited event), cancel, erase.

import { erase, get, post, sentence } from "../core/api.js";
import { h, visible } from "../core/dom.js";
import { go } from "../core/router.js";
import { isStack } from "../core/server.js";
import { openDialog } from "../parts/dialog.js";
import { Editor } from "../parts/editor.js";
import { toast } from "../parts/notice.js";
import { runPath } from "./runs-row.js";

/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {import("../core/types.js").Span} Span */

/** @param {string} runId @param {object} body */
async function startReplay(runId, body) {
  const { run_id } = await post(`/api/runs/${encodeURIComponent(runId)}/replay`, body);
  toast("Replayed as a new run.", { tone: "good" });
  go(runPath(run_id));
}

/** Acts at once on a dev server; asks first on a stack. @param {string} question @param {string} says @param {() => Promise<void>} act */
async function ask(question, says, act) {
  if (isStack()) {
    openDialog({ title: question, body: [h("p", null, says)], action: "Replay", act });
    return;
  }
  try {
    await act();
  } catch (error) {
    toast(sentence(error), { tone: "bad" });
  }
}

/** @param {RunDetail} run */
export function replay(run) {
  return ask("Replay this run?", "A new run starts with the same event and the current code. All steps run again.", () => startReplay(run.run_id, {}));
}

/** @param {RunDetail} run @param {Span} span */
export function replayFrom(run, span) {
  const closed = span.ended_at !== null && span.step_id;
  return ask(`Replay from ${visible(span.name)}?`, "A new run starts. The results before this step are kept; this step and the following ones run again.", () => startReplay(run.run_id, { from_step: closed ? span.step_id : span.name }));
}

/** Whether a replay can start at this step. @param {Span} span */
export function canReplayFrom(span) {
  return span.kind !== "function" && span.status !== "Planned" && span.status !== "Vanished";
}

/** @param {RunDetail} run */
export async function editAndReplay(run) {
  const event = run.event;
  if (!event) return;
  /** @type {import("../core/types.js").FunctionInfo|null} */
  const info = await get(`/api/functions/${encodeURIComponent(run.function_id)}`).catch(() => null);
  const schema = info?.schemas?.[event.name] ?? null;
  const editor = new Editor({ label: `Data of ${visible(event.name)}`, value: event.data, schema, rows: 16 });
  const dialog = openDialog({
    title: "Edit event and replay", wide: true, action: "Replay with this event",
    body: [h("p", { class: "muted" }, "A new run starts from the beginning with this data. The original event and this run do not change."), editor.element],
    act: async () => {
      if (!editor.valid) return false;
      await startReplay(run.run_id, { data: editor.value });
    },
  });
  editor.changed = (valid) => {
    if (dialog.action) dialog.action.disabled = !valid;
  };
  editor.field.focus();
}

/** @param {RunDetail} run @param {() => void} done */
export function cancel(run, done) {
  const reason = h("input", { class: "field", type: "text", maxlength: "500", placeholder: "Why (optional)", "aria-label": "Reason" });
  openDialog({
    title: "Cancel this run?", action: "Cancel the run", tone: "danger",
    body: [h("p", null, "It stops before its next step starts. Completed steps are kept; a running step is not interrupted."), reason],
    act: async () => {
      await post(`/api/runs/${encodeURIComponent(run.run_id)}/cancel`, reason.value ? { reason: reason.value } : {});
      toast("The run is being cancelled.");
      done();
    },
  });
}

/** @param {RunDetail} run */
export function eraseRun(run) {
  openDialog({
    title: "Erase this run?", action: "Erase permanently", tone: "danger",
    body: [h("p", null, "Its steps, outputs and errors are removed permanently.")],
    act: async () => {
      await erase(`/api/runs/${encodeURIComponent(run.run_id)}`);
      toast("The run was erased.");
      go("/runs");
    },
  });
}

/** A command that sends the event, quoted for a shell. @param {{name: string, data: unknown}} event */
export function curlOf(event) {
  const body = JSON.stringify({ name: event.name, data: event.data }).replaceAll("'", "'\\''");
  return `curl -X POST ${location.origin}/e/dev \\\n  -H 'content-type: application/json' \\\n  -d '${body}'`;
}
