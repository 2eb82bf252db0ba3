// What a run's code logged: live from a dev server, on demand from CloudWatch, which charges for queries.

import { get, query, sentence, wasAborted } from "../core/api.js";
import { now, time } from "../core/clock.js";
import { h, visible } from "../core/dom.js";
import { counted } from "../core/format.js";
import { onLive } from "../core/live.js";
import { isStack, whenKnown } from "../core/server.js";
import { icon } from "../parts/icons.js";
import { notice } from "../parts/notice.js";

/** @typedef {import("../core/types.js").LogLine} LogLine */
/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {import("../core/types.js").RunLog} RunLog */
/** @typedef {import("../core/types.js").Span} Span */
/** @typedef {import("../core/dom.js").Child} Child */

const SHOWN = 200;

export class RunLogs {
  /** @param {string} id @param {AbortSignal} signal @param {() => void} changed */
  constructor(id, signal, changed) {
    this.id = id;
    this.signal = signal;
    this.changed = changed;
    /** @type {RunLog|null} */
    this.log = null;
    /** @type {unknown} */
    this.problem = null;
    this.reading = false;
    this.again = false;
    this.readAt = "";
    this.all = false;
    void whenKnown().then(() => (isStack() ? changed() : this.load()));
    onLive("log", (update) => update.run_id === id && void this.load(), signal);
    onLive("resync", () => isStack() || void this.load(), signal);
  }

  /** Loads new lines. Called during a load, it loads once more afterwards. */
  async load() {
    if (this.reading) {
      this.again = true;
      return;
    }
    this.reading = true;
    this.again = false;
    if (isStack()) this.changed();
    const have = this.log?.kept === "memory" ? this.log.lines : [];
    try {
      /** @type {RunLog} */
      const read = await get(`/api/runs/${encodeURIComponent(this.id)}/logs${query({ after: have.at(-1)?.number })}`, { signal: this.signal });
      if (this.log?.since && read.since !== this.log.since) {
        // The server was restarted and counts from 0 again.
        this.log = null;
        this.again = true;
      } else {
        this.log = { ...read, lines: [...have, ...read.lines].filter((line) => line.number >= read.cut) };
      }
      this.problem = null;
      this.readAt = new Date(now()).toISOString();
    } catch (error) {
      if (wasAborted(error)) return;
      this.problem = error;
    }
    this.reading = false;
    this.changed();
    if (this.again) void this.load();
  }

  /** The lines of one step. @param {Span} span */
  of(span) {
    return (this.log?.lines ?? []).filter((line) => (line.step_id ? line.step_id === span.step_id : line.step === span.name));
  }

  /** The lines of one step, by attempt when there were several. @param {Span} span @returns {Child[]} */
  inPanel(span) {
    const lines = this.of(span);
    if (!lines.length) return [];
    const several = new Set(lines.map((line) => line.attempt)).size > 1 || span.attempts.length > 1;
    return [
      h("h3", null, "Logs"),
      h("ol", { class: "log-lines", tabindex: "0", "aria-label": "Log lines of the step" }, lines.slice(-SHOWN).map((line, index, shown) => [
        several && line.attempt !== null && line.attempt !== shown[index - 1]?.attempt && h("li", { class: "log-attempt muted", data: { key: `attempt ${line.attempt} ${line.number}` } }, `Attempt ${line.attempt + 1}`),
        lineView(line, null),
      ])),
      lines.length > SHOWN && h("p", { class: "muted" }, `The latest ${SHOWN} of ${counted(lines.length, "line")}; see Logs for all.`),
    ];
  }

  /** @param {RunDetail} run @param {(line: LogLine) => (() => void)|null} stepOf opens the step of a line */
  card(run, stepOf) {
    const lines = this.log?.lines ?? [];
    const shown = this.all ? lines : lines.slice(-SHOWN);
    return h(
      "section", { class: "card logs", "aria-label": "Logs", data: { key: "logs" } },
      h("div", { class: "card-head" }, h("h2", null, "Logs"), lines.length > 0 && h("span", { class: "muted" }, counted(lines.length, "line")), h("span", { class: "grow" }), this.button()),
      this.problem !== null && notice("bad", "The logs could not be loaded.", " ", sentence(this.problem)),
      this.log && this.log.cut > 0 && notice("warn", "", `${counted(this.log.cut, "older line")} of this run ${this.log.cut === 1 ? "was" : "were"} dropped.`),
      this.log?.cut === -1 && notice("warn", "", "Some lines are not shown here. To see them all, run milepost logs with the id of this run."),
      shown.length < lines.length && h("button", { class: "button small", type: "button", on: { click: () => { this.all = true; this.changed(); } } }, `Show ${counted(lines.length - shown.length, "earlier line")}`),
      shown.length > 0 && h("ol", { class: "log-lines", tabindex: "0", "aria-label": "Log lines" }, shown.map((line) => lineView(line, stepOf(line)))),
      h("p", { class: "muted card-note" }, this.note(run)),
    );
  }

  button() {
    if (!isStack()) return null;
    return h("button", { class: "button small", type: "button", disabled: this.reading, on: { click: () => void this.load() } }, this.reading ? "Loading…" : this.log ? "Reload" : "Load logs");
  }

  /** Where the lines are kept, and which may be missing. @param {RunDetail} run @returns {Child} */
  note(run) {
    if (isStack()) {
      if (!this.log) return "Kept in CloudWatch Logs. Loading them queries AWS with your credentials, which takes a few seconds and costs a little.";
      return ["From CloudWatch Logs, loaded at ", time(this.readAt, "clock"), ". ", this.log.lines.length ? "" : "No lines for this run. ", "Lines arrive up to a minute late."];
    }
    if (!this.log) return this.problem ? "" : "Loading…";
    if (this.log.kept === "elsewhere") return [h("a", { href: "/apps" }, `The app ${visible(run.app_id)}`), " is served at its own address: its logs are kept where it runs."];
    const { since, lines, cut } = this.log;
    return [
      since && run.queued_at < since && ["The dev server was started ", time(since), ", after this run: earlier lines are not kept. "],
      !lines.length && !cut && "No log lines. ",
      "Shows lines from ctx.logger and Python\u2019s logging, kept while the dev server runs: the latest 1,000 of a run and 20,000 of all runs. Printed output is only in the terminal.",
    ];
  }
}

/** @type {Record<string, string>} */
const TONES = { ERROR: "bad", CRITICAL: "bad", WARNING: "warn", WARN: "warn" };

/** @param {LogLine} line @param {(() => void)|null} open opens the line's step */
function lineView(line, open) {
  const level = visible(line.level || "–");
  return h(
    "li", { class: `log-line log-${TONES[line.level.toUpperCase()] ?? "plain"}`, data: { key: `line ${line.number}` } },
    time(line.at, "precise"), h("span", { class: "log-level", title: visible(line.source) }, level),
    h("span", { class: "log-text" },
      open && h("button", { class: "log-step", type: "button", title: "Show the step", on: { click: open } }, icon("chevron"), visible(line.step), line.attempt ? ` · attempt ${line.attempt + 1}` : ""),
      visibleLines(line.text)),
  );
}

/** A text of several lines, with all other control characters made visible. @param {string} text */
function visibleLines(text) {
  return text.split(/\r?\n/).map(visible).join("\n");
}
