// The switch between light, dark and system theme. boot.js applies the theme before the first paint.

import { h, patch } from "../core/dom.js";
import { icon } from "./icons.js";

const STORED = "milepost.theme";
/** @type {Record<string, [string, string]>} */
const CHOICES = { system: ["half", "system"], light: ["sun", "light"], dark: ["moon", "dark"] };

function chosen() {
  const stored = localStorage.getItem(STORED) ?? "system";
  return stored in CHOICES ? stored : "system";
}

export function themeSwitch() {
  const container = h("span", { class: "theme-switch" });
  const draw = () => {
    const now = chosen();
    const [shape, word] = CHOICES[now];
    const label = `Theme: ${word}`;
    patch(container, h("button", { class: "icon-button", type: "button", title: label, "aria-label": label, on: { click: turn } }, icon(shape)));
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
  return container;
}
