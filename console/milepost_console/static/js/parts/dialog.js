// A modal dialog. The native element keeps the focus inside and closes on Escape.

import { h } from "../core/dom.js";
import { sentence } from "../core/api.js";
import { icon } from "./icons.js";

let made = 0;

/**
 * @typedef {object} DialogOptions
 * @property {string} title
 * @property {import("../core/dom.js").Child[]} body
 * @property {string} [action] the label of the button that performs the action
 * @property {"accent"|"danger"} [tone]
 * @property {() => Promise<unknown>} [act] closes the dialog unless it throws or returns false
 * @property {boolean} [wide]
 */

/** @param {DialogOptions} options @returns {{element: HTMLDialogElement, action: HTMLButtonElement|null, close: () => void}} */
export function openDialog({ title, body, action, act, tone = "accent", wide = false }) {
  const titleId = `dialog-${++made}`;
  const problem = h("p", { class: "dialog-problem", role: "alert" });
  const button = action ? h("button", { class: `button ${tone}`, type: "submit" }, action) : null;
  const element = h(
    "dialog", { class: wide ? "dialog wide" : "dialog", "aria-labelledby": titleId },
    h(
      "form", { method: "dialog", on: { submit: (/** @type {Event} */ event) => submit(event) } },
      h("header", null, h("h2", { id: titleId }, title), h("button", { class: "icon-button", type: "button", "aria-label": "Close", on: { click: () => element.close() } }, icon("close"))),
      h("div", { class: "dialog-body" }, body), problem,
      h("footer", null, h("button", { class: "button", type: "button", on: { click: () => element.close() } }, action ? "Back" : "Close"), button),
    ),
  );

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    if (!act || !button || button.disabled) return;
    button.disabled = true;
    problem.textContent = "";
    try {
      if ((await act()) !== false) element.close();
    } catch (error) {
      problem.textContent = sentence(error);
    }
    button.disabled = false;
  }

  element.addEventListener("close", () => element.remove());
  element.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(element);
  element.showModal();
  return { element, action: button, close: () => element.close() };
}
