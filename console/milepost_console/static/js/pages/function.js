// One function: triggers, configuration in words, next cron times, statistics, and actions.

import { get, post, query, sentence, wasAborted } from "../core/api.js";
import { time } from "../core/clock.js";
import { h, patch, visible } from "../core/dom.js";
import { counted, duration, share } from "../core/format.js";
import { go, setTitle } from "../core/router.js";
import { can } from "../core/server.js";
import { latencyChart, runsChart } from "../parts/chart.js";
import { openDialog } from "../parts/dialog.js";
import { Editor } from "../parts/editor.js";
import { icon } from "../parts/icons.js";
import { notice, toast } from "../parts/notice.js";
import { example } from "../parts/schema.js";
import { loadLive } from "./functions.js";
import { runPath, shortRuns } from "./runs-row.js";
import { backlogWords, configWords, eventWord, limitWords, NO_TRIGGER, triggerWords } from "./words.js";

/** @typedef {import("../core/types.js").FunctionInfo} FunctionInfo */
/** @typedef {import("../core/types.js").RunRow} RunRow */

const RECENT = 8;

export const title = "Function";

/** @param {import("../core/router.js").Visit} visit */
export function mount({ root, params, signal }) {
  const path = `/api/functions/${encodeURIComponent(params.id)}`;
  /** @type {FunctionInfo|null} */
  let info = null;
  setTitle(visible(params.id));

  async function load() {
    try {
      const [read, recent] = await Promise.all([get(path, { signal }), get(`/api/runs${query({ function: [params.id], limit: RECENT })}`, { signal })]);
      info = read;
      patch(root, view(read, recent.runs, () => void turn(read)));
    } catch (error) {
      if (wasAborted(error)) return;
      if (info) toast(sentence(error), { tone: "bad" });
      else patch(root, notice("bad", "The function could not be loaded.", h("p", null, sentence(error)), h("p", null, h("a", { class: "button", href: "/functions" }, "All functions"))));
    }
  }

  /** @param {FunctionInfo} now */
  async function turn(now) {
    try {
      await post(`${path}/${now.paused ? "resume" : "pause"}`);
      toast(now.paused ? "Resumed: its triggers start runs again." : "Paused: no new runs start until it is resumed. Live runs continue.", { tone: "good" });
      await load();
    } catch (error) {
      toast(sentence(error), { tone: "bad" });
    }
  }
  return loadLive(load, signal);
}

/** @param {FunctionInfo} info @param {RunRow[]} recent @param {() => void} turn */
function view(info, recent, turn) {
  const { stats } = info;
  return [
    h("header", { class: "run-header" },
      h("div", { class: "crumbs" }, h("a", { href: "/functions" }, "Functions"), icon("chevron"), h("a", { href: "/apps" }, visible(info.app_id)), info.app_version && h("span", { class: "muted" }, ` version ${visible(info.app_version)}`)),
      h("div", { class: "run-title" }, h("h1", null, visible(info.function_id)), info.own_name && h("span", { class: "muted" }, visible(info.own_name)),
        info.paused && h("span", { class: "tag tag-warn" }, icon("pause"), "paused"), h("span", { class: "grow" }),
        h("div", { class: "buttons" },
          can("send") && h("button", { class: "button accent", type: "button", on: { click: () => trigger(info) } }, icon("play"), "Run now"),
          can("pause") && h("button", { class: "button", type: "button", on: { click: turn } }, icon(info.paused ? "play" : "pause"), info.paused ? "Resume" : "Pause")))),
    info.paused && notice("warn", "This function is paused.", " Events and cron schedules start no runs until it is resumed."),
    stats.cut && notice("note", "", "More than 5,000 runs were queued in the last 24 hours: numbers and charts cover the latest 5,000."),
    h("div", { class: "numbers" },
      number("Success, 24 h", share(stats.completed, stats.completed + stats.failed), counted(stats.failed, "failure")),
      number("Median, 24 h", duration(stats.p50_ms), "half of the runs are faster"),
      number("99th percentile, 24 h", duration(stats.p99_ms), "1 % of the runs take longer"),
      backlogNumber(info)),
    h("div", { class: "two-columns" },
      h("section", { class: "card" }, h("h2", null, "Runs per hour"), runsChart(stats.series)),
      h("section", { class: "card" }, h("h2", null, "Median duration"), latencyChart(stats.series))),
    h("div", { class: "two-columns" },
      h("section", { class: "card" }, h("h2", null, "Triggers"), starts(info)),
      h("section", { class: "card" }, h("h2", null, "Backlog"), backlog(info))),
    h("div", { class: "two-columns" },
      h("section", { class: "card" }, h("h2", null, "Configuration"), words(configWords(info)), schemas(info)),
      h("section", { class: "card" }, h("h2", null, "Limits"), words(limitWords(info)))),
    h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", null, "Latest runs"), h("span", { class: "grow" }), h("a", { class: "button small", href: `/runs?function=${encodeURIComponent(info.function_id)}` }, "All runs")), shortRuns(recent, "No runs yet.")),
  ];
}

/** @param {string} term @param {string} value @param {string} note */
function number(term, value, note) {
  return h("div", { class: "number-card" }, h("span", { class: "muted" }, term), h("strong", { class: "number" }, value), h("span", { class: "muted" }, note));
}

/** @param {import("../core/dom.js").Child[]} sentences */
function words(sentences) {
  return h("ul", { class: "words" }, sentences.map((said) => h("li", null, said)));
}

/** @param {FunctionInfo} info */
function backlogNumber(info) {
  const { queued = 0, running = 0, cut = false } = info.backlog ?? {};
  const count = (queued + running).toLocaleString("en-US");
  return number("Live runs", cut ? `at least ${count}` : count, `${queued.toLocaleString("en-US")} of them queued`);
}

/** @param {FunctionInfo} info */
function backlog(info) {
  const { backlog: found } = info;
  if (!found || !(found.queued + found.running)) return h("p", { class: "muted" }, found?.cut ? "None of the latest 5,000 runs is live." : "No live runs: every run has ended.");
  const path = (/** @type {string} */ status) => `/runs${query({ function: [info.function_id], status: [status] })}`;
  return [
    words([
      found.queued > 0 && [h("a", { href: path("Queued") }, `${found.queued.toLocaleString("en-US")} queued`), "."],
      found.running > 0 && [h("a", { href: path("Running") }, `${found.running.toLocaleString("en-US")} running`), ": ", backlogWords(found).join(", "), "."],
      found.oldest_at && ["The oldest was queued ", time(found.oldest_at), "."],
    ].filter(Boolean)),
    found.cut && h("p", { class: "muted" }, "Only the latest 5,000 runs were checked."),
  ];
}

/** @param {FunctionInfo} info */
function starts(info) {
  if (!info.triggers.length) return h("p", { class: "muted" }, NO_TRIGGER);
  return h("ul", { class: "words" }, info.triggers.map((one) => h(
    "li", null, triggerWords(one),
    one.cron !== undefined && one.next && h("ol", { class: "moments" }, one.next.map((at) => h("li", null, time(at, "absolute"), " ", h("span", { class: "muted" }, "(", time(at), ")")))),
  )));
}

/** @param {FunctionInfo} info */
function schemas(info) {
  const names = Object.keys(info.schemas ?? {});
  if (!names.length) return null;
  return h("p", { class: "muted" }, "It defines a model for ", names.map((name, index) => [index ? ", " : "", h("a", { href: `/events?send=${encodeURIComponent(name)}` }, eventWord(name))]), ".");
}

/** @param {FunctionInfo} info */
function trigger(info) {
  const [name, schema] = Object.entries(info.schemas ?? {})[0] ?? ["", null];
  const editor = new Editor({ label: "Data", value: schema ? example(schema) : {}, schema, rows: 12 });
  const dialog = openDialog({
    title: `Run ${visible(info.function_id)} now`, wide: true, action: "Start a run",
    body: [h("p", { class: "muted" }, name ? ["The run gets this data, which should match the model of ", h("code", null, visible(name)), "."] : "The run gets an event with this data."), info.paused && notice("warn", "", "The function is paused; the server may refuse."), editor.element],
    act: async () => {
      if (!editor.valid) return false;
      const { run_id } = await post(`/api/functions/${encodeURIComponent(info.function_id)}/trigger`, { data: editor.value });
      go(runPath(run_id));
    },
  });
  editor.changed = (valid) => {
    if (dialog.action) dialog.action.disabled = !valid;
  };
  editor.field.focus();
}

