// One run: what happened, its trace, event and result; updated while the run is live.

import { ApiError, get, sentence, wasAborted } from "../core/api.js";
import { elapsed, time } from "../core/clock.js";
import { h, kept, patch, visible } from "../core/dom.js";
import { duration } from "../core/format.js";
import { onLive } from "../core/live.js";
import { setTitle } from "../core/router.js";
import { copyButton } from "../parts/copy.js";
import { icon } from "../parts/icons.js";
import { jsonView } from "../parts/json.js";
import { announce, notice } from "../parts/notice.js";
import { badge } from "../parts/status.js";
import { diagnosis } from "./diagnosis.js";
import { eventCard } from "./event-card.js";
import { cancel, canReplayFrom, editAndReplay, eraseRun, replay, replayFrom } from "./run-actions.js";
import { RunLogs } from "./run-logs.js";
import { runPath, shortRuns } from "./runs-row.js";
import { errorView, stepPanel } from "./step-panel.js";
import { firstToShow, spanKey } from "./trace-rows.js";
import { Trace } from "./trace.js";
import { eventWord } from "./words.js";

/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {import("../core/types.js").Span} Span */

const RELOAD_MS = 150;
const narrow = matchMedia("(max-width: 900px)");

export const title = "Run";

/** @param {import("../core/router.js").Visit} visit */
export async function mount({ root, params, signal }) {
  const page = new RunPage(root, params.id, signal);
  await page.load();
}

class RunPage {
  /** @param {HTMLElement} root @param {string} id @param {AbortSignal} signal */
  constructor(root, id, signal) {
    this.root = root;
    this.id = id;
    this.signal = signal;
    /** @type {RunDetail|null} */
    this.run = null;
    /** @type {unknown} */
    this.problem = null;
    /** @type {string|null} */
    this.chosen = null;
    /** @type {Trace|null} */
    this.trace = null;
    this.took = 0;
    this.logs = new RunLogs(id, signal, () => this.draw());
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
    onLive("run", (row) => (row.run_id === id || row.origin_run_id === id) && this.soon(), signal);
    onLive("resync", () => void this.load(), signal);
    addEventListener("keydown", (event) => event.key === "Escape" && !document.querySelector("dialog[open]") && this.chosen && this.choose(null), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** Reloads soon, spending at most half of the time on loading. */
  soon() {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.load();
    }, Math.max(RELOAD_MS, this.took));
  }

  async load() {
    const began = performance.now();
    try {
      const run = await get(`/api/runs/${encodeURIComponent(this.id)}`, { signal: this.signal });
      this.take(run);
    } catch (error) {
      if (wasAborted(error)) return;
      this.problem = error;
      this.draw();
    }
    this.took = performance.now() - began;
  }

  /** @param {RunDetail} run */
  take(run) {
    const before = this.run;
    this.run = run;
    this.problem = null;
    if (!this.trace) this.trace = new Trace(run, (span) => this.choose(span), this.signal);
    if (!before || before.status !== run.status) {
      setTitle(`${run.status} · ${visible(run.function_id)}`);
      if (before) announce(`The run is now ${run.status}`);
      const first = firstToShow(run);
      if (first && !narrow.matches && !this.chosen) {
        this.chosen = spanKey(first);
        this.draw();
        this.trace.show(first);
        return;
      }
    }
    this.draw();
  }

  /** @param {Span|null} span */
  choose(span) {
    this.chosen = span ? spanKey(span) : null;
    if (this.trace) this.trace.chosen = this.chosen;
    this.draw();
  }

  draw() {
    const { run, trace } = this;
    if (!run || !trace) {
      patch(this.root, this.problem !== null && this.missing());
      return;
    }
    const span = run.trace.find((each) => spanKey(each) === this.chosen) ?? null;
    const failing = firstToShow(run);
    patch(
      this.root,
      this.problem !== null && notice("warn", "This run could not be reloaded.", " ", sentence(this.problem), " This page may be out of date."),
      this.header(run), diagnosis(run, failing, this.remedies(run, failing)), this.facts(run),
      h("div", { class: `run-columns${span ? " with-panel" : ""}` },
        h("div", { class: "run-main" }, kept(trace.element), this.result(run, narrow.matches ? null : span), this.logs.card(run, (line) => this.opens(line)), this.events(run), this.relatives(run)),
        span && stepPanel(run, span, this.logs.inPanel(span), () => this.choose(null))),
    );
    trace.update(run);
  }

  /** Returns what opens the step that logged a line. @param {import("../core/types.js").LogLine} line */
  opens(line) {
    const span = line.step ? this.run?.trace.find((each) => (line.step_id ? each.step_id === line.step_id : each.name === line.step)) : null;
    if (!span) return null;
    return () => {
      this.choose(span);
      this.trace?.show(span);
    };
  }

  missing() {
    const unknown = this.problem instanceof ApiError && this.problem.status === 404;
    return notice("bad", unknown ? "Run not found." : "The run could not be loaded.", h("p", null, sentence(this.problem)),
      h("p", null, h("a", { class: "button", href: "/runs" }, "All runs"), " ", !unknown && h("button", { class: "button", type: "button", on: { click: () => void this.load() } }, "Reload")));
  }

  /** @param {RunDetail} run */
  header(run) {
    return h(
      "header", { class: "run-header", data: { key: "header" } },
      h("div", { class: "crumbs" }, h("a", { href: "/runs" }, "Runs"), icon("chevron"), h("a", { href: `/runs?function=${encodeURIComponent(run.function_id)}` }, visible(run.function_id))),
      h("div", { class: "run-title" },
        badge(run.status, "large"), h("h1", null, visible(run.function_id)),
        h("span", { class: "mono muted run-id" }, run.run_id), copyButton(run.run_id, "run id"), h("span", { class: "grow" }),
        h("div", { class: "buttons" }, this.buttons(run))),
    );
  }

  /** @param {RunDetail} run */
  buttons(run) {
    const ended = run.ended_at !== null;
    return [
      run.event && h("button", { class: "button", type: "button", on: { click: () => void replay(run) } }, icon("again"), "Replay"),
      run.event && h("button", { class: "button", type: "button", on: { click: () => void editAndReplay(run) } }, icon("pencil"), "Edit event and replay"),
      !ended && h("button", { class: "button danger-quiet", type: "button", on: { click: () => cancel(run, () => this.soon()) } }, icon("stop"), "Cancel"),
      ended && h("button", { class: "button quiet", type: "button", on: { click: () => eraseRun(run) } }, "Erase"),
    ];
  }

  /** Buttons for the diagnosis. @param {RunDetail} run @param {Span|null} span */
  remedies(run, span) {
    if (run.status !== "Failed" || !span || !canReplayFrom(span) || !run.event) return [];
    return [
      h("button", { class: "button accent", type: "button", on: { click: () => void replayFrom(run, span) } }, icon("again"), `Replay from ${visible(span.name)}`),
      this.chosen !== spanKey(span) && h("button", { class: "button", type: "button", on: { click: () => { this.choose(span); this.trace?.show(span); } } }, "Show the step"),
    ];
  }

  /** @param {RunDetail} run */
  facts(run) {
    const queued = run.started_at ? Date.parse(run.started_at) - Date.parse(run.queued_at) : null;
    /** @type {[string, import("../core/dom.js").Child][]} */
    const rows = [
      ["Function", [h("a", { href: `/functions/${encodeURIComponent(run.function_id)}` }, visible(run.function_id)), run.function_name ? ` ${visible(run.function_name)}` : ""]],
      ["Queued", time(run.queued_at)],
      ["Time in queue", queued === null ? "not started yet" : duration(queued)],
      ["Duration", run.ended_at ? duration(run.duration_ms) : elapsed(run.queued_at)],
      ["Event", h("a", { href: `/events/${encodeURIComponent(run.event_id)}` }, eventWord(run.event_name))],
      ["App", [h("a", { href: "/apps" }, visible(run.app_id)), run.app_version ? ` version ${visible(run.app_version)}` : ""]],
    ];
    if (run.parent) rows.push(["Invoked by", h("a", { class: "mono", href: runPath(run.parent.run_id) }, run.parent.run_id)]);
    if (run.origin_run_id) rows.push(["Replay of", h("a", { class: "mono", href: runPath(run.origin_run_id) }, run.origin_run_id)]);
    if (!run.ended_at && run.finish_by) rows.push(["Finish deadline", time(run.finish_by)]);
    if (!run.started_at && run.start_by) rows.push(["Start deadline", time(run.start_by)]);
    return h("dl", { class: "facts", data: { key: "facts" } }, rows.map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value))));
  }

  /** @param {RunDetail} run @param {Span|null} span whose panel is open */
  result(run, span) {
    if (run.status === "Completed") return h("section", { class: "card", data: { key: "result" } }, h("h2", null, "Output"), jsonView(run.output, { label: "output of the run" }));
    // The open panel of the failed step shows the same error.
    if (span && span.error && span.error.stack === run.error?.stack) return null;
    if (run.status === "Failed" && run.error) return h("section", { class: "card", data: { key: "result" } }, h("h2", null, "Error"), errorView(run.error, "traceback of the run"));
    return null;
  }

  /** @param {RunDetail} run */
  events(run) {
    if (!run.event) return h("section", { class: "card", data: { key: "events" } }, h("h2", null, "Trigger event"), h("p", { class: "muted" }, "The event was erased or has expired; this run cannot be replayed."));
    const [first, ...others] = run.events?.length ? run.events : [run.event];
    return h(
      "section", { class: "card", data: { key: "events" } },
      eventCard(first, "Trigger event"),
      others.length > 0 && h("details", null, h("summary", null, `${others.length} more events of the batch`), others.map((each) => eventCard(each, eventWord(each.name)))),
      run.cancel_on.length > 0 && h("p", { class: "muted" }, "Can be cancelled by ", run.cancel_on.map((each, index) => [index ? " or " : "", h("code", null, visible(each.event)), each.expression ? [" if ", h("code", null, visible(each.expression))] : ""]), "."),
    );
  }

  /** @param {RunDetail} run */
  relatives(run) {
    if (!run.replays?.length) return null;
    return h("section", { class: "card", data: { key: "replays" } }, h("h2", null, "Replays of this run"), shortRuns(run.replays, ""));
  }
}
