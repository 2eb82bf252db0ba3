// A JSON field that reports syntax errors and what the event's model would not accept.

import { h, patch } from "../core/dom.js";
import { pretty } from "./json.js";
import { check } from "./schema.js";

/** @typedef {import("../core/types.js").Schema} Schema */

let made = 0;

/** Line and column of a position in a text. @param {string} text @param {number} position */
function lineOf(text, position) {
  const before = text.slice(0, position).split("\n");
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

/** A JSON parser's message, with the position as line and column. @param {string} text @param {unknown} error */
function parseProblem(text, error) {
  const message = error instanceof Error ? error.message : String(error);
  const position = /position (\d+)/.exec(message)?.[1];
  const plain = message.replace(/ in JSON at position \d+.*$/, "").replace(/,? ?"[^]*" is not valid JSON$/, "").replace(/^JSON\.parse: /, "");
  return `Not JSON${position ? ` (${lineOf(text, Number(position))})` : ""}: ${plain}.`;
}

export class Editor {
  /**
   * @param {{label: string, value: unknown, schema?: Schema|null, rows?: number, changed?: (valid: boolean) => void}} options
   */
  constructor({ label, value, schema = null, rows = 12, changed = () => {} }) {
    const id = `editor-${++made}`;
    this.schema = schema;
    this.changed = changed;
    this.field = h("textarea", {
      class: "field code", id, rows, spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off",
      "aria-describedby": `${id}-says`, value: pretty(value), on: { input: () => this.check() },
    });
    this.says = h("div", { class: "editor-says", id: `${id}-says`, "aria-live": "polite" });
    this.element = h(
      "div", { class: "editor", data: { keep: "" } },
      h("div", { class: "editor-head" }, h("label", { for: id }, label), h("button", { class: "button quiet small", type: "button", on: { click: () => this.tidy() } }, "Format")),
      this.field, this.says,
    );
    this.check();
  }

  /** The value, or undefined while the text is not JSON. @returns {any} */
  get value() {
    try {
      return JSON.parse(this.field.value);
    } catch {
      return undefined;
    }
  }

  /** @param {unknown} value */
  set value(value) {
    this.field.value = pretty(value);
    this.check();
  }

  /** @param {Schema|null} schema */
  setSchema(schema) {
    this.schema = schema;
    this.check();
  }

  tidy() {
    if (this.value !== undefined) this.value = this.value;
  }

  /** Shows problems. Those with the model are only warnings, because the app decides. */
  check() {
    let broken = "";
    try {
      const value = JSON.parse(this.field.value);
      if (value === null || typeof value !== "object" || Array.isArray(value)) broken = "The data of an event must be an object: { … }.";
    } catch (error) {
      broken = parseProblem(this.field.value, error);
    }
    const problems = broken || this.schema === null ? [] : check(this.value, this.schema);
    this.field.setAttribute("aria-invalid", String(Boolean(broken) || problems.length > 0));
    patch(
      this.says,
      broken && h("p", { class: "says-bad" }, broken),
      problems.length > 0 && [h("p", { class: "says-warn" }, "The event's model would reject this:"), h("ul", null, problems.map(({ path, message }) => h("li", null, h("code", null, path), ` ${message}`)))],
      !broken && !problems.length && h("p", { class: "says-good" }, this.schema === null ? "Valid JSON. No function defines a model for this event." : "Matches the event's model."),
    );
    this.valid = !broken;
    this.fits = !broken && !problems.length;
    this.changed(this.valid);
  }
}
