// The runs that match a filter, newest first: loaded page by page, kept up to date by the stream.

import { ApiError, get, query, wasAborted } from "../core/api.js";
import { now } from "../core/clock.js";

/** @typedef {import("../core/types.js").RunRow} RunRow */
/**
 * The filter in the address. `last` is a window such as "1h", which becomes `since` in requests.
 * @typedef {{function: string[], app: string, status: string[], event: string, event_id: string, origin: string,
 *   last: string, since: string, until: string, q: string}} RunFilter
 */

const PAGE = 100;
const RELOAD_AT_MOST = 2000;
const SEARCH_AGAIN_MS = 1000;

/** @type {Record<string, number>} */
export const WINDOWS = { "15m": 15 * 60_000, "1h": 3_600_000, "24h": 86_400_000, "7d": 7 * 86_400_000, "30d": 30 * 86_400_000 };

/** @param {URLSearchParams} from @returns {RunFilter} */
export function readFilter(from) {
  const one = (/** @type {string} */ name) => from.get(name) ?? "";
  return {
    function: from.getAll("function"), app: one("app"), status: from.getAll("status"), event: one("event"),
    event_id: one("event_id"), origin: one("origin"), last: one("last") in WINDOWS ? one("last") : "",
    since: one("since"), until: one("until"), q: one("q"),
  };
}

/** The fields that the API knows. @param {RunFilter} filter @returns {Record<string, string|string[]>} */
export function apiFields(filter) {
  const { last, ...fields } = filter;
  if (last) fields.since = new Date(now() - WINDOWS[last]).toISOString();
  return fields;
}

/** @param {RunFilter} filter */
export function isFiltered(filter) {
  return Object.values(filter).some((value) => value.length > 0);
}

/** Whether a run from the stream belongs to the list; text searches are left to the server. @param {RunFilter} filter @param {RunRow} row */
function fits(filter, row) {
  const fields = /** @type {Record<string, any>} */ (apiFields(filter));
  const queued = Date.parse(row.queued_at);
  return (!filter.function.length || filter.function.includes(row.function_id))
    && (!filter.app || filter.app === row.app_id)
    && (!filter.status.length || filter.status.includes(row.status))
    && (!filter.event || filter.event === row.event_name)
    && (!filter.event_id || filter.event_id === row.event_id)
    && (!filter.origin || filter.origin === row.origin_run_id)
    && (!fields.since || queued >= Date.parse(fields.since))
    && (!fields.until || queued <= Date.parse(fields.until));
}

export class RunList {
  /**
   * @param {RunFilter} filter @param {AbortSignal} signal
   * @param {() => void} changed @param {() => boolean} hold whether to hold back new rows, which would move the list
   */
  constructor(filter, signal, changed, hold) {
    this.filter = filter;
    this.signal = signal;
    this.changed = changed;
    this.hold = hold;
    /** @type {RunRow[]} */
    this.rows = [];
    /** @type {Map<string, RunRow>} */
    this.byId = new Map();
    /** @type {Map<string, RunRow>} */
    this.held = new Map();
    this.next = "";
    this.cut = false;
    this.loading = true;
    /** @type {unknown} */
    this.problem = null;
    /** @type {RunRow[]} */
    this.received = [];
    this.frame = 0;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.searchTimer = undefined;
    signal.addEventListener("abort", () => {
      clearTimeout(this.searchTimer);
      cancelAnimationFrame(this.frame);
    });
  }

  /** @param {string} after @returns {Promise<{runs: RunRow[], next: string, cut: boolean}>} */
  page(after) {
    return get(`/api/runs${query({ ...apiFields(this.filter), limit: PAGE, after })}`, { signal: this.signal });
  }

  /** Reloads as many rows as were shown. */
  async load() {
    const wanted = Math.min(RELOAD_AT_MOST, this.rows.length);
    /** @type {RunRow[]} */
    const rows = [];
    let next = "";
    let cut = false;
    await this.trying(async () => {
      do {
        const page = await this.page(next);
        rows.push(...page.runs);
        ({ next, cut } = page);
      } while (next && rows.length < wanted);
      this.rows = rows;
      this.byId = new Map(rows.map((row) => [row.run_id, row]));
      this.held.clear();
      this.next = next;
      this.cut = cut;
    });
  }

  /** Loads the next page. */
  async more() {
    if (this.loading || !this.next || this.problem) return;
    await this.trying(async () => {
      const page = await this.page(this.next);
      for (const row of page.runs) this.insert(row);
      this.next = page.next;
      this.cut = page.cut;
    });
  }

  /** @param {() => Promise<void>} act */
  async trying(act) {
    this.loading = true;
    this.problem = null;
    try {
      await act();
    } catch (error) {
      if (wasAborted(error)) return;
      this.problem = error;
      // An invalid search must not show the results of the previous one.
      if (error instanceof ApiError && error.status === 400) this.forget();
    }
    this.loading = false;
    this.changed();
  }

  forget() {
    this.rows = [];
    this.byId.clear();
    this.held.clear();
    this.next = "";
    this.cut = false;
  }

  /** Collects updates of the stream and applies them once per frame. @param {RunRow} row */
  receive(row) {
    this.received.push(row);
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const received = this.received.splice(0);
      const hold = this.hold();
      for (const each of received) this.take(each, hold);
      this.changed();
    });
  }

  /** @param {RunRow} row @param {boolean} hold */
  take(row, hold) {
    const known = this.byId.get(row.run_id);
    if (known) {
      if (fits(this.filter, row)) this.replace(known, row);
      else this.remove(known);
    } else if (this.held.has(row.run_id)) {
      if (fits(this.filter, row)) this.held.set(row.run_id, row);
      else this.held.delete(row.run_id);
    } else if (!fits(this.filter, row)) return;
    else if (this.filter.q) this.searchAgain();
    else if (hold && this.rows.length && row.run_id > this.rows[0].run_id) this.held.set(row.run_id, row);
    else if (!this.next || row.run_id > this.next) this.insert(row);
  }

  /** Shows the rows that were held back. */
  release() {
    for (const row of this.held.values()) this.insert(row);
    this.held.clear();
    this.changed();
  }

  searchAgain() {
    this.searchTimer ??= setTimeout(async () => {
      this.searchTimer = undefined;
      try {
        for (const row of (await this.page("")).runs) this.insert(row);
        this.changed();
      } catch (error) {
        if (!wasAborted(error)) this.problem = error;
      }
    }, SEARCH_AGAIN_MS);
  }

  /** @param {RunRow} row */
  insert(row) {
    const known = this.byId.get(row.run_id);
    if (known) {
      this.replace(known, row);
      return;
    }
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].run_id > row.run_id) low = middle + 1;
      else high = middle;
    }
    this.rows.splice(low, 0, row);
    this.byId.set(row.run_id, row);
  }

  /** @param {RunRow} known @param {RunRow} row */
  replace(known, row) {
    if (known.ended_at && !row.ended_at) return;
    Object.assign(known, row);
  }

  /** @param {RunRow} row */
  remove(row) {
    this.rows.splice(this.rows.indexOf(row), 1);
    this.byId.delete(row.run_id);
  }
}
