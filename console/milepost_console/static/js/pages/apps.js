// All apps: where they are served, when they last registered, and their problems in full.

import { get, sentence, wasAborted } from "../core/api.js";
import { time } from "../core/clock.js";
import { h, patch, visible } from "../core/dom.js";
import { counted } from "../core/format.js";
import { copyButton } from "../parts/copy.js";
import { icon } from "../parts/icons.js";
import { notice } from "../parts/notice.js";
import { noApps } from "./empty.js";
import { loadLive } from "./functions.js";

/** @typedef {import("../core/types.js").AppInfo} AppInfo */

/** @type {Record<string, string>} */
const KINDS = { http: "Over HTTP", lambda: "By a Lambda function", process: "By a process of the dev server" };

export const title = "Apps";

/** @param {import("../core/router.js").Visit} visit */
export function mount({ root, signal }) {
  const list = h("div", { class: "apps" });
  root.append(h("div", { class: "page-head" }, h("h1", null, "Apps")), list);
  async function load() {
    try {
      const { apps } = await get("/api/apps", { signal });
      patch(list, apps.length ? apps.map(card) : noApps());
    } catch (error) {
      if (!wasAborted(error)) patch(list, notice("bad", "The apps could not be loaded.", " ", sentence(error)));
    }
  }
  return loadLive(load, signal);
}

/** @param {AppInfo} app */
function card(app) {
  const { target } = app;
  return h(
    "section", { class: `card app${app.error ? " app-bad" : ""}`, data: { key: app.app_id } },
    h("div", { class: "card-head" }, icon(app.error ? "cross" : "check", app.error ? "bad-text" : "good-text"), h("h2", null, visible(app.app_id)), h("span", { class: "muted" }, app.error ? "registration failed" : "ready")),
    h("dl", { class: "facts" },
      fact("Served", [h("span", null, KINDS[target.kind.replace(/[-_]/g, "")] ?? visible(target.kind)), target.address && [" ", h("code", null, visible(target.address))]]),
      fact("Registered", time(app.synced_at)), fact("Version", visible(app.app_version)), fact("SDK", visible(app.sdk || "–"))),
    app.error && h("div", { class: "sync-error" }, notice("bad", "The last registration failed.", " The functions registered before stay in use; new code is not."), h("div", { class: "json-box" }, h("pre", { class: "stack", tabindex: "0", role: "region", "aria-label": `registration error of ${visible(app.app_id)}` }, visible(app.error)), copyButton(app.error, "registration error"))),
    h("details", { open: app.functions.length <= 12 }, h("summary", null, counted(app.functions.length, "function")),
      h("ul", { class: "function-links" }, app.functions.map((id) => h("li", null, h("a", { href: `/functions/${encodeURIComponent(id)}` }, visible(id)))))),
  );
}

/** @param {string} term @param {import("../core/dom.js").Child} value */
function fact(term, value) {
  return h("div", null, h("dt", null, term), h("dd", null, value));
}
