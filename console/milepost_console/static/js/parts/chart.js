// Small SVG charts, each with a table of its numbers for screen readers.

import { h, s } from "../core/dom.js";
import { duration, moment, share } from "../core/format.js";
import { zone } from "../core/clock.js";

/** @typedef {import("../core/types.js").Bucket} Bucket */

const WIDTH = 480;
const HEIGHT = 96;
const FOOT = 1;

/** @param {Bucket} bucket */
function hour(bucket) {
  return moment(Date.parse(bucket.at), zone()).clock.slice(0, 5);
}

/** Runs per hour, with failed runs on top. @param {Bucket[]} series */
export function runsChart(series) {
  const most = Math.max(1, ...series.map(({ completed, failed }) => completed + failed));
  const step = WIDTH / Math.max(1, series.length);
  const bar = (/** @type {string} */ kind, /** @type {number} */ index, /** @type {number} */ from, /** @type {number} */ count) => {
    if (!count) return null;
    const height = Math.max(2, (count / most) * (HEIGHT - FOOT));
    return s("rect", { class: `chart-${kind}`, x: index * step + 1.5, width: Math.max(1, step - 3), y: HEIGHT - FOOT - from - height, height, rx: 1.5 });
  };
  const bars = series.map((bucket, index) => {
    const good = bucket.completed ? Math.max(2, (bucket.completed / most) * (HEIGHT - FOOT)) : 0;
    return s("g", null, s("title", null, `${hour(bucket)}: ${bucket.completed} completed, ${bucket.failed} failed`),
      s("rect", { class: "chart-hit", x: index * step, width: step, y: 0, height: HEIGHT }),
      bar("good", index, 0, bucket.completed), bar("bad", index, good, bucket.failed));
  });
  const failed = series.reduce((sum, each) => sum + each.failed, 0);
  const all = series.reduce((sum, each) => sum + each.completed + each.failed, 0);
  const label = `Runs per hour over the last ${series.length} hours: ${all} ended, ${failed} failed.`;
  return figure(label, [baseline(), bars], `up to ${most} per hour`, series, ["Completed", "Failed"], (bucket) => [String(bucket.completed), String(bucket.failed)]);
}

/** The median duration per hour. @param {Bucket[]} series */
export function latencyChart(series) {
  const known = series.map(({ p50_ms }) => p50_ms).filter((value) => value !== null);
  const most = Math.max(1, ...known);
  const step = WIDTH / Math.max(1, series.length);
  const point = (/** @type {number} */ value, /** @type {number} */ index) => `${((index + 0.5) * step).toFixed(1)} ${(HEIGHT - 6 - (value / most) * (HEIGHT - 14)).toFixed(1)}`;
  let line = "";
  let pen = "M";
  /** @type {SVGElement[]} */
  const dots = [];
  series.forEach(({ p50_ms: value }, index) => {
    if (value === null || value === undefined) {
      pen = "M";
      return;
    }
    const [x, y] = point(value, index).split(" ");
    line += `${pen}${x} ${y}`;
    pen = "L";
    dots.push(s("g", null, s("title", null, `${hour(series[index])}: half of the runs took less than ${duration(value)}`), s("circle", { class: "chart-hit", cx: x, cy: y, r: 8 }), s("circle", { class: "chart-dot", cx: x, cy: y, r: 2.5 })));
  });
  const label = known.length ? `Median duration per hour, between ${duration(Math.min(...known))} and ${duration(most)}.` : "Median duration per hour: no run has ended yet.";
  return figure(label, [baseline(), line && s("path", { class: "chart-line", d: line }), dots], known.length ? `up to ${duration(most)}` : "no run has ended yet", series, ["Median duration"], (bucket) => [duration(bucket.p50_ms)]);
}

/** A row of small bars: height is the number of runs, colour shows failures. @param {Bucket[]} series */
export function sparkline(series) {
  const most = Math.max(1, ...series.map(({ completed, failed }) => completed + failed));
  const failed = series.reduce((sum, each) => sum + each.failed, 0);
  const all = series.reduce((sum, each) => sum + each.completed + each.failed, 0);
  return s(
    "svg", { class: "spark", viewBox: `0 0 ${series.length * 4} 20`, width: series.length * 4, height: 20, role: "img", "aria-label": `${share(all - failed, all)} of ${all} runs succeeded in the last ${series.length} hours` },
    series.map((bucket, index) => {
      const count = bucket.completed + bucket.failed;
      const height = count ? Math.max(2, (count / most) * 20) : 1;
      const bad = count ? Math.max(bucket.failed ? 2 : 0, (bucket.failed / count) * height) : 0;
      return [
        s("rect", { class: count ? "chart-good" : "chart-none", x: index * 4, width: 3, y: 20 - height, height: Math.max(0, height - bad) }),
        bad > 0 && s("rect", { class: "chart-bad", x: index * 4, width: 3, y: 20 - bad, height: bad }),
      ];
    }),
  );
}

function baseline() {
  return s("line", { class: "chart-base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
}

/**
 * @param {string} label @param {import("../core/dom.js").Child[]} marks @param {string} top @param {Bucket[]} series
 * @param {string[]} columns @param {(bucket: Bucket) => string[]} cells
 */
function figure(label, marks, top, series, columns, cells) {
  return h(
    "figure", { class: "chart" },
    h("div", { class: "chart-top muted" }, top),
    s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, marks),
    h("div", { class: "chart-feet muted" }, h("span", null, series.length ? hour(series[0]) : ""), h("span", null, "now")),
    h("details", { class: "chart-numbers" }, h("summary", null, "Numbers"),
      h("table", null, h("thead", null, h("tr", null, h("th", null, "Hour"), columns.map((name) => h("th", null, name)))),
        h("tbody", null, series.map((bucket) => h("tr", null, h("th", { scope: "row" }, hour(bucket)), cells(bucket).map((cell) => h("td", null, cell))))))),
  );
}
