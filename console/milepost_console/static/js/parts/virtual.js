// A list that only builds visible rows, so that ten thousand rows cost as much as forty. All rows have the same height.

import { h, morph, styled } from "../core/dom.js";

const OVERSCAN = 8;

/**
 * @template T
 * @typedef {object} ListOptions
 * @property {HTMLElement} scroller the element that scrolls
 * @property {number} rowHeight
 * @property {(item: T, index: number) => HTMLElement} render
 * @property {(item: T) => string} key
 * @property {() => void} [nearEnd] called when the last rows become visible
 * @property {(shown: T[]) => void} [onShow] called with the visible rows after each change
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

  /** The distance of the first row from the top of the scrolled content. */
  offset() {
    const { scroller } = this.options;
    return this.element.getBoundingClientRect().top - scroller.getBoundingClientRect().top - scroller.clientTop + scroller.scrollTop;
  }

  /** The first and last visible index. */
  range() {
    const { scroller } = this.options;
    const top = scroller.scrollTop - this.offset();
    const height = scroller.clientHeight || innerHeight;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - OVERSCAN);
    const last = Math.min(this.items.length - 1, Math.ceil((top + height) / this.rowHeight) + OVERSCAN);
    return { first, last };
  }

  /** @param {boolean} [moved] only the position changed: existing rows are not updated */
  draw(moved = false) {
    const { key, render, nearEnd, onShow } = this.options;
    styled(this.element, { height: `${this.items.length * this.rowHeight}px` });
    const { first, last } = this.range();
    const visibleItems = this.items.slice(first, last + 1);
    const ids = new Set(visibleItems.map(key));
    for (const [id, row] of this.shown) if (!ids.delete(id)) this.drop(id, row);
    let cursor = this.element.firstChild;
    visibleItems.forEach((item, offset) => {
      const id = key(item);
      let row = this.shown.get(id);
      if (!row) this.shown.set(id, (row = render(item, first + offset)));
      else if (!moved) morph(row, render(item, first + offset));
      styled(row, { transform: `translateY(${(first + offset) * this.rowHeight}px)` });
      if (cursor === row) cursor = cursor.nextSibling;
      else this.element.insertBefore(row, cursor);
    });
    if (nearEnd && this.items.length && last >= this.items.length - 1 - OVERSCAN) nearEnd();
    onShow?.(visibleItems);
  }

  /** @param {string} id @param {HTMLElement} row */
  drop(id, row) {
    row.remove();
    this.shown.delete(id);
  }

  /** Scrolls a row into view. @param {number} index */
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
