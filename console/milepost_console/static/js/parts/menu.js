// A button that opens a small panel. Escape, a click elsewhere or moving the focus away closes it.

import { h, patch, visible } from "../core/dom.js";
import { icon } from "./icons.js";

let made = 0;

/**
 * A choice of several values. The caller redraws it when the choice changes.
 * @param {{label: string, options: {value: string, content: import("../core/dom.js").Child, text: string}[], chosen: string[],
 *   choose: (values: string[]) => void, empty: string}} options
 */
export function multiMenu({ label, options, chosen, choose, empty }) {
  const id = `menu-${++made}`;
  const panel = h("div", { class: "menu-panel", id, role: "group", "aria-label": label, hidden: true });
  const value = h("span", { class: "menu-value" });
  const button = h(
    "button",
    { class: "button menu-button", type: "button", "aria-expanded": "false", "aria-controls": id, on: { click: () => toggle(Boolean(panel.hidden)) } },
    h("span", { class: "menu-label" }, `${label}: `), value, icon("caret"),
  );
  const values = new Set(chosen);

  function relabel() {
    const [first] = values;
    value.textContent = values.size === 0 ? "any" : values.size === 1 ? visible(first) : `${values.size} chosen`;
    button.classList.toggle("active", values.size > 0);
  }

  /** @param {boolean} open */
  function toggle(open) {
    panel.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (!open) return;
    fill("");
    /** @type {HTMLElement|null} */ (panel.querySelector("input"))?.focus();
  }

  /** @param {string} wanted */
  function fill(wanted) {
    const fitting = options.filter(({ text }) => text.toLowerCase().includes(wanted.toLowerCase()));
    const filter = options.length > 8 && h("input", {
      class: "field", type: "search", placeholder: "Find…", "aria-label": `Find in ${label}`, value: wanted,
      on: { input: (/** @type {InputEvent} */ event) => fill(/** @type {HTMLInputElement} */ (event.target).value) },
    });
    patch(panel, filter, h("div", { class: "menu-options" }, fitting.map(option), !fitting.length && h("p", { class: "muted" }, empty)));
  }

  /** @param {string} one */
  function turn(one) {
    if (!values.delete(one)) values.add(one);
    relabel();
    choose([...values]);
  }

  /** @param {{value: string, content: import("../core/dom.js").Child}} one */
  function option({ value: one, content }) {
    return h(
      "label", { class: "menu-option", data: { key: one } },
      h("input", { type: "checkbox", checked: values.has(one), on: { change: () => turn(one) } }), content,
    );
  }

  relabel();
  return h(
    "div",
    {
      class: "menu", data: { key: `${label} ${options.length} ${chosen.join(" ")}`, keep: "" },
      on: {
        keydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key !== "Escape" || panel.hidden) return;
          event.stopPropagation();
          toggle(false);
          button.focus();
        },
        focusout: (/** @type {FocusEvent} */ event) => {
          const to = event.relatedTarget;
          if (!(to instanceof Node) || !(/** @type {Node} */ (event.currentTarget)).contains(to)) setTimeout(() => panel.contains(document.activeElement) || toggle(false), 120);
        },
      },
    },
    button, panel,
  );
}

/**
 * A choice of one value.
 * @param {string} label @param {[string, string][]} options @param {string} chosen @param {(value: string) => void} choose
 */
export function selectField(label, options, chosen, choose) {
  return h(
    "label", { class: `select-field${chosen ? " active" : ""}` }, h("span", null, `${label}: `),
    h("select", { "aria-label": label, on: { change: (/** @type {Event} */ event) => choose(/** @type {HTMLSelectElement} */ (event.target).value) } },
      options.map(([value, word]) => h("option", { value, selected: value === chosen }, word))),
  );
}
