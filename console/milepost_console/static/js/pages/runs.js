// The list of runs: live, filtered by the address, with keyboard control.

import { sentence } from "../core/api.js";
import { time } from "../core/clock.js";
import { h, isTyping, kept, patch } from "../core/dom.js";
import { counted, momentOf } from "../core/format.js";
import { onLive } from "../core/live.js";
import { go, rename } from "../core/router.js";
import { icon } from "../parts/icons.js";
import { announce, notice } from "../parts/notice.js";
import { VirtualList } from "../parts/virtual.js";
import { bulk } from "./bulk.js";
import { emptyRuns } from "./empty.js";
import { filterBar, filterPath } from "./runs-filters.js";
import { apiFields, isFiltered, readFilter, RunList } from "./runs-list.js";
import { RUN_COLUMNS, runPath, runRow } from "./runs-row.js";

/** @typedef {import("../core/types.js").RunRow} RunRow */

const phone = matchMedia("(max-width: 720px)");

export const title = "Runs";

/** How far back a search went, from the time in the id where it continues. @param {string} next */
function searchedBackTo(next) {
  const at = momentOf(next);
  return at === null ? "" : [" queued before ", time(new Date(at).toISOString(), "absolute")];
}

/** @param {import("../core/router.js").Visit} visit */
export async function mount({ root, query, signal }) {
  const page = new RunsPage(root, readFilter(query), signal);
  await page.list.load();
}

class RunsPage {
  /** @param {HTMLElement} root @param {import("./runs-list.js").RunFilter} filter @param {AbortSignal} signal */
  constructor(root, filter, signal) {
    this.filter = filter;
    this.signal = signal;
    /** @type {Map<string, RunRow>} */
    this.selected = new Map();
    this.wholeFilter = false;
    /** @type {string|null} */
    this.cursor = null;
    /** @type {string|null} */
    this.anchor = null;
    this.drawn = false;
    /** @type {HTMLElement|null} */
    this.teaching = null;
    /** @type {AbortController|null} */
    this.reading = null;

    const filters = h("div", { class: "filters", role: "search", "aria-label": "Filter runs" });
    this.top = h("div", { class: "list-top" });
    this.head = h("div", { class: "run-row run-head", role: "row", "aria-rowindex": "1" });
    this.foot = h("div", { class: "list-foot", role: "status" });
    this.scroller = h("div", { class: "scroller", tabindex: "-1" });
    this.table = h("div", { class: "run-table", role: "table", "aria-label": "Runs, newest first" });
    this.bulkBar = h("div", { class: "bulk-bar", role: "toolbar", "aria-label": "Selected runs", hidden: true });
    this.empty = h("div", { class: "empty-place" });
    this.rows = new VirtualList({
      scroller: this.scroller, rowHeight: phone.matches ? 68 : 40, key: (/** @type {RunRow} */ row) => row.run_id,
      render: (row, index) => runRow(row, index, { selected: this.selected.has(row.run_id), onSelect: (_, event) => this.select(row, event.shiftKey) }),
      nearEnd: () => void this.list.more(),
    }, signal);
    this.table.append(h("div", { role: "rowgroup", class: "run-head-group" }, this.head), this.rows.element);
    this.scroller.append(this.table, this.empty, this.foot);
    this.list = this.freshList();
    root.append(h("h1", { class: "offscreen" }, "Runs"), filters, this.top, this.scroller, this.bulkBar);
    filterBar(filters, filter, (changed) => this.refilter(changed), signal);
    onLive("run", (row) => this.list.receive(row), signal);
    onLive("resync", () => void this.list.load(), signal);
    addEventListener("keydown", (event) => this.key(event), { signal });
    phone.addEventListener("change", () => {
      this.rows.rowHeight = phone.matches ? 68 : 40;
      this.draw();
    }, { signal });
    this.scroller.addEventListener("scroll", () => {
      if (this.list.held.size && this.scroller.scrollTop === 0) this.list.release();
    }, { passive: true, signal });
  }

  freshList() {
    this.reading?.abort();
    const reading = new AbortController();
    this.reading = reading;
    this.signal.addEventListener("abort", () => reading.abort());
    return new RunList(this.filter, reading.signal, () => this.draw(), () => this.scroller.scrollTop > 4);
  }

  /** @param {import("./runs-list.js").RunFilter} filter */
  refilter(filter) {
    rename(filterPath(filter));
    this.clearSelection();
    this.teaching = null;
    const old = this.list;
    this.list = this.freshList();
    this.list.rows = old.rows;
    this.scroller.scrollTop = 0;
    this.table.classList.add("reading");
    void this.list.load().then(() => this.drawn && announce(`${counted(this.list.rows.length, "run")} shown`));
  }

  draw() {
    const { rows, held, loading, problem, next, cut } = this.list;
    this.drawn = true;
    this.table.classList.remove("reading");
    this.table.setAttribute("aria-rowcount", String(next ? -1 : rows.length + 1));
    this.drawHead();
    this.rows.set(rows);
    this.table.hidden = rows.length === 0;
    patch(
      this.top,
      problem !== null && notice("bad", "The runs could not be loaded.", " ", sentence(problem), " ", this.retryButton()),
      cut && notice("warn", "This list is incomplete.", " The search stopped before it had checked the runs", searchedBackTo(next), ". ",
        next && h("button", { class: "button small", type: "button", disabled: loading, on: { click: () => void this.list.more() } }, "Search further back")),
      held.size > 0 && h("button", { class: "held", type: "button", on: { click: () => this.showHeld() } }, icon("up"), `${counted(held.size, "new run")}`),
    );
    patch(this.foot, rows.length > 0 && this.footText(rows.length, Boolean(next), loading, cut));
    const nothing = !rows.length && !loading && !problem;
    if (nothing) this.teaching ??= emptyRuns(isFiltered(this.filter), this.signal);
    patch(this.empty, nothing && this.teaching && kept(this.teaching));
    this.drawBulk();
  }

  /** @param {number} count @param {boolean} more @param {boolean} loading @param {boolean} cut */
  footText(count, more, loading, cut) {
    const shown = counted(count, "run");
    if (more) return loading ? `${shown} loaded, loading more…` : `${shown} loaded; scroll down for more.`;
    return cut ? `${shown} found before the search stopped.` : isFiltered(this.filter) ? `${shown} found.` : `${shown} in total.`;
  }

  retryButton() {
    return h("button", { class: "button small", type: "button", on: { click: () => void this.list.load() } }, "Reload");
  }

  drawHead() {
    const all = this.list.rows.length > 0 && this.list.rows.every((row) => this.selected.has(row.run_id));
    patch(
      this.head,
      h("span", { class: "c-select", role: "columnheader" }, h("input", {
        type: "checkbox", checked: all, indeterminate: !all && this.selected.size > 0, "aria-label": "Select all loaded runs",
        on: { click: () => (all ? this.clearSelection() : this.selectAll()) },
      })),
      RUN_COLUMNS.map((name) => h("span", { role: "columnheader", class: `c-${{ Run: "id", Queued: "time" }[name] ?? name.toLowerCase()}` }, name)),
    );
  }

  drawBulk() {
    const count = this.selected.size;
    this.bulkBar.hidden = count === 0;
    if (!count) return patch(this.bulkBar);
    const offer = !this.wholeFilter && this.list.next && count >= this.list.rows.length;
    const chosen = this.wholeFilter ? { filter: apiFields(this.filter) } : { run_ids: [...this.selected.keys()] };
    const done = () => this.clearSelection();
    patch(
      this.bulkBar,
      h("strong", null, this.wholeFilter ? (isFiltered(this.filter) ? "All matching runs" : "All runs") : `${count.toLocaleString("en-US")} selected`),
      offer && h("button", { class: "button quiet", type: "button", on: { click: () => { this.wholeFilter = true; this.drawBulk(); } } }, isFiltered(this.filter) ? "Select all matching runs" : "Select all runs"),
      h("span", { class: "grow" }),
      h("button", { class: "button", type: "button", on: { click: () => void bulk("replay", chosen, done) } }, icon("again"), "Replay…"),
      h("button", { class: "button", type: "button", on: { click: () => void bulk("cancel", chosen, done) } }, icon("stop"), "Cancel…"),
      h("button", { class: "icon-button", type: "button", "aria-label": "Clear the selection", on: { click: () => this.clearSelection() } }, icon("close")),
    );
  }

  showHeld() {
    this.scroller.scrollTop = 0;
    this.list.release();
  }

  selectAll() {
    for (const row of this.list.rows) this.selected.set(row.run_id, row);
    this.draw();
  }

  clearSelection() {
    this.selected.clear();
    this.wholeFilter = false;
    if (this.drawn) this.draw();
  }

  /** @param {RunRow} row @param {boolean} range from the previously selected row to this one */
  select(row, range) {
    this.wholeFilter = false;
    const { rows } = this.list;
    const from = range && this.anchor ? rows.findIndex(({ run_id }) => run_id === this.anchor) : -1;
    const to = rows.findIndex(({ run_id }) => run_id === row.run_id);
    if (from >= 0) for (const each of rows.slice(Math.min(from, to), Math.max(from, to) + 1)) this.selected.set(each.run_id, each);
    else if (!this.selected.delete(row.run_id)) this.selected.set(row.run_id, row);
    this.anchor = row.run_id;
    this.draw();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (isTyping(event.target) || event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
    const act = { j: () => this.move(1), ArrowDown: () => this.move(1), k: () => this.move(-1), ArrowUp: () => this.move(-1), x: () => this.toggle(), Enter: () => this.open(event), Escape: () => this.clearSelection() }[event.key];
    if (!act) return;
    if (event.key !== "Enter") event.preventDefault();
    act();
  }

  cursorIndex() {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.closest("[data-run]") : null;
    if (focused instanceof HTMLElement) this.cursor = focused.dataset.run ?? null;
    return this.list.rows.findIndex(({ run_id }) => run_id === this.cursor);
  }

  /** @param {number} by */
  move(by) {
    const { rows } = this.list;
    if (!rows.length) return;
    const index = Math.min(rows.length - 1, Math.max(0, this.cursorIndex() + by));
    this.cursor = rows[index].run_id;
    this.rows.reveal(index);
    /** @type {HTMLElement|null|undefined} */ (this.rows.rowOf(this.cursor)?.querySelector(".row-link"))?.focus({ preventScroll: true });
  }

  toggle() {
    const index = this.cursorIndex();
    if (index >= 0) this.select(this.list.rows[index], false);
  }

  /** @param {KeyboardEvent} event */
  open(event) {
    const onRow = event.target instanceof HTMLElement && event.target.closest("[data-run]");
    if (event.target !== document.body && !(onRow && event.target instanceof HTMLInputElement)) return;
    const index = this.cursorIndex();
    if (index >= 0) go(runPath(this.list.rows[index].run_id));
  }
}
