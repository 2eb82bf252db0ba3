// An event with its payload, a copy button, a curl command, and a link to send it again.

import { time } from "../core/clock.js";
import { h, visible } from "../core/dom.js";
import { can } from "../core/server.js";
import { copyButton } from "../parts/copy.js";
import { icon } from "../parts/icons.js";
import { jsonView } from "../parts/json.js";
import { curlOf } from "./run-actions.js";
import { eventWord } from "./words.js";

/** @typedef {import("../core/types.js").EventBody} EventBody */

/** @param {EventBody} event @param {string} heading */
export function eventCard(event, heading) {
  const command = curlOf(event);
  const id = encodeURIComponent(event.event_id);
  return h(
    "div", { class: "event-card" },
    h("div", { class: "card-head" },
      h("h2", null, heading), h("code", { class: "event-name" }, eventWord(event.name)), h("span", { class: "grow" }),
      can("send") && h("a", { class: "button small", href: `/events/${id}?resend=1` }, icon("send"), "Send again")),
    h("p", { class: "muted card-note" }, h("a", { class: "mono", href: `/events/${id}` }, event.event_id), event.id && event.id !== event.event_id ? [" · sent as ", h("span", { class: "mono" }, visible(event.id))] : "", Number.isFinite(event.ts) && [" · ", time(new Date(event.ts).toISOString())]),
    jsonView(event.data, { label: "event data" }),
    h("details", { class: "curl" }, h("summary", null, "As curl"), h("div", { class: "json-box" }, h("pre", { tabindex: "0", role: "region", "aria-label": "curl command" }, visible(command)), copyButton(command, "curl command"))),
  );
}
