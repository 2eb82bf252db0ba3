// Keyboard shortcuts for every page, and the list of all shortcuts.

import { h, isTyping } from "../core/dom.js";
import { go } from "../core/router.js";
import { openDialog } from "./dialog.js";

/** @type {[string[], string][]} */
const KEYS = [
  [["/"], "Search"],
  [["j"], "Next row"],
  [["k"], "Previous row"],
  [["Enter"], "Open the row"],
  [["x"], "Select the row"],
  [["Esc"], "Clear the selection, or close"],
  [["g", "r"], "Go to runs"],
  [["g", "e"], "Go to events"],
  [["g", "f"], "Go to functions"],
  [["g", "a"], "Go to apps"],
  [["?"], "Show this list"],
];
/** @type {Record<string, string>} */
const PATHS = { r: "/runs", e: "/events", f: "/functions", a: "/apps" };
const CHORD_MS = 1000;

let chordUntil = 0;

export function startKeys() {
  addEventListener("keydown", (event) => {
    if (isTyping(event.target) || event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (Date.now() < chordUntil && event.key in PATHS) {
      event.preventDefault();
      event.stopImmediatePropagation();
      chordUntil = 0;
      go(PATHS[event.key]);
    } else if (event.key === "g") chordUntil = Date.now() + CHORD_MS;
    else if (event.key === "?") help();
    else if (event.key === "/") focusSearch(event);
  }, { capture: true });
}

/** @param {KeyboardEvent} event */
function focusSearch(event) {
  const field = /** @type {HTMLInputElement|null} */ (document.querySelector("[data-search]"));
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
}

export function help() {
  openDialog({
    title: "Keyboard shortcuts",
    body: [
      h("dl", { class: "keys" }, KEYS.map(([keys, meaning]) => [
        h("dt", null, keys.map((key) => h("kbd", null, key))), h("dd", null, meaning),
      ])),
    ],
  });
}
