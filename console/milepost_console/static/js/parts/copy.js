// Buttons that copy a text to the clipboard and confirm it.

import { h } from "../core/dom.js";
import { icon } from "./icons.js";
import { announce, toast } from "./notice.js";

/** @param {string|(() => string)} text @param {string} what */
export async function copy(text, what) {
  const value = typeof text === "function" ? text() : text;
  try {
    await navigator.clipboard.writeText(value);
    announce(`${what} copied`);
    return true;
  } catch {
    return copyBySelection(value);
  }
}

/** Fallback for pages served without TLS from another machine. @param {string} value */
function copyBySelection(value) {
  const field = h("textarea", { class: "offscreen", value, "aria-hidden": "true" });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) toast("The browser refused to copy. Select the text instead.", { tone: "bad" });
  return done;
}

/**
 * @param {string|(() => string)} text @param {string} what named in the label: "Copy run id"
 * @param {string} [label] shown beside the icon
 */
export function copyButton(text, what, label = "") {
  const button = h(
    "button",
    {
      class: label ? "button small" : "icon-button", type: "button", title: `Copy ${what}`,
      "aria-label": label ? null : `Copy ${what}`,
      on: {
        click: async (/** @type {Event} */ event) => {
          const pressed = /** @type {HTMLElement} */ (event.currentTarget);
          if (!(await copy(text, what))) return;
          pressed.classList.add("copied");
          setTimeout(() => pressed.classList.remove("copied"), 1500);
        },
      },
    },
    icon("copy", "when-idle"), icon("check", "when-copied"), label && h("span", null, label),
  );
  return button;
}

/** A command with a copy button. @param {string} command */
export function commandLine(command) {
  return h("div", { class: "command" }, h("code", null, command), copyButton(command, "command"));
}
