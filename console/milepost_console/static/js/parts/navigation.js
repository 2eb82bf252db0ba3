// Links to the four areas of the dashboard. On a phone they are at the bottom of the screen.

import { h, patch } from "../core/dom.js";
import { icon } from "./icons.js";

/** Path, word, icon, areas. @type {[string, string, string, string[]][]} */
const AREAS = [
  ["/runs", "Runs", "runs", ["runs", "run"]],
  ["/events", "Events", "bolt", ["events"]],
  ["/functions", "Functions", "cube", ["functions", "function"]],
  ["/apps", "Apps", "plug", ["apps"]],
];

/** @param {HTMLElement} container @param {string} area */
export function navigation(container, area) {
  patch(
    container,
    AREAS.map(([href, word, shape, areas]) =>
      h("a", { href, class: "nav-link", "aria-current": areas.includes(area) ? "page" : null }, icon(shape), h("span", null, word)),
    ),
  );
}
