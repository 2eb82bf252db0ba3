// The four places of the dashboard. On a phone they stand at the bottom, under the thumb.

import { h, patch } from "../core/dom.js";
import { icon } from "./icons.js";

/** Path, word, icon, areas. @type {[string, string, string, string[]][]} */
const PLACES = [
  ["/runs", "Runs", "runs", ["runs", "run"]],
  ["/events", "Events", "bolt", ["events"]],
  ["/functions", "Functions", "cube", ["functions", "function"]],
  ["/apps", "Apps", "plug", ["apps"]],
];

/** @param {HTMLElement} place @param {string} area */
export function navigation(place, area) {
  patch(
    place,
    PLACES.map(([href, word, shape, areas]) =>
      h("a", { href, class: "nav-link", "aria-current": areas.includes(area) ? "page" : null }, icon(shape), h("span", null, word)),
    ),
  );
}
