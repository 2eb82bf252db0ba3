// Builds and patches the page. Text is always set as text, and links only lead to paths of this origin.

/** @typedef {string|number|Node|null|undefined|false|readonly any[]} Child a list is of children again */
/** @typedef {Record<string, any>} Props */

const HANDLERS = Symbol("handlers");
const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "indeterminate", "readOnly", "selected"]);

/** Bidirectional controls and invisible characters, which can make one text look like another. */
const DECEIVING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * A text with control and invisible characters made visible.
 * @param {unknown} text
 */
export function visible(text) {
  return String(text ?? "").replace(DECEIVING, (letter) => {
    const code = letter.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/**
 * An HTML element. `style` (custom properties), `data` and `on` are handled specially; the rest are properties or
 * attributes, left out when null or false.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props|null} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  dress(element, props);
  append(element, children);
  return element;
}

/**
 * An SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props|null} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, props, ...children) {
  const element = /** @type {SVGElementTagNameMap[K]} */ (document.createElementNS(SVG, tag));
  dress(element, props);
  append(element, children);
  return element;
}

/** @param {Element} element @param {Props|null|undefined} props */
function dress(element, props) {
  if (!props) return;
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") listen(element, value);
    else if (name === "data") Object.assign(/** @type {HTMLElement} */ (element).dataset, value);
    else if (name === "style") styled(/** @type {HTMLElement} */ (element), value);
    else if (name === "href") element.setAttribute("href", ownPath(value));
    else if (PROPERTIES.has(name)) Reflect.set(element, name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** @param {string} path */
function ownPath(path) {
  if (/^\/(?!\/)/.test(path) || path.startsWith("#")) return path;
  throw new Error(`A link must lead to a path of this origin, not to ${JSON.stringify(path)}.`);
}

/** @param {HTMLElement} element @param {Record<string, string|number>} values */
export function styled(element, values) {
  for (const [name, value] of Object.entries(values)) element.style.setProperty(name, String(value));
}

/** @param {Element} element @param {Record<string, (event: any) => unknown>} handlers */
function listen(element, handlers) {
  const known = Reflect.get(element, HANDLERS) ?? {};
  Reflect.set(element, HANDLERS, { ...known, ...handlers });
  for (const type of Object.keys(handlers)) if (!(type in known)) element.addEventListener(type, dispatch);
}

/** @this {Element} @param {Event} event */
function dispatch(event) {
  Reflect.get(this, HANDLERS)?.[event.type]?.(event);
}

/** @param {Node} parent @param {Child[]} children */
function append(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Gives `parent` these `children`, reusing existing elements and thus keeping focus and scroll position.
 * Elements are matched by `data-key`, otherwise by position and tag; one with `data-keep` is not changed inside.
 * @param {Element} parent @param {...Child} children
 */
export function patch(parent, ...children) {
  const holder = document.createDocumentFragment();
  append(holder, children);
  patchChildren(parent, [...holder.childNodes]);
}

/** An element that manages its own content (`data-keep`), as a child for `patch`. @param {HTMLElement} element */
export function kept(element) {
  return element.isConnected ? element.cloneNode(false) : element;
}

/** @param {Element} parent @param {ChildNode[]} wanted */
function patchChildren(parent, wanted) {
  /** @type {Map<string, Element>} */
  const keyed = new Map();
  for (const child of parent.children) {
    const key = /** @type {HTMLElement} */ (child).dataset?.key;
    if (key) keyed.set(key, child);
  }
  let cursor = parent.firstChild;
  for (const next of wanted) {
    const old = counterpart(cursor, next, keyed);
    if (!old) {
      parent.insertBefore(next, cursor);
      continue;
    }
    if (old !== cursor) parent.insertBefore(old, cursor);
    else cursor = cursor.nextSibling;
    if (old !== next) morph(old, next);
  }
  while (cursor) {
    const after = cursor.nextSibling;
    cursor.remove();
    cursor = after;
  }
}

/** @param {ChildNode|null} cursor @param {ChildNode} next @param {Map<string, Element>} keyed @returns {ChildNode|null} */
function counterpart(cursor, next, keyed) {
  const key = next instanceof HTMLElement ? next.dataset.key : undefined;
  if (key) {
    const found = keyed.get(key);
    keyed.delete(key);
    return found && found.nodeName === next.nodeName ? found : null;
  }
  if (!cursor || cursor.nodeName !== next.nodeName) return null;
  if (cursor instanceof HTMLElement && cursor.dataset.key) return null;
  return cursor;
}

/** Makes an element equal to another of the same tag. @param {ChildNode} old @param {ChildNode} next */
export function morph(old, next) {
  if (!(old instanceof Element) || !(next instanceof Element)) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  if (old instanceof HTMLElement && old.dataset.keep !== undefined) return;
  for (const { name } of [...old.attributes]) {
    if (name === "style" || (name === "open" && old.nodeName === "DETAILS")) continue;
    if (!next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (name === "open" && old.nodeName === "DETAILS") continue;
    if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  restyle(/** @type {HTMLElement} */ (old), /** @type {HTMLElement} */ (next));
  morphField(old, next);
  listenAgain(old, Reflect.get(next, HANDLERS) ?? {});
  patchChildren(old, [...next.childNodes]);
}

/** @param {HTMLElement} old @param {HTMLElement} next */
function restyle(old, next) {
  if (old.style.cssText === next.style.cssText) return;
  for (const name of [...old.style]) if (!next.style.getPropertyValue(name)) old.style.removeProperty(name);
  for (const name of next.style) old.style.setProperty(name, next.style.getPropertyValue(name));
}

/** @param {Element} old @param {Record<string, (event: any) => unknown>} handlers */
function listenAgain(old, handlers) {
  for (const type of Object.keys(handlers)) {
    old.removeEventListener(type, dispatch);
    old.addEventListener(type, dispatch);
  }
  Reflect.set(old, HANDLERS, handlers);
}

/** Does not overwrite a field that has the focus. @param {Element} old @param {Element} next */
function morphField(old, next) {
  for (const name of ["checked", "disabled", "indeterminate", "selected"]) {
    if (name in old && Reflect.get(old, name) !== Reflect.get(next, name)) {
      Reflect.set(old, name, Reflect.get(next, name));
    }
  }
  const typed = old instanceof HTMLInputElement || old instanceof HTMLTextAreaElement;
  if (typed && old !== document.activeElement && old.value !== Reflect.get(next, "value")) {
    old.value = Reflect.get(next, "value");
  }
}

/** Whether a key press belongs to a field rather than the page. @param {EventTarget|null} target */
export function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
    && !(target instanceof HTMLInputElement && target.type === "checkbox");
}
