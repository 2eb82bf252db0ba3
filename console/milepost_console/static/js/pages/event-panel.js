// One event: its payload, the runs it started, and the functions it did not start, with the reason.

import { get, sentence, wasAborted } from "../core/api.js";
import { time } from "../core/clock.js";
import { h, patch, visible } from "../core/dom.js";
import { onLive } from "../core/live.js";
import { icon } from "../parts/icons.js";
import { notice } from "../parts/notice.js";
import { eventCard } from "./event-card.js";
import { runPath, shortRuns } from "./runs-row.js";

/** @typedef {import("../core/types.js").EventDetail} EventDetail */

const READ_AGAIN_MS = 200;

/** @param {HTMLElement} place @param {string} id @param {AbortSignal} signal @param {string} back */
export function eventPanel(place, id, signal, back) {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;
  const close = h("a", { class: "icon-button", href: back, "aria-label": "Close the event" }, icon("close"));

  async function load() {
    try {
      /** @type {EventDetail} */
      const event = await get(`/api/events/${encodeURIComponent(id)}`, { signal });
      patch(place, view(event));
    } catch (error) {
      if (!wasAborted(error)) patch(place, h("div", { class: "card panel" }, h("header", null, h("h2", null, "Event"), close), notice("bad", "The event could not be read.", " ", sentence(error))));
    }
  }

  /** @param {EventDetail} event */
  function view(event) {
    const passed = Object.entries(event.skipped ?? {});
    const waits = event.waits_ended ?? [];
    const nothing = passed.length || waits.length ? "It started nothing." : "It started nothing: no function has a trigger for this name.";
    return h(
      "aside", { class: "card panel", "aria-label": "Event", data: { key: `event ${id}` } },
      h("header", null, h("div", { class: "panel-title" }, h("span", { class: "muted" }, "Event, received ", time(event.received_at)), h("h2", null, visible(event.name))), close),
      h("div", { class: "panel-body" },
        h("h3", null, "Started"), shortRuns(event.runs, nothing),
        event.runs_cut && h("p", { class: "muted" }, "Later replays may be missing here: too many runs came after this event to look at all of them."),
        waits.length > 0 && [h("h3", null, "Ended a wait of"), h("ul", { class: "passed" }, waits.map((wait) => h("li", null, h("a", { href: runPath(wait.run_id) }, visible(wait.function_id)), h("span", { class: "muted" }, "in step ", visible(wait.step)))))],
        event.waits_ended === null && h("p", { class: "muted" }, "Whether it ended a wait is only told by the runs that waited: this server did not see it arrive, or has forgotten."),
        passed.length > 0 && [h("h3", null, "Did not start"), h("ul", { class: "passed" }, passed.map(([name, why]) => h("li", null, skipped(name), h("span", { class: "muted" }, visible(why)))))],
        eventCard(event, "Payload")),
    );
  }

  onLive("run", (run) => {
    if (run.event_id === id) timer ??= setTimeout(() => { timer = undefined; void load(); }, READ_AGAIN_MS);
  }, signal);
  onLive("received", (event) => { if (event.event_id === id) void load(); }, signal);
  onLive("resync", () => void load(), signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
  void load();
}

/** A function that was passed over; two of the names are none. @param {string} name */
function skipped(name) {
  if (name === "*") return h("span", null, "Every function");
  if (name === "…") return h("span", null, "Others");
  const id = name.replace(/ \(cancellation\)$/, "");
  return h("a", { href: `/functions/${encodeURIComponent(id)}` }, visible(name));
}
