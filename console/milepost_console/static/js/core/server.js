// What the server reports about itself: version, dev server or stack, and capabilities.

/** @type {import("./types.js").Info|null} */
let info = null;

/** @type {() => void} */
let known = () => {};
const knows = /** @type {Promise<void>} */ (new Promise((resolve) => { known = resolve; }));

/** @param {import("./types.js").Info} read */
export function setInfo(read) {
  info = read;
  known();
}

/** Resolves once the server's information is known. */
export function whenKnown() {
  return knows;
}

/** Whether the server has a capability; those it does not list count as available. @param {string} act */
export function can(act) {
  return info?.can?.[act] !== false;
}

export function stackName() {
  return info?.stack ?? "milepost";
}

export function isStack() {
  return info?.mode === "stack";
}
