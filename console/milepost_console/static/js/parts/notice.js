// Short messages at the bottom of the page (also for screen readers), and permanent notices in the page.

import { h } from "../core/dom.js";
import { icon } from "./icons.js";

const SHOWN_MS = 6000;

/** @param {string} text @param {{tone?: "good"|"bad"|"plain", link?: [string, string]}} [options] */
export function toast(text, { tone = "plain", link } = {}) {
  const container = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  const close = h("button", { class: "icon-button", type: "button", "aria-label": "Dismiss", on: { click: () => item.remove() } }, icon("close"));
  const item = h(
    "div", { class: `toast toast-${tone}` },
    h("span", { class: "grow" }, text), link && h("a", { href: link[1] }, link[0]), close,
  );
  container.append(item);
  while (container.children.length > 4) container.firstElementChild?.remove();
  if (tone !== "bad") setTimeout(() => item.remove(), SHOWN_MS);
}

/** Announces a text to screen readers only. @param {string} text */
export function announce(text) {
  const container = /** @type {HTMLElement} */ (document.getElementById("announcer"));
  if (container.textContent !== text) container.textContent = text;
}

/**
 * A permanent notice.
 * @param {"bad"|"warn"|"note"|"good"} tone @param {string} title @param {...import("../core/dom.js").Child} body
 */
export function notice(tone, title, ...body) {
  const shape = { bad: "cross", warn: "warn", note: "dot", good: "check" }[tone];
  return h(
    "div", { class: `notice notice-${tone}`, role: tone === "bad" ? "alert" : null },
    icon(shape), h("div", { class: "notice-body" }, title && h("strong", null, title), ...body),
  );
}
