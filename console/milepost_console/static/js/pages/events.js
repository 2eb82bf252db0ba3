// Received events, what each one did, and the form that sends an event.

import { get, query, sentence } from "../core/api.js";
import { time } from "../core/clock.js";
import { h, isTyping, patch, visible } from "../core/dom.js";
import { counted } from "../core/format.js";
import { onLive } from "../core/live.js";
import { go } from "../core/router.js";
import { can } from "../core/server.js";
import { icon } from "../parts/icons.js";
import { selectField } from "../parts/menu.js";
import { notice } from "../parts/notice.js";
import { statusIcon } from "../parts/status.js";
import { VirtualList } from "../parts/virtual.js";
import { eventPanel } from "./event-panel.js";
import { EventList } from "./events-list.js";
import { sendPanel } from "./send.js";
import { eventWord } from "./words.js";

/** @typedef {import("../core/types.js").EventRow} EventRow */

const ROW_PX = 52;
const SHOWN_RUNS = 3;

export const title = "Events";

/** @param {string} id @param {string} name */
function eventPath(id, name) {
  return `/events/${encodeURIComponent(id)}${query({ name })}`;
}

/** @param {import("../core/router.js").Visit} visit */
export function mount({ root, params, query: asked, signal }) {
  const page = new EventsPage(root, params.id ?? "", asked, signal);
  return page.list.load();
}

class EventsPage {
  /** @param {HTMLElement} root @param {string} id @param {URLSearchParams} asked @param {AbortSignal} signal */
  constructor(root, id, asked, signal) {
    this.signal = signal;
    this.id = id;
    this.name = asked.get("name") ?? "";
    this.bar = h("div", { class: "filter-row" });
    this.top = h("div", { class: "list-top" });
    this.foot = h("div", { class: "list-foot", role: "status" });
    this.scroller = h("div", { class: "scroller", tabindex: "-1" });
    this.rows = new VirtualList({
      scroller: this.scroller, rowHeight: ROW_PX, key: (/** @type {EventRow} */ row) => row.event_id, role: "list",
      render: (row) => this.row(row), nearEnd: () => void this.list.more(), onShow: (shown) => this.list.loadEffects(shown),
    }, signal);
    this.rows.element.setAttribute("aria-label", "Events, newest first");
    this.list = new EventList(this.name, signal, () => this.draw(), () => this.scroller.scrollTop > 4);
    this.scroller.append(this.rows.element, this.foot);
    const side = h("div", { class: "event-side" });
    const open = Boolean(id) || asked.has("send");
    root.append(
      h("div", { class: "page-head" }, h("h1", null, "Events"), h("span", { class: "grow" }), this.bar),
      h("div", { class: `event-columns${open ? " with-side" : ""}` }, h("div", { class: "event-list" }, this.top, this.scroller), side),
    );
    if (id && !asked.has("resend")) eventPanel(side, id, signal, this.path(""));
    else sendPanel(side, { eventId: id, name: asked.get("send") ?? this.name, data: asked.get("data") ?? "", back: this.path(""), signal });
    onLive("received", (event) => this.list.receive(event), signal);
    onLive("run", (run) => this.list.receiveRun(run), signal);
    onLive("resync", () => void this.list.load(), signal);
    addEventListener("keydown", (event) => this.key(event), { signal });
    this.scroller.addEventListener("scroll", () => this.scroller.scrollTop === 0 && this.list.held.length && this.list.release(), { passive: true, signal });
    this.drawBar([]);
    get("/api/event-names", { signal }).then(({ names }) => this.drawBar(names), () => {});
  }

  /** @param {string} id */
  path(id) {
    return id ? eventPath(id, this.name) : `/events${query({ name: this.name })}`;
  }

  /** @param {string[]} names */
  drawBar(names) {
    const all = this.name && !names.includes(this.name) ? [this.name, ...names] : names;
    patch(
      this.bar,
      selectField("Event", [["", "any"], ...all.map((name) => /** @type {[string, string]} */ ([name, eventWord(name)]))], this.name, (name) => go(`/events${query({ name })}`)),
      can("send") && h("a", { class: "button accent", href: `/events?send=${encodeURIComponent(this.name)}` }, icon("send"), "Send an event"),
    );
  }

  draw() {
    const { rows, held, problem, next, loading } = this.list;
    this.rows.set(rows);
    patch(
      this.top,
      problem !== null && notice("bad", "The events could not be loaded.", " ", sentence(problem), " ", h("button", { class: "button small", type: "button", on: { click: () => void this.list.load() } }, "Reload")),
      held.length > 0 && h("button", { class: "held", type: "button", on: { click: () => { this.scroller.scrollTop = 0; this.list.release(); } } }, icon("up"), counted(held.length, "new event")),
    );
    const none = !rows.length && !loading && !problem;
    patch(this.foot, none ? (this.name ? "No events with this name." : "No events yet. Send one with the form.") : rows.length > 0 && (next ? `${counted(rows.length, "event")} loaded; scroll down for more.` : `${counted(rows.length, "event")} in total.`));
  }

  /** @param {EventRow} row */
  row(row) {
    const chosen = row.event_id === this.id;
    return h(
      "div", { class: `event-row${chosen ? " chosen" : ""}`, role: "listitem", data: { event: row.event_id } },
      h("a", { class: "row-link event-name", href: this.path(row.event_id), "aria-current": chosen ? "true" : null }, eventWord(row.name)),
      h("span", { class: "muted event-time" }, time(row.received_at)),
      h("span", { class: "event-effect" }, this.effect(row)),
    );
  }

  /** @param {EventRow} row */
  effect(row) {
    const effect = this.list.effects.get(row.event_id);
    if (!effect || effect.started < 0) return h("span", { class: "muted" }, "…");
    const skipped = effect.skipped > 0 && h("span", { class: "muted" }, `${effect.skipped} skipped`);
    const ended = (effect.waits ?? 0) > 0 && h("span", null, `ended ${counted(effect.waits ?? 0, "wait")}`);
    if (!effect.runs?.length) return [ended || h("span", { class: "muted" }, "started no runs"), skipped];
    const rest = effect.runs.length - SHOWN_RUNS;
    return [
      effect.runs.slice(0, SHOWN_RUNS).map((run) => h("span", { class: "effect-run" }, statusIcon(run.status), visible(run.function_id))),
      rest > 0 && h("span", { class: "muted" }, `and ${rest} more`), ended, skipped,
    ];
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const by = { j: 1, k: -1 }[event.key];
    if (!by || isTyping(event.target) || event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { rows } = this.list;
    const focused = document.activeElement instanceof HTMLElement ? /** @type {HTMLElement|null} */ (document.activeElement.closest("[data-event]"))?.dataset.event ?? this.id : this.id;
    const index = Math.min(rows.length - 1, Math.max(0, rows.findIndex(({ event_id }) => event_id === focused) + by));
    if (index < 0) return;
    this.rows.reveal(index);
    /** @type {HTMLElement|null|undefined} */ (this.rows.rowOf(rows[index].event_id)?.querySelector("a"))?.focus({ preventScroll: true });
  }
}
