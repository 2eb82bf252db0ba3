// Shows a JSON value as coloured, indented text; long values are folded.

import { h } from "../core/dom.js";
import { size } from "../core/format.js";
import { copyButton } from "./copy.js";

const FOLD_LINES = 60;
const FOLD_CHARS = 12_000;
const COLOUR_CHARS = 200_000;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
const DECEIVING = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Indented JSON with invisible characters escaped. @param {unknown} value */
export function pretty(value) {
  return (JSON.stringify(value, null, 2) ?? "undefined").replace(
    DECEIVING, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** @param {unknown} value @param {{label: string, bare?: boolean}} options */
export function jsonView(value, { label, bare = false }) {
  const text = pretty(value);
  const lines = text.split("\n");
  const short = lines.length > FOLD_LINES || text.length > FOLD_CHARS
    ? lines.slice(0, FOLD_LINES).join("\n").slice(0, FOLD_CHARS) : text;
  const pre = h("pre", { class: "json", tabindex: "0", role: "region", "aria-label": label }, coloured(short));
  const more = short.length < text.length && h(
    "button",
    {
      class: "button small fold", type: "button",
      on: {
        click: (/** @type {Event} */ event) => {
          const shown = /** @type {HTMLElement} */ (event.currentTarget).previousElementSibling;
          shown?.replaceChildren(...coloured(text));
          /** @type {HTMLElement} */ (event.currentTarget).remove();
        },
      },
    },
    `Show all ${lines.length.toLocaleString("en-US")} lines (${size(text.length)})`,
  );
  return h(
    "div", { class: "json-box", data: { key: `json-${label}-${text.length}-${hash(text)}`, keep: "" } },
    pre, more, !bare && copyButton(() => JSON.stringify(value, null, 2), label),
  );
}

/** @param {string} text @returns {(string|HTMLElement)[]} */
function coloured(text) {
  if (text.length > COLOUR_CHARS) return [text];
  const pieces = [];
  let position = 0;
  for (const found of text.matchAll(TOKEN)) {
    if (found.index > position) pieces.push(text.slice(position, found.index));
    const [all, string, colon, word] = found;
    const kind = string ? (colon ? "j-key" : "j-text") : word ? "j-word" : "j-number";
    pieces.push(h("span", { class: kind }, string ?? all));
    if (colon) pieces.push(colon);
    position = found.index + all.length;
  }
  pieces.push(text.slice(position));
  return pieces;
}

/** Distinguishes texts of the same length; not a secure hash. @param {string} text */
function hash(text) {
  let sum = 0;
  for (let position = 0; position < text.length; position++) sum = (sum * 31 + text.charCodeAt(position)) | 0;
  return sum >>> 0;
}
