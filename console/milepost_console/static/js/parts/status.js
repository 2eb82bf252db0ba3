// The appearance of run and step statuses: a word, a shape and a colour.

import { h } from "../core/dom.js";
import { icon } from "./icons.js";

/** Word, icon and tone of each status. @type {Record<string, [string, string, string]>} */
const LOOKS = {
  Queued: ["Queued", "queue", "idle"],
  Running: ["Running", "ring", "run"],
  Completed: ["Completed", "check", "good"],
  Failed: ["Failed", "cross", "bad"],
  Cancelled: ["Cancelled", "slash", "off"],
  TimedOut: ["Timed out", "clock", "warn"],
  Vanished: ["Vanished", "ghost", "off"],
  Planned: ["Planned", "dot", "idle"],
  Retrying: ["Retrying", "again", "warn"],
  Sleeping: ["Sleeping", "moon", "wait"],
  Waiting: ["Waiting", "ear", "wait"],
  Invoking: ["Invoking", "branch", "run"],
  Abandoned: ["Not finished", "slash", "off"],
};

export const RUN_STATUSES = /** @type {const} */ (["Queued", "Running", "Completed", "Failed", "Cancelled"]);

/** @param {string} status */
function look(status) {
  return LOOKS[status] ?? [status, "dot", "idle"];
}

/** @param {string} status */
export function tone(status) {
  return look(status)[2];
}

/** @param {string} status */
export function statusWord(status) {
  return look(status)[0];
}

/** @param {string} status */
export function statusIcon(status) {
  const [word, shape, colour] = look(status);
  return h("span", { class: `status-icon tone-${colour}`, role: "img", "aria-label": word }, icon(shape, `shape-${shape}`));
}

/** Icon and word. @param {string} status @param {string} [kind] */
export function badge(status, kind = "") {
  const [word, shape, colour] = look(status);
  return h("span", { class: `badge tone-${colour} ${kind}`.trim() }, icon(shape, `shape-${shape}`), h("span", null, word));
}
