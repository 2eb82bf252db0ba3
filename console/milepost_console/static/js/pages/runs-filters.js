// The filters above the list of runs: search, status, function, app, event and time.

import { get, query, wasAborted } from "../core/api.js";
import { h, patch, visible } from "../core/dom.js";
import { icon } from "../parts/icons.js";
import { multiMenu, selectField } from "../parts/menu.js";
import { RUN_STATUSES, statusIcon } from "../parts/status.js";
import { isFiltered } from "./runs-list.js";
import { eventWord } from "./words.js";

/** @typedef {import("./runs-list.js").RunFilter} RunFilter */

const SEARCH_AFTER_MS = 250;
/** @type {[string, string][]} */
const TIMES = [["", "any"], ["15m", "last 15 min"], ["1h", "last hour"], ["24h", "last 24 h"], ["7d", "last 7 days"], ["30d", "last 30 days"], ["custom", "from … to …"]];

/** The list's path for a filter. @param {RunFilter} filter */
export function filterPath(filter) {
  return `/runs${query(filter)}`;
}

/**
 * @param {HTMLElement} container @param {RunFilter} filter @param {(filter: RunFilter) => void} change
 * @param {AbortSignal} signal
 */
export function filterBar(container, filter, change, signal) {
  /** @type {{functions: import("../core/types.js").FunctionInfo[], names: string[]}} */
  const known = { functions: [], names: [] };
  let custom = Boolean(filter.since || filter.until);
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let typing;

  const search = h("input", {
    class: "field search", type: "search", value: filter.q, spellcheck: "false", autocomplete: "off", data: { search: "" },
    placeholder: "Run id, event id, text in the event, or cel: event.data.total > 100",
    "aria-label": "Search runs by run id, event id or event data; start with cel: for an expression", "aria-keyshortcuts": "/",
    on: {
      input: () => {
        clearTimeout(typing);
        typing = setTimeout(() => update({ q: search.value.trim() }), SEARCH_AFTER_MS);
      },
      keydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") search.value ? ((search.value = ""), update({ q: "" })) : search.blur();
        if (event.key === "Enter") clearTimeout(typing), update({ q: search.value.trim() });
      },
    },
  });
  const rest = h("div", { class: "filter-row" });
  const end = h("div", { class: "filter-end" });
  container.append(h("div", { class: "search-box" }, icon("search"), search, h("kbd", { "aria-hidden": "true" }, "/")), rest, end);
  signal.addEventListener("abort", () => clearTimeout(typing));

  /** @param {Partial<RunFilter>} part */
  function update(part) {
    Object.assign(filter, part);
    draw();
    change(filter);
  }

  /** @param {string} window */
  function chooseTime(window) {
    custom = window === "custom";
    if (custom) draw();
    else update({ last: window, since: "", until: "" });
  }

  /** @param {"since"|"until"} name */
  function moment(name) {
    const label = name === "since" ? "From" : "To";
    return h("label", { class: "select-field" }, h("span", null, label), h("input", {
      type: "datetime-local", step: "1", value: localText(filter[name]), "aria-label": `${label} (your time zone)`,
      on: { change: (/** @type {Event} */ event) => update({ last: "", [name]: utcText(/** @type {HTMLInputElement} */ (event.target).value) }) },
    }));
  }

  function draw() {
    const apps = [...new Set(known.functions.map((each) => each.app_id))].sort();
    const pinned = [["event_id", "event"], ["origin", "replays of"]].filter(([name]) => Reflect.get(filter, name));
    patch(end, isFiltered(filter) && h("button", { class: "button quiet", type: "button", on: { click: clear } }, "Clear filters"));
    if (container.querySelector(".menu-panel:not([hidden])")) return;
    patch(
      rest,
      multiMenu({
        label: "Status", chosen: filter.status, empty: "", choose: (status) => update({ status }),
        options: RUN_STATUSES.map((status) => ({ value: status, text: status, content: [statusIcon(status), h("span", { "aria-hidden": "true" }, status)] })),
      }),
      multiMenu({
        label: "Function", chosen: filter.function, empty: "No matching functions", choose: (ids) => update({ function: ids }),
        options: functionOptions(known.functions, filter.function),
      }),
      (apps.length > 1 || filter.app) && selectField("App", options(apps, filter.app), filter.app, (app) => update({ app })),
      selectField("Event", options(known.names, filter.event), filter.event, (event) => update({ event })),
      selectField("Queued", TIMES, custom ? "custom" : filter.last, chooseTime),
      custom && [moment("since"), moment("until")],
      pinned.map(([name, word]) => h("button", { class: "chip", type: "button", title: "Remove this filter", on: { click: () => update({ [name]: "" }) } }, `${word} ${Reflect.get(filter, name)}`, icon("close"))),
    );
  }

  function clear() {
    search.value = "";
    custom = false;
    update({ function: [], app: "", status: [], event: "", event_id: "", origin: "", last: "", since: "", until: "", q: "" });
  }

  draw();
  Promise.all([get("/api/functions", { signal }), get("/api/event-names", { signal })]).then(([listed, names]) => {
    known.functions = listed.functions;
    known.names = names.names;
    draw();
  }, (error) => wasAborted(error) || draw());
}

/** @param {import("../core/types.js").FunctionInfo[]} functions @param {string[]} chosen */
function functionOptions(functions, chosen) {
  const ids = [...new Set([...functions.map((each) => each.function_id), ...chosen])].sort();
  return ids.map((id) => ({ value: id, text: id, content: h("span", null, visible(id)) }));
}

/** @param {string[]} values @param {string} chosen @returns {[string, string][]} */
function options(values, chosen) {
  const all = chosen && !values.includes(chosen) ? [...values, chosen] : values;
  return [["", "any"], ...all.map((value) => /** @type {[string, string]} */ ([value, eventWord(value)]))];
}

/** @param {string} iso */
function localText(iso) {
  const at = new Date(iso);
  if (!iso || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** @param {string} local */
function utcText(local) {
  const at = new Date(local);
  return local && !Number.isNaN(at.getTime()) ? at.toISOString() : "";
}
