// The form that sends an event: name and data, checked against the model that functions define for it.

import { get, post, sentence, wasAborted } from "../core/api.js";
import { h, patch, visible } from "../core/dom.js";
import { go } from "../core/router.js";
import { can } from "../core/server.js";
import { Editor } from "../parts/editor.js";
import { icon } from "../parts/icons.js";
import { notice, toast } from "../parts/notice.js";
import { example } from "../parts/schema.js";
import { isInternal } from "./words.js";

/** @typedef {import("../core/types.js").Schema} Schema */

const RECENT = 5;

/**
 * @param {HTMLElement} container
 * @param {{eventId: string, name: string, data?: string, back: string, signal: AbortSignal}} options an event to send again, or an initial name
 */
export function sendPanel(container, { eventId, name, data = "", back, signal }) {
  /** @type {Map<string, Schema>} */
  const schemas = new Map();
  let touched = false;
  const names = h("datalist", { id: "event-names" });
  const nameField = h("input", { class: "field", id: "send-name", type: "text", value: name, required: true, maxlength: "255", list: "event-names", placeholder: "order/created", autocomplete: "off", spellcheck: "false", on: { input: () => renamed() } });
  const idField = h("input", { class: "field", id: "send-id", type: "text", placeholder: "generated", autocomplete: "off", spellcheck: "false" });
  const editor = new Editor({ label: "Data", value: {}, rows: 14 });
  editor.field.addEventListener("input", () => { touched = true; });
  const button = h("button", { class: "button accent", type: "submit" }, icon("send"), "Send");
  const problem = h("div", { role: "alert" });
  const recent = h("div", { class: "recent" });
  editor.changed = (valid) => { button.disabled = !valid; };

  const form = h(
    "form", { class: "panel-body", on: { submit: (/** @type {Event} */ event) => { event.preventDefault(); void send(); }, keydown: (/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void send(); } } },
    h("label", { for: "send-name" }, "Name"), nameField, names, editor.element,
    h("details", null, h("summary", null, "Id"), h("label", { for: "send-id" }, "Within 24 hours, an id starts each function at most once."), idField),
    problem,
    h("div", { class: "buttons" }, button, h("button", { class: "button", type: "button", on: { click: () => fill(true) } }, "Example data"), h("span", { class: "muted hint" }, h("kbd", null, "Ctrl"), " ", h("kbd", null, "Enter"))),
    recent,
  );
  patch(container, can("send")
    ? h("aside", { class: "card panel", "aria-label": "Send an event" }, h("header", null, h("h2", null, eventId ? "Send again" : "Send an event"), h("a", { class: "icon-button send-close", href: back, "aria-label": "Close the form" }, icon("close"))), form)
    : notice("note", "Events cannot be sent from here.", " This server is read-only."));

  /** @param {boolean} [wanted] also replaces typed data */
  function fill(wanted = false) {
    const schema = schemas.get(nameField.value);
    if (wanted || (!touched && schema !== undefined)) {
      editor.value = schema === undefined ? {} : example(schema);
      touched = false;
    }
  }

  function renamed() {
    editor.setSchema(schemas.get(nameField.value) ?? null);
    fill();
  }

  async function send() {
    if (!editor.valid || !form.reportValidity() || button.disabled) return;
    button.disabled = true;
    problem.replaceChildren();
    const event = { name: nameField.value, data: editor.value, ...(idField.value ? { id: idField.value } : {}) };
    try {
      const { ids } = await post("/e/dev", event);
      toast("The event was accepted.", { tone: "good" });
      go(`/events/${encodeURIComponent(ids[0])}`);
    } catch (error) {
      patch(problem, notice("bad", "The event was not accepted.", " ", sentence(error)));
    }
    button.disabled = false;
  }

  /** @param {string} id */
  async function again(id) {
    const event = await get(`/api/events/${encodeURIComponent(id)}`, { signal });
    nameField.value = event.name;
    editor.value = event.data;
    touched = true;
    editor.setSchema(schemas.get(event.name) ?? null);
  }

  /** Starts with the data from the address, shown as text; only the user sends it. */
  function begun() {
    touched = true;
    editor.field.value = data;
    editor.setSchema(schemas.get(name) ?? null);
    editor.tidy();
  }

  async function begin() {
    const [listed, known, latest] = await Promise.all([get("/api/functions", { signal }), get("/api/event-names", { signal }), get(`/api/events?limit=40`, { signal })]);
    for (const each of listed.functions) {
      for (const [event, schema] of Object.entries(each.schemas ?? {})) schemas.set(event, /** @type {Schema} */ (schema));
    }
    const triggers = listed.functions.flatMap((/** @type {import("../core/types.js").FunctionInfo} */ each) => each.triggers.map((one) => one.event)).filter(Boolean);
    const all = [...new Set([...triggers, ...schemas.keys(), ...known.names])].filter((each) => !each.endsWith("*") && !isInternal(each)).sort();
    patch(names, all.map((each) => h("option", { value: each })));
    if (!nameField.value && !eventId && all.length === 1) nameField.value = all[0];
    const own = latest.events.filter((/** @type {{name: string}} */ each) => !isInternal(each.name));
    const newest = [...new Map(own.map((/** @type {{name: string}} */ each) => [each.name, each]).reverse()).values()].reverse().slice(0, RECENT);
    patch(recent, newest.length > 0 && [h("h3", null, "Start from a recent event"), h("div", { class: "chips" }, newest.map((/** @type {any} */ each) => h("button", { class: "chip", type: "button", on: { click: () => void again(each.event_id) } }, visible(each.name))))]);
    if (eventId) await again(eventId);
    else if (data) begun();
    else renamed();
  }

  begin().catch((error) => wasAborted(error) || patch(problem, notice("warn", "The event models could not be loaded.", " ", sentence(error))));
}
