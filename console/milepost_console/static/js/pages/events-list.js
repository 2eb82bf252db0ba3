// Received events, newest first, and what each of them did; the latter is loaded for visible rows only.

import { get, query, wasAborted } from "../core/api.js";

/** @typedef {import("../core/types.js").EventRow} EventRow */
/** @typedef {import("../core/types.js").RunRow} RunRow */
/** @typedef {{runs: RunRow[]|null, started: number, skipped: number, waits?: number}} Effect */

const PAGE = 100;
const AT_ONCE = 3;
const NAMES = 500;

export class EventList {
  /** @param {string} name @param {AbortSignal} signal @param {() => void} changed @param {() => boolean} hold */
  constructor(name, signal, changed, hold) {
    this.name = name;
    this.signal = signal;
    this.changed = changed;
    this.hold = hold;
    /** @type {EventRow[]} */
    this.rows = [];
    /** @type {Set<string>} */
    this.ids = new Set();
    /** @type {EventRow[]} */
    this.held = [];
    /** @type {Map<string, Effect>} */
    this.effects = new Map();
    /** @type {string[]} */
    this.wanted = [];
    this.asking = 0;
    this.next = "";
    this.loading = true;
    /** @type {unknown} */
    this.problem = null;
    this.frame = 0;
    signal.addEventListener("abort", () => cancelAnimationFrame(this.frame));
  }

  async load() {
    await this.read("", (events) => {
      this.rows = events;
      this.ids = new Set(events.map((row) => row.event_id));
      this.held = [];
      this.effects.clear();
    });
  }

  async more() {
    if (this.loading || !this.next || this.problem) return;
    await this.read(this.next, (events) => {
      for (const row of events) if (!this.ids.has(row.event_id)) this.rows.push(row), this.ids.add(row.event_id);
    });
  }

  /** @param {string} after @param {(events: EventRow[]) => void} take */
  async read(after, take) {
    this.loading = true;
    this.problem = null;
    try {
      const page = await get(`/api/events${query({ name: this.name, limit: PAGE, after })}`, { signal: this.signal });
      take(page.events);
      this.next = page.next;
    } catch (error) {
      if (wasAborted(error)) return;
      this.problem = error;
    }
    this.loading = false;
    this.changed();
  }

  /** Handles a new event from the stream. @param {EventRow & {started?: string[], skipped?: Record<string, string>}} event */
  receive(event) {
    if (this.ids.has(event.event_id) || (this.name && event.name !== this.name)) return;
    const { event_id, name, received_at } = event;
    this.ids.add(event_id);
    if (this.hold()) this.held.unshift({ event_id, name, received_at });
    else this.rows.unshift({ event_id, name, received_at });
    if (!event.started?.length) this.effects.set(event_id, { runs: null, started: 0, skipped: Object.keys(event.skipped ?? {}).length });
    this.soon();
  }

  soon() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.changed();
    });
  }

  release() {
    this.rows.unshift(...this.held.splice(0));
    this.changed();
  }

  /** Handles a changed run, whose status its event's row shows. @param {RunRow} run */
  receiveRun(run) {
    const effect = this.effects.get(run.event_id);
    if (!effect?.runs) return;
    const known = effect.runs.find(({ run_id }) => run_id === run.run_id);
    if (known) Object.assign(known, run);
    else effect.runs.push(run);
    effect.started = effect.runs.length;
    this.soon();
  }

  /** Loads what the visible events started. @param {EventRow[]} shown */
  loadEffects(shown) {
    this.wanted = shown.map(({ event_id }) => event_id).filter((id) => !this.effects.has(id));
    while (this.asking < AT_ONCE && this.wanted.length) void this.ask(/** @type {string} */ (this.wanted.shift()));
  }

  /** @param {string} id */
  async ask(id) {
    this.asking++;
    this.effects.set(id, { runs: null, started: -1, skipped: 0 });
    try {
      const { runs, skipped, waits_ended: waits } = await get(`/api/events/${encodeURIComponent(id)}`, { signal: this.signal });
      this.effects.set(id, { runs, started: runs.length, skipped: Object.keys(skipped ?? {}).length, waits: waits?.length ?? 0 });
      if (this.effects.size > NAMES) this.effects.delete(this.effects.keys().next().value ?? "");
      this.soon();
    } catch {
      // The row stays incomplete; the list itself reports a server that does not answer.
    }
    this.asking--;
    if (this.wanted.length && !this.signal.aborted) void this.ask(/** @type {string} */ (this.wanted.shift()));
  }
}
