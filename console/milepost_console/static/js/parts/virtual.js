// A list that builds only the rows in sight: ten thousand runs cost what forty do. Rows have one height.

import { h, morph, styled } from "../core/dom.js";

const OVERSCAN = 8;

/**
 * @template T
 * @typedef {object} ListOptions
 * @property {HTMLElement} scroller the element that scrolls
 * @property {number} rowHeight
 * @property {(item: T, index: number) => HTMLElement} render
 * @property {(item: T) => string} key
 * @property {() => void} [nearEnd] called when the last rows come into sight
 * @property {(shown: T[]) => void} [onShow] the rows now in sight, after each change
 * @property {string} [role]
 */

/** @template T */
export class VirtualList {
  /** @param {ListOptions<T>} options @param {AbortSignal} signal */
  constructor(options, signal) {
    this.options = options;
    /** @type {T[]} */
    this.items = [];
    this.rowHeight = options.rowHeight;
    this.element = h("div", { class: "virtual", role: options.role ?? "rowgroup", data: { keep: "" } });
    /** @type {Map<string, HTMLElement>} */
    this.shown = new Map();
    this.frame = 0;
    options.scroller.addEventListener("scroll", () => this.soon(), { passive: true, signal });
    const resized = new ResizeObserver(() => this.soon());
    resized.observe(options.scroller);
    signal.addEventListener("abort", () => {
      resized.disconnect();
      cancelAnimationFrame(this.frame);
    });
  }

  /** @param {T[]} items */
  set(items) {
    this.items = items;
    this.draw();
  }

  soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw(true);
    });
  }

  /** How far below the top of what scrolls the first row stands, whatever is positioned around it. */
  offset() {
    const { scroller } = this.options;
    return this.element.getBoundingClientRect().top - scroller.getBoundingClientRect().top - scroller.clientTop + scroller.scrollTop;
  }

  /** The first and last index in sight. */
  range() {
    const { scroller } = this.options;
    const top = scroller.scrollTop - this.offset();
    const height = scroller.clientHeight || innerHeight;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - OVERSCAN);
    const last = Math.min(this.items.length - 1, Math.ceil((top + height) / this.rowHeight) + OVERSCAN);
    return { first, last };
  }

  /** @param {boolean} [moved] only the place changed: rows that are there already stay as they are */
  draw(moved = false) {
    const { key, render, nearEnd, onShow } = this.options;
    styled(this.element, { height: `${this.items.length * this.rowHeight}px` });
    const { first, last } = this.range();
    const inSight = this.items.slice(first, last + 1);
    const ids = new Set(inSight.map(key));
    for (const [id, row] of this.shown) if (!ids.delete(id)) this.drop(id, row);
    let place = this.element.firstChild;
    inSight.forEach((item, offset) => {
      const id = key(item);
      let row = this.shown.get(id);
      if (!row) this.shown.set(id, (row = render(item, first + offset)));
      else if (!moved) morph(row, render(item, first + offset));
      styled(row, { transform: `translateY(${(first + offset) * this.rowHeight}px)` });
      if (place === row) place = place.nextSibling;
      else this.element.insertBefore(row, place);
    });
    if (nearEnd && this.items.length && last >= this.items.length - 1 - OVERSCAN) nearEnd();
    onShow?.(inSight);
  }

  /** @param {string} id @param {HTMLElement} row */
  drop(id, row) {
    row.remove();
    this.shown.delete(id);
  }

  /** Bring a row into sight. @param {number} index */
  reveal(index) {
    const { scroller } = this.options;
    const sticky = this.offset();
    const top = sticky + index * this.rowHeight;
    if (top - sticky < scroller.scrollTop) scroller.scrollTop = top - sticky;
    else if (top + this.rowHeight > scroller.scrollTop + scroller.clientHeight) {
      scroller.scrollTop = top + this.rowHeight - scroller.clientHeight;
    }
    this.draw();
  }

  /** @param {string} id */
  rowOf(id) {
    return this.shown.get(id) ?? null;
  }
}
