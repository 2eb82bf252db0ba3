// All functions: triggers, statistics, and which are paused.

import { get, sentence, wasAborted } from "../core/api.js";
import { time } from "../core/clock.js";
import { h, patch, visible } from "../core/dom.js";
import { counted, duration, share } from "../core/format.js";
import { onLive } from "../core/live.js";
import { sparkline } from "../parts/chart.js";
import { icon } from "../parts/icons.js";
import { notice } from "../parts/notice.js";
import { noFunctions } from "./empty.js";
import { eventWord } from "./words.js";

/** @typedef {import("../core/types.js").FunctionInfo} FunctionInfo */

const RELOAD_MS = 2000;

export const title = "Functions";

/** Loads something now, and again when runs or apps change, at most every two seconds. @param {() => Promise<void>} load @param {AbortSignal} signal */
export function loadLive(load, signal) {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;
  const soon = () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      void load();
    }, RELOAD_MS);
  };
  onLive("run", soon, signal);
  onLive("app", soon, signal);
  onLive("resync", () => void load(), signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
  return load();
}

/** @param {import("../core/router.js").Visit} visit */
export function mount({ root, signal }) {
  let text = "";
  /** @type {FunctionInfo[]} */
  let functions = [];
  const search = h("input", {
    class: "field find", type: "search", placeholder: "Find a function", "aria-label": "Find a function by name, app or event", data: { search: "" },
    on: { input: (/** @type {InputEvent} */ event) => { text = /** @type {HTMLInputElement} */ (event.target).value.toLowerCase(); draw(null); } },
  });
  const head = h("div", { class: "page-head" }, h("h1", null, "Functions"), h("span", { class: "grow" }), search);
  const list = h("div");
  root.append(head, list);

  /** @param {unknown} problem */
  function draw(problem) {
    search.hidden = functions.length < 2;
    const shown = functions.filter((each) => JSON.stringify([each.function_id, each.name, each.app_id, each.triggers]).toLowerCase().includes(text));
    patch(
      list,
      problem !== null && notice("bad", "The functions could not be loaded.", " ", sentence(problem)),
      functions.length > 0 ? table(shown) : problem === null && noFunctions(),
      functions.length > 0 && !shown.length && h("p", { class: "muted" }, "No functions match."),
    );
  }

  async function load() {
    try {
      functions = (await get("/api/functions", { signal })).functions;
      draw(null);
    } catch (error) {
      if (!wasAborted(error)) draw(error);
    }
  }
  return loadLive(load, signal);
}

/** @param {FunctionInfo[]} functions */
function table(functions) {
  return h(
    "table", { class: "grid functions-table" },
    h("thead", null, h("tr", null, ["Function", "Triggers", "Last 24 hours", "Success", "Median", "99th percentile", "Live, 24 h"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", null, functions.map(row)),
  );
}

/** @param {FunctionInfo} info */
function row(info) {
  const { stats } = info;
  const ended = stats.completed + stats.failed;
  const bad = stats.failed > 0;
  return h(
    "tr", { data: { key: info.function_id } },
    h("td", { class: "function-cell" }, h("a", { class: "row-link", href: `/functions/${encodeURIComponent(info.function_id)}` }, visible(info.function_id)),
      info.paused && h("span", { class: "tag tag-warn" }, icon("pause"), "paused"), h("div", { class: "muted" }, info.own_name ? `${visible(info.own_name)} · ${visible(info.app_id)}` : visible(info.app_id))),
    h("td", { class: "trigger-cell" }, info.triggers.length ? info.triggers.slice(0, 3).map(trigger) : h("span", { class: "muted" }, "invoked only"), info.triggers.length > 3 && h("div", { class: "muted" }, counted(info.triggers.length - 3, "more trigger"))),
    h("td", null, sparkline(stats.series), stats.cut && h("div", { class: "muted" }, "latest 5,000 runs")),
    h("td", { class: bad ? "number bad-text" : "number" }, share(stats.completed, ended), bad && h("div", { class: "muted" }, counted(stats.failed, "failure"))),
    h("td", { class: "number" }, duration(stats.p50_ms)),
    h("td", { class: "number" }, duration(stats.p99_ms)),
    h("td", { class: "number" }, stats.running ? stats.running.toLocaleString("en-US") : h("span", { class: "muted" }, "0"), stats.queued ? h("div", { class: "muted" }, `${stats.queued.toLocaleString("en-US")} queued`) : null),
  );
}

/** @param {FunctionInfo["triggers"][number]} one */
function trigger(one) {
  if (one.cron === undefined) return h("div", null, icon("bolt", "quiet"), h("code", null, eventWord(one.event)), one.expression ? h("span", { class: "muted", title: visible(one.expression) }, " if …") : null);
  return h("div", null, icon("clock", "quiet"), h("code", null, visible(one.cron)), one.next?.length ? h("span", { class: "muted" }, " next ", time(one.next[0])) : null);
}
