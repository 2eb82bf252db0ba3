// Empty states: what to do next, with commands to copy.

import { get } from "../core/api.js";
import { h, patch } from "../core/dom.js";
import { commandLine, copyButton } from "../parts/copy.js";
import { example } from "../parts/schema.js";
import { isStack, stackName } from "../core/server.js";
import { curlOf } from "./run-actions.js";
import { isInternal } from "./words.js";

const FIRST_APP = `from milepost import App, Context, Event

app = App("shop")


@app.function(id="greet", trigger=Event("shop/hello"))
async def greet(ctx: Context) -> str:
    name = await ctx.step.run("look-up-name", lambda: ctx.event.data["name"])
    await ctx.step.sleep("a-moment", "5s")
    return f"Hello, {name}!"
`;

/** @param {string} text @param {string} what */
function codeBlock(text, what) {
  return h("div", { class: "json-box" }, h("pre", { class: "json", tabindex: "0", role: "region", "aria-label": what }, text), copyButton(text, what));
}

/** @param {import("../core/dom.js").Child[]} steps */
function lesson(...steps) {
  return h("ol", { class: "lesson" }, steps.map((step) => h("li", null, step)));
}

function serveAnApp() {
  if (isStack()) return [h("p", null, "Deploy an app to this stack; it registers itself."), commandLine(`milepost deploy app.py --stack ${stackName()}`)];
  return [h("p", null, "Serve it. The server reloads changed code automatically."), commandLine("milepost dev app.py")];
}

export function noApps() {
  return h(
    "div", { class: "empty" }, h("h2", null, "No apps yet"),
    h("p", { class: "muted" }, "An app is a named set of functions served together."),
    lesson([h("p", null, "Write one: ", h("code", null, "app.py")), codeBlock(FIRST_APP, "first app")], serveAnApp()),
    !isStack() && h("p", { class: "muted" }, "To add an app that runs elsewhere, give its address: ", h("code", null, "milepost dev -u http://127.0.0.1:3000/api/milepost")),
  );
}

export function noFunctions() {
  return h("div", { class: "empty" }, h("h2", null, "No functions yet"), lesson([h("p", null, "Write an app: ", h("code", null, "app.py")), codeBlock(FIRST_APP, "first app")], serveAnApp()));
}

/** @param {boolean} filtered @param {AbortSignal} signal */
export function emptyRuns(filtered, signal) {
  if (filtered) return h("div", { class: "empty", data: { key: "no-match", keep: "" } }, h("h2", null, "No runs match"), h("p", { class: "muted" }, "Remove a filter or extend the time range. ", h("a", { class: "button small", href: "/runs" }, "Clear filters")));
  const container = h("div", { class: "empty", data: { key: "empty-runs", keep: "" } });
  get("/api/functions", { signal }).then(({ functions }) => patch(container, functions.length ? sendFirst(functions) : noApps()), () => {});
  return container;
}

/** A JSON value as Python writes it. @param {unknown} value @returns {string} */
function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(/** @type {object} */ (value)).map(([name, each]) => `${JSON.stringify(name)}: ${python(each)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** @param {import("../core/types.js").FunctionInfo[]} functions */
function sendFirst(functions) {
  const pairs = functions.flatMap((each) => each.triggers.map((trigger) => ({ each, trigger })));
  const found = pairs.find(({ trigger }) => trigger.cron === undefined && !trigger.event.endsWith("*") && !isInternal(trigger.event));
  if (!found || found.trigger.cron !== undefined) {
    return [h("h2", null, "No runs yet"), h("p", null, h("a", { class: "button accent", href: "/functions" }, "Run a function by hand"))];
  }
  const name = found.trigger.event;
  const schema = found.each.schemas?.[name];
  const data = schema === undefined ? {} : example(schema);
  return [
    h("h2", null, "No runs yet"), h("p", { class: "muted" }, "Runs appear here automatically as soon as an event or a cron schedule starts a function."),
    lesson(
      [h("p", null, "Send an event that starts ", h("code", null, found.each.function_id), ":"), codeBlock(curlOf({ name, data }), "curl command")],
      [h("p", null, "Or send it from here:"), h("a", { class: "button accent", href: `/events?send=${encodeURIComponent(name)}` }, "Send an event")],
      [h("p", null, "Or from Python:"), codeBlock(`await app.send({"name": ${JSON.stringify(name)}, "data": ${python(data)}})`, "Python line")],
    ),
  ];
}
