// Light, dark, or what the system says. The first paint is done by boot.js; this is the switch.

import { h, patch } from "../core/dom.js";
import { icon } from "./icons.js";

const STORED = "milepost.theme";
/** @type {Record<string, [string, string]>} */
const CHOICES = { system: ["half", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

function chosen() {
  const stored = localStorage.getItem(STORED) ?? "system";
  return stored in CHOICES ? stored : "system";
}

export function themeSwitch() {
  const place = h("span", { class: "theme-switch" });
  const draw = () => {
    const now = chosen();
    const [shape, word] = CHOICES[now];
    const label = `Colours: ${word}`;
    patch(place, h("button", { class: "icon-button", type: "button", title: label, "aria-label": label, on: { click: turn } }, icon(shape)));
  };
  const turn = () => {
    const names = Object.keys(CHOICES);
    const next = names[(names.indexOf(chosen()) + 1) % names.length];
    if (next === "system") localStorage.removeItem(STORED);
    else localStorage.setItem(STORED, next);
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    draw();
  };
  draw();
  return place;
}
