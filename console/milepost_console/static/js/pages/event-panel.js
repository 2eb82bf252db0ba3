// One event: its payload, the runs it started, and the functions it skipped, with the reason.

import { get, sentence, wasAborted } from "../core/api.js";
import { time } from "../core/clock.js";
import { h, patch, visible } from "../core/dom.js";
import { onLive } from "../core/live.js";
import { icon } from "../parts/icons.js";
import { notice } from "../parts/notice.js";
import { eventCard } from "./event-card.js";
import { runPath, shortRuns } from "./runs-row.js";
import { eventWord } from "./words.js";

/** @typedef {import("../core/types.js").EventDetail} EventDetail */

const RELOAD_MS = 200;

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
      if (!wasAborted(error)) patch(place, h("div", { class: "card panel" }, h("header", null, h("h2", null, "Event"), close), notice("bad", "The event could not be loaded.", " ", sentence(error))));
    }
  }

  /** @param {EventDetail} event */
  function view(event) {
    const skipped = Object.entries(event.skipped ?? {});
    const waits = event.waits_ended ?? [];
    const nothing = skipped.length || waits.length ? "It started no runs." : "It started no runs: no function has a trigger for this name.";
    return h(
      "aside", { class: "card panel", "aria-label": "Event", data: { key: `event ${id}` } },
      h("header", null, h("div", { class: "panel-title" }, h("span", { class: "muted" }, "Event, received ", time(event.received_at)), h("h2", null, eventWord(event.name))), close),
      h("div", { class: "panel-body" },
        h("h3", null, "Started runs"), shortRuns(event.runs, nothing),
        event.runs_cut && h("p", { class: "muted" }, "Later replays may be missing: too many runs were started after this event to check them all."),
        waits.length > 0 && [h("h3", null, "Ended waits"), h("ul", { class: "skipped" }, waits.map((wait) => h("li", null, h("a", { href: runPath(wait.run_id) }, visible(wait.function_id)), h("span", { class: "muted" }, "in step ", visible(wait.step)))))],
        event.waits_ended === null && h("p", { class: "muted" }, "This server does not know whether the event ended a wait; the waiting runs show it."),
        skipped.length > 0 && [h("h3", null, "Skipped functions"), h("ul", { class: "skipped" }, skipped.map(([name, why]) => h("li", null, skippedFunction(name), h("span", { class: "muted" }, visible(why)))))],
        eventCard(event, "Payload")),
    );
  }

  onLive("run", (run) => {
    if (run.event_id === id) timer ??= setTimeout(() => { timer = undefined; void load(); }, RELOAD_MS);
  }, signal);
  onLive("received", (event) => { if (event.event_id === id) void load(); }, signal);
  onLive("resync", () => void load(), signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
  void load();
}

/** A skipped function; `*` and `…` stand for several. @param {string} name */
function skippedFunction(name) {
  if (name === "*") return h("span", null, "Every function");
  if (name === "…") return h("span", null, "Other functions");
  const id = name.replace(/ \(cancellation\)$/, "");
  return h("a", { href: `/functions/${encodeURIComponent(id)}` }, visible(name));
}
