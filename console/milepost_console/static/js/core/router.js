// Maps paths to pages. A page mounts into an element; its signal aborts when the user leaves.

/**
 * @typedef {object} Visit
 * @property {HTMLElement} root
 * @property {Record<string, string>} params
 * @property {URLSearchParams} query
 * @property {AbortSignal} signal
 */
/** @typedef {{title: string, mount: (visit: Visit) => void|Promise<void>}} Page */
/** @typedef {{pattern: RegExp, area: string, load: () => Promise<Page>}} Route */

/** @type {AbortController|null} */
let current = null;
/** @type {Route[]} */
let routes = [];
/** @type {(area: string, title: string) => void} */
let arrived = () => {};

/** @param {Route[]} table @param {(area: string, title: string) => void} onArrival */
export function startRouter(table, onArrival) {
  routes = table;
  arrived = onArrival;
  addEventListener("popstate", show);
  document.addEventListener("click", followLink);
  return show();
}

/** @param {MouseEvent} event */
function followLink(event) {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a[href^='/']") : null;
  if (!link || link.hasAttribute("download") || link.hasAttribute("target")) return;
  event.preventDefault();
  go(/** @type {string} */ (link.getAttribute("href")));
}

/** @param {string} path */
export function go(path) {
  if (path !== location.pathname + location.search) history.pushState(null, "", path);
  scrollTo(0, 0);
  void show(true);
}

/** Changes the address without leaving the page. @param {string} path */
export function rename(path) {
  history.replaceState(history.state, "", path);
}

/** @param {unknown} [byUser] */
async function show(byUser) {
  const path = location.pathname;
  const route = routes.find(({ pattern }) => pattern.test(path)) ?? routes[0];
  current?.abort();
  const visit = new AbortController();
  current = visit;
  // A server of another version has other files: reload the whole page.
  const page = await route.load().catch(() => null);
  if (!page) return void (visit.signal.aborted || location.assign(path + location.search));
  if (visit.signal.aborted) return;
  const root = /** @type {HTMLElement} */ (document.getElementById("page"));
  root.replaceChildren();
  root.className = `page page-${route.area}`;
  arrived(route.area, page.title);
  if (byUser) root.focus({ preventScroll: true });
  const params = Object.fromEntries(
    Object.entries(route.pattern.exec(path)?.groups ?? {}).map(([name, value]) => [name, decode(value)]),
  );
  await page.mount({ root, params, query: new URLSearchParams(location.search), signal: visit.signal });
}

/** @param {string|undefined} text */
function decode(text) {
  try {
    return decodeURIComponent(text ?? "");
  } catch {
    return text ?? "";
  }
}

/** @param {string} title */
export function setTitle(title) {
  document.title = title ? `${title} · Milepost` : "Milepost";
}
