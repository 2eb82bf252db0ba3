// Icons as SVG paths on a 16-pixel grid. Each status has its own shape, so that nothing depends on colour alone.

import { s } from "../core/dom.js";

/** @type {Record<string, string[]>} */
const PATHS = {
  check: ["M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8Z", "m5.2 8.2 2 2 3.7-4.2"],
  cross: ["M5.6 1.8h4.8l3.8 3.8v4.8l-3.8 3.8H5.6l-3.8-3.8V5.6Z", "m5.9 5.9 4.2 4.2m0-4.2-4.2 4.2"],
  ring: ["M8 1.8a6.2 6.2 0 0 1 6.2 6.2", "M14.2 8A6.2 6.2 0 1 1 8 1.8"],
  queue: ["M2.5 4h11M2.5 8h11M2.5 12h6"],
  slash: ["M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8Z", "m4.2 11.8 7.6-7.6"],
  moon: ["M13.6 9.6A5.9 5.9 0 0 1 6.4 2.4a5.9 5.9 0 1 0 7.2 7.2Z"],
  ear: ["M3 8a5 5 0 0 1 10 0M5.4 8a2.6 2.6 0 0 1 5.2 0", "M8 8v5.5"],
  again: ["M13.5 8a5.5 5.5 0 1 1-1.7-4", "M13.6 1.6v3h-3"],
  dot: ["M8 4.6a3.4 3.4 0 1 1 0 6.8 3.4 3.4 0 0 1 0-6.8Z"],
  branch: ["M4 2.5v7.2c0 1.5 1 2.3 2.3 2.3H13", "m10.6 9.3 2.7 2.7-2.7 2.7"],
  clock: ["M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8Z", "M8 4.6V8l2.3 1.6"],
  ghost: ["M3 3h1.5M7 3h2M11.5 3H13v1.5M13 7v2M13 11.5V13h-1.5M9 13H7M4.5 13H3v-1.5M3 9V7M3 4.5V3"],
  copy: ["M5.5 5.5h8v8h-8Z", "M10.5 5.5v-3h-8v8h3"],
  play: ["M4.5 2.8v10.4L13 8Z"],
  stop: ["M3.8 3.8h8.4v8.4H3.8Z"],
  pencil: ["m2.5 13.5.8-3.2 7.6-7.6a1.3 1.3 0 0 1 1.9 0l.5.5a1.3 1.3 0 0 1 0 1.9l-7.6 7.6Z"],
  search: ["M7 2.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6Z", "m10.6 10.6 3.2 3.2"],
  caret: ["m4.5 6.2 3.5 3.6 3.5-3.6"],
  chevron: ["m6.2 4.5 3.6 3.5-3.6 3.5"],
  close: ["m4 4 8 8m0-8-8 8"],
  sun: ["M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6Z", "M8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M12.8 3.2l-1 1M4.2 11.8l-1 1"],
  half: ["M8 1.8a6.2 6.2 0 1 1 0 12.4Z", "M8 1.8a6.2 6.2 0 0 0 0 12.4"],
  warn: ["M8 2.2 14.3 13H1.7Z", "M8 6.4v3.2M8 11.2v.3"],
  send: ["M2 8 14 2.5 9.8 13.8 7.4 8.8Z", "m7.4 8.8 3-2.9"],
  pause: ["M5.4 3v10M10.6 3v10"],
  runs: ["M2.5 4h7M5 8h8.5M4 12h5.5"],
  bolt: ["M9 1.6 3.4 9H8l-1 5.4L12.6 7H8Z"],
  cube: ["M8 1.8 13.6 5v6L8 14.2 2.4 11V5Z", "M2.4 5 8 8.2 13.6 5M8 8.2v6"],
  plug: ["M5.5 1.8v3.4M10.5 1.8v3.4M3.5 5.2h9v2.3a4.5 4.5 0 0 1-9 0Z", "M8 12v2.4"],
  link: ["M6.5 9.5 9.5 6.5M7.2 4.6l1.5-1.5a3 3 0 0 1 4.2 4.2l-1.5 1.5M8.8 11.4l-1.5 1.5a3 3 0 0 1-4.2-4.2l1.5-1.5"],
  keep: ["M4 2.2h8v11.6l-4-3-4 3Z"],
  up: ["M8 13V3.4M4 7.2 8 3.2l4 4"],
  down: ["M8 3v9.6M4 8.8l4 4 4-4"],
};

/** @param {keyof typeof PATHS} name @param {string} [kind] */
export function icon(name, kind = "") {
  return s(
    "svg", { class: `icon ${kind}`.trim(), viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    PATHS[name].map((d) => s("path", { d })),
  );
}

/** A milepost. */
export function logo() {
  return s(
    "svg", { class: "logo", viewBox: "0 0 24 24", width: 24, height: 24, "aria-hidden": "true" },
    s("path", { class: "logo-post", d: "M6 22V8.5a6 6 0 0 1 12 0V22Z" }),
    s("path", { class: "logo-mark", d: "M9.2 16.4V9.6L12 13l2.8-3.4v6.8" }),
    s("path", { class: "logo-ground", d: "M3 22h18" }),
  );
}
