// Starts the dashboard: the frame around the pages, the routes, live updates, and the connection banner.

import { get, watchHealth } from "./core/api.js";
import { clockOffset, now, setServerNow, startTicking, switchZone, zone } from "./core/clock.js";
import { h, patch } from "./core/dom.js";
import { moment, relative, zoneName } from "./core/format.js";
import { connect, liveState, onLive, pollEvery, startLive } from "./core/live.js";
import { setTitle, startRouter } from "./core/router.js";
import { can, setInfo } from "./core/server.js";
import { logo } from "./parts/icons.js";
import { startKeys } from "./parts/keys.js";
import { navigation } from "./parts/navigation.js";
import { themeSwitch } from "./parts/theme.js";

const BANNER_AFTER_MS = 1500;
/** Each poll of a stack costs a little money. */
const POLL_MS = 10_000;

/** @type {import("./core/router.js").Route[]} */
const ROUTES = [
  { pattern: /^\/(?:runs\/?)?$/, area: "runs", load: () => import("./pages/runs.js") },
  { pattern: /^\/runs\/(?<id>[^/]+)$/, area: "run", load: () => import("./pages/run.js") },
  { pattern: /^\/events(?:\/(?<id>[^/]+))?\/?$/, area: "events", load: () => import("./pages/events.js") },
  { pattern: /^\/functions\/?$/, area: "functions", load: () => import("./pages/functions.js") },
  { pattern: /^\/functions\/(?<id>.+)$/, area: "function", load: () => import("./pages/function.js") },
  { pattern: /^\/apps\/?$/, area: "apps", load: () => import("./pages/apps.js") },
];

let serverAnswers = true;
/** @type {number|null} */
let downSince = null;

function frame() {
  const header = /** @type {HTMLElement} */ (document.getElementById("header"));
  const zoneButton = h("button", {
    class: "zone-button", type: "button", id: "zone", title: "Switch between your time zone and UTC",
    on: { click: () => (switchZone(), drawZone()) },
  });
  patch(
    header,
    h("a", { class: "brand", href: "/runs", "aria-label": "Milepost: runs" }, logo(), h("span", null, "Milepost")),
    h("nav", { id: "nav", "aria-label": "Pages", data: { keep: "" } }),
    h("div", { class: "header-end" }, h("span", { id: "stack", class: "stack-name" }), h("span", { id: "live" }), zoneButton, themeSwitch()),
  );
  drawZone();
}

function drawZone() {
  const button = document.getElementById("zone");
  if (button) button.textContent = zoneName(now(), zone());
}

/** The status light in the header, and the banner shown when the page may be out of date. */
function drawHealth() {
  const { state, lastHeard, retryAt, everLive } = liveState();
  const live = state === "live" && serverAnswers;
  if (live || state === "resting") downSince = null;
  else downSince ??= Date.now();
  const streams = can("stream");
  const word = { live: streams ? "Live" : "Every 10 s", connecting: "Connecting", down: "Offline", resting: "Resting" }[state];
  const light = document.getElementById("live");
  if (light) {
    patch(light, h("span", { class: `live live-${state}`, title: live ? streams ? "New runs and events appear automatically" : "A stack sends no live updates: the page reloads its data every 10 seconds" : "No updates are arriving" }, h("span", { class: "live-dot" }), word));
  }
  const banner = /** @type {HTMLElement} */ (document.getElementById("banner"));
  const shown = downSince !== null && Date.now() - downSince >= BANNER_AFTER_MS;
  banner.hidden = !shown;
  document.documentElement.classList.toggle("stale", shown);
  if (!shown) return patch(banner);
  const since = moment(lastHeard + clockOffset(), zone()).clock;
  const what = everLive
    ? `Live updates have stopped. This page shows the state of ${since} (${relative(lastHeard - Date.now())}).`
    : "The server does not answer.";
  const next = state === "down" ? ` Trying again ${relative(Math.max(1000, retryAt - Date.now()))}.` : " Trying again now.";
  patch(
    banner,
    h("span", { class: "grow" }, h("span", { id: "banner-text" }, what), h("span", { class: "banner-next", "aria-hidden": "true" }, next)),
    h("button", { class: "button small", type: "button", on: { click: connect } }, "Try now"),
  );
}

async function readInfo() {
  try {
    const info = await get("/api/info");
    setServerNow(info.now);
    setInfo(info);
    if (!can("stream")) pollEvery(POLL_MS);
    drawHealth();
    const name = document.getElementById("stack");
    if (name) name.textContent = info.stack ? `stack ${info.stack}` : info.mode === "dev" ? "dev server" : info.mode;
    if (name) name.title = `Milepost ${info.version}`;
  } catch {
    // The banner shows it.
  }
}

function start() {
  frame();
  startTicking();
  startKeys();
  watchHealth((answers) => {
    serverAnswers = answers;
    drawHealth();
  });
  onLive("state", drawHealth);
  onLive("hello", readInfo);
  setInterval(drawHealth, 1000);
  void startRouter(ROUTES, (area, title) => {
    navigation(/** @type {HTMLElement} */ (document.getElementById("nav")), area);
    setTitle(title);
  });
  startLive();
  void readInfo();
}

start();
