// Cancel or replay many runs. A dry run shows what would happen before anything is changed.

import { post } from "../core/api.js";
import { now } from "../core/clock.js";
import { h, patch, visible } from "../core/dom.js";
import { counted } from "../core/format.js";
import { openDialog } from "../parts/dialog.js";
import { notice, toast } from "../parts/notice.js";

/** @typedef {{count: number, done: string[], failed: {run_id: string, error: string}[]}} BulkAnswer */
/** @typedef {{run_ids?: string[], filter?: Record<string, string|string[]>}} Chosen */

const LISTED = 20;

/** @type {Record<"cancel"|"replay", {verb: string, past: string, says: string, none: string}>} */
const ACTS = {
  cancel: {
    verb: "Cancel", past: "cancelled", none: "None of these runs can be cancelled: only queued and running runs can.",
    says: "A run stops before its next step starts. Completed steps are kept.",
  },
  replay: {
    verb: "Replay", past: "replayed", none: "None of these runs can be replayed.",
    says: "Each starts a new run with the same event and the current code. All steps run again.",
  },
};

/**
 * Shows how many runs are affected, asks, and acts.
 * @param {"cancel"|"replay"} action @param {Chosen} chosen @param {() => void} done
 */
export async function bulk(action, chosen, done) {
  const act = ACTS[action];
  const pinned = chosen.filter && !chosen.filter.until
    ? { filter: { ...chosen.filter, until: new Date(now()).toISOString() } } : chosen;
  const preview = h("div", { class: "bulk-preview", "aria-live": "polite" }, h("p", { class: "muted" }, "Counting…"));
  const dialog = openDialog({
    title: `${act.verb} runs`, action: act.verb, tone: action === "cancel" ? "danger" : "accent",
    body: [preview],
    act: async () => {
      const answer = /** @type {BulkAnswer} */ (await post("/api/runs/bulk", { action, ...pinned, dry_run: false }));
      done();
      if (!answer.failed.length) {
        toast(`${counted(answer.done.length, "run")} ${act.past}.`, { tone: "good" });
        return true;
      }
      if (dialog.action) dialog.action.hidden = true;
      patch(preview, notice(answer.done.length ? "warn" : "bad", `${counted(answer.done.length, "run")} ${act.past}, ${answer.failed.length} not:`), problems(answer));
      return false;
    },
  });
  if (dialog.action) dialog.action.disabled = true;
  try {
    const answer = /** @type {BulkAnswer} */ (await post("/api/runs/bulk", { action, ...pinned, dry_run: true }));
    const possible = answer.count - answer.failed.length;
    patch(
      preview,
      h("p", { class: "bulk-count" }, possible ? `${act.verb} ${counted(possible, "run")}?` : act.none),
      possible > 0 && h("p", { class: "muted" }, act.says),
      answer.failed.length > 0 && [h("p", null, `${counted(answer.failed.length, "run")} of ${answer.count} will not be changed:`), problems(answer)],
    );
    if (dialog.action) {
      dialog.action.textContent = possible ? `${act.verb} ${counted(possible, "run")}` : act.verb;
      dialog.action.disabled = possible === 0;
      if (possible) dialog.action.focus();
    }
  } catch (error) {
    patch(preview, notice("bad", "The runs could not be counted.", h("p", null, error instanceof Error ? error.message : String(error))));
  }
}

/** @param {BulkAnswer} answer */
function problems(answer) {
  return h(
    "ul", { class: "bulk-problems" },
    answer.failed.slice(0, LISTED).map(({ run_id, error }) => h("li", null, h("span", { class: "mono" }, run_id), " ", visible(error))),
    answer.failed.length > LISTED && h("li", { class: "muted" }, `and ${answer.failed.length - LISTED} more`),
  );
}
