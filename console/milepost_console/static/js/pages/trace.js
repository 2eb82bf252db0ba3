// The waterfall: names on the left, bars on a common time axis on the right. Only visible rows are built.

import { now } from "../core/clock.js";
import { h, patch, visible } from "../core/dom.js";
import { counted, duration } from "../core/format.js";
import { icon } from "../parts/icons.js";
import { statusIcon, statusWord } from "../parts/status.js";
import { VirtualList } from "../parts/virtual.js";
import { barPieces, isRemarkable, spanKey, traceRows } from "./trace-rows.js";
import { at, makeScale } from "./trace-scale.js";

/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {import("../core/types.js").Span} Span */
/** @typedef {import("./trace-rows.js").TraceRow} TraceRow */

const ROW_PX = 32;
const SEARCH_FROM = 12;

export class Trace {
  /** @param {RunDetail} run @param {(span: Span|null) => void} choose @param {AbortSignal} signal */
  constructor(run, choose, signal) {
    this.run = run;
    this.choose = choose;
    /** @type {string|null} */
    this.chosen = null;
    this.view = { turned: new Set(), text: "", remarkable: false };
    /** @type {boolean|null} */
    this.wish = null;
    this.tools = h("div", { class: "trace-tools" });
    this.axis = h("div", { class: "trace-axis", "aria-hidden": "true" });
    this.scroller = h("div", { class: "trace-scroller" });
    this.scale = makeScale(run, now(), this.wish);
    this.list = new VirtualList({
      scroller: this.scroller, rowHeight: ROW_PX, key: (/** @type {TraceRow} */ row) => row.key, role: "list",
      render: (row, index) => this.row(row, index),
    }, signal);
    this.list.element.setAttribute("aria-label", "Steps");
    this.scroller.append(this.list.element);
    this.element = h("section", { class: "card trace", "aria-label": "Trace", data: { keep: "", key: "trace" } }, this.tools, this.axis, this.scroller);
    this.scroller.addEventListener("keydown", (event) => this.key(event), { signal });
    const ticking = setInterval(() => this.run.ended_at || document.hidden || this.draw(), 1000);
    signal.addEventListener("abort", () => clearInterval(ticking));
  }

  /** @param {RunDetail} run */
  update(run) {
    this.run = run;
    this.draw();
  }

  draw() {
    this.scale = makeScale(this.run, now(), this.wish);
    this.rows = traceRows(this.run, this.view);
    this.drawTools();
    patch(
      this.axis, h("span", { class: "axis-name" }),
      h("div", { class: "axis-line" },
        this.scale.breaks.map(({ x0, x1 }) => h("span", { class: "axis-break", style: { "--x": x0, "--w": x1 - x0 } })),
        this.scale.ticks.map(({ x, label }) => h("span", { class: "axis-tick", style: { "--x": x } }, label))),
    );
    this.scroller.style.setProperty("--rows", String(Math.max(2, this.rows.length)));
    this.list.set(this.rows);
  }

  drawTools() {
    const { trace } = this.run;
    const remarkable = trace.filter(isRemarkable).length;
    patch(
      this.tools,
      h("h2", null, "Trace"), h("span", { class: "muted" }, counted(trace.length, "step")),
      h("span", { class: "grow" }),
      (this.scale.worthwhile || this.scale.shortened) && this.switch("Shorten pauses", this.scale.shortened, (on) => { this.wish = on; }),
      trace.length > SEARCH_FROM && [
        this.switch(`Failed, retried or open only (${remarkable})`, this.view.remarkable, (on) => { this.view.remarkable = on; }),
        h("input", {
          class: "field small", type: "search", placeholder: "Find a step", "aria-label": "Find a step by name", value: this.view.text, data: { search: "" },
          on: { input: (/** @type {InputEvent} */ event) => { this.view.text = /** @type {HTMLInputElement} */ (event.target).value; this.draw(); } },
        }),
      ],
    );
  }

  /** @param {string} label @param {boolean} on @param {(on: boolean) => void} turn */
  switch(label, on, turn) {
    return h("label", { class: "switch" }, h("input", { type: "checkbox", checked: on, on: { change: () => (turn(!on), this.draw()) } }), label);
  }

  /** @param {TraceRow} row @param {number} index */
  row(row, index) {
    const element = row.type === "queue" ? this.queueRow() : row.type === "group" ? this.groupRow(row) : this.spanRow(row);
    element.setAttribute("role", "listitem");
    element.setAttribute("aria-setsize", String(this.rows?.length ?? 0));
    element.setAttribute("aria-posinset", String(index + 1));
    return element;
  }

  end() {
    return this.run.ended_at ? at(this.run.ended_at) : now();
  }

  queueRow() {
    const from = at(this.run.queued_at);
    const started = this.run.started_at;
    const to = started ? at(started) : this.end();
    return h(
      "div", { class: "trace-row queue-row" },
      h("span", { class: "trace-name" }, icon("queue"), h("span", { class: "name-text" }, "Queued"), h("span", { class: "trace-length" }, started ? duration(to - from) : "")),
      this.bars([{ from, to, kind: "queue" }], ""),
    );
  }

  /** @param {import("./trace-rows.js").GroupRow} group */
  groupRow({ turn, members, folded }) {
    const failed = members.filter((span) => span.status === "Failed").length;
    const done = members.filter((span) => span.status === "Completed").length;
    const parts = [`${done} of ${members.length} done`, failed && `${failed} failed`].filter(Boolean).join(", ");
    const from = Math.min(...members.map((span) => at(span.started_at) || Infinity));
    const to = Math.max(...members.map((span) => (span.ended_at ? at(span.ended_at) : this.end())));
    return h(
      "div", { class: "trace-row group-row" },
      h("button", {
        class: "trace-name", type: "button", "aria-expanded": String(!folded),
        on: { click: () => { if (!this.view.turned.delete(turn)) this.view.turned.add(turn); this.draw(); } },
      }, icon("chevron", folded ? "fold" : "fold open"), h("span", { class: "name-text" }, `${members.length} in parallel`), h("span", { class: "muted name-note" }, parts), h("span", { class: "trace-length" }, duration(to - from))),
      this.bars([{ from, to, kind: "group" }], ""),
    );
  }

  /** @param {import("./trace-rows.js").SpanRow} row */
  spanRow({ key, span, inGroup, lastOfGroup }) {
    const name = visible(span.name);
    const failures = span.attempts.filter((each) => each.status === "Failed").length;
    const length = span.duration_ms ?? (span.started_at && !this.run.ended_at ? this.end() - at(span.started_at) : null);
    const chosen = key === this.chosen;
    const label = `${name}, ${statusWord(span.status)}${failures ? `, ${counted(failures, "failed attempt")}` : ""}${length === null ? "" : `, ${duration(length)}`}`;
    return h(
      "div", { class: `trace-row span-row${chosen ? " chosen" : ""}${inGroup ? " in-group" : ""}${lastOfGroup ? " last-of-group" : ""}`, data: { status: span.status } },
      h("button", {
        class: "trace-name", type: "button", "aria-label": label, "aria-pressed": String(chosen), title: name, data: { span: key },
        on: { click: () => this.pick(chosen ? null : span) },
      },
      statusIcon(span.status), h("span", { class: "name-text" }, name),
      span.kept && h("span", { class: "tag", title: "Result kept from the replayed run" }, icon("keep"), "kept"),
      failures > 0 && h("span", { class: "tag tag-warn" }, icon("again"), String(failures)),
      h("span", { class: "trace-length" }, span.kept ? "" : duration(length))),
      this.bars(barPieces(span, this.end()), nextText(span)),
    );
  }

  /** @param {{from: number, to: number, kind: string}[]} pieces @param {string} note */
  bars(pieces, note) {
    const { x, breaks, ticks } = this.scale;
    const end = pieces.length ? x(pieces[pieces.length - 1].to) : 0;
    return h(
      "div", { class: "trace-bars", "aria-hidden": "true" },
      ticks.slice(1).map((tick) => h("span", { class: "grid-line", style: { "--x": tick.x } })),
      breaks.map(({ x0, x1 }) => h("span", { class: "bar-break", style: { "--x": x0, "--w": x1 - x0 } })),
      pieces.map(({ from, to, kind }) => h("span", {
        class: `bar bar-${kind}`, style: { "--x": x(from), "--w": Math.max(0, x(to) - x(from)) },
      })),
      note && h("span", { class: `bar-note${end > 0.7 ? " before" : ""}`, style: { "--x": end } }, note),
    );
  }

  /** @param {Span|null} span */
  pick(span) {
    this.chosen = span ? spanKey(span) : null;
    this.choose(span);
    this.draw();
  }

  /** Opens a step and scrolls it into view. @param {Span} span */
  show(span) {
    this.chosen = spanKey(span);
    this.draw();
    const index = this.rows?.findIndex((row) => row.key === this.chosen) ?? -1;
    if (index >= 0) this.list.reveal(index);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const by = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.closest(".trace-row") : null;
    if (!by || !focused) return;
    event.preventDefault();
    const index = Number(focused.getAttribute("aria-posinset")) - 1 + by;
    const row = this.rows?.[index];
    if (!row) return;
    this.list.reveal(index);
    /** @type {HTMLElement|null|undefined} */ (this.list.rowOf(row.key)?.querySelector("button"))?.focus({ preventScroll: true });
  }
}

/** The text beside an open step's bar: what happens next. @param {Span} span */
function nextText(span) {
  if (span.status === "Retrying" && span.next_try_at) return `next attempt in ${duration(Math.max(0, at(span.next_try_at) - now()))}`;
  if ((span.status === "Sleeping" || span.status === "Waiting") && span.due_at) {
    const left = duration(Math.max(0, at(span.due_at) - now()));
    return span.status === "Sleeping" ? `${left} left` : `times out in ${left}`;
  }
  return "";
}
