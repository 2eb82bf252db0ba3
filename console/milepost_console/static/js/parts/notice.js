// Short news at the foot of the page (read aloud too), and standing notices inside it.

import { h } from "../core/dom.js";
import { icon } from "./icons.js";

const SHOWN_MS = 6000;

/** @param {string} text @param {{tone?: "good"|"bad"|"plain", link?: [string, string]}} [options] */
export function toast(text, { tone = "plain", link } = {}) {
  const place = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  const close = h("button", { class: "icon-button", type: "button", "aria-label": "Dismiss", on: { click: () => item.remove() } }, icon("close"));
  const item = h(
    "div", { class: `toast toast-${tone}` },
    h("span", { class: "grow" }, text), link && h("a", { href: link[1] }, link[0]), close,
  );
  place.append(item);
  while (place.children.length > 4) place.firstElementChild?.remove();
  if (tone !== "bad") setTimeout(() => item.remove(), SHOWN_MS);
}

/** Say something to screen readers only. @param {string} text */
export function announce(text) {
  const place = /** @type {HTMLElement} */ (document.getElementById("announcer"));
  if (place.textContent !== text) place.textContent = text;
}

/**
 * A standing notice.
 * @param {"bad"|"warn"|"note"|"good"} tone @param {string} title @param {...import("../core/dom.js").Child} body
 */
export function notice(tone, title, ...body) {
  const shape = { bad: "cross", warn: "warn", note: "dot", good: "check" }[tone];
  return h(
    "div", { class: `notice notice-${tone}`, role: tone === "bad" ? "alert" : null },
    icon(shape), h("div", { class: "notice-body" }, title && h("strong", null, title), ...body),
  );
}
