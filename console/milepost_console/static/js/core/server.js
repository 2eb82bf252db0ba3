// What the server said about itself: its version, whether it is a dev server or a stack, and what it lets people do.

/** @type {import("./types.js").Info|null} */
let info = null;

/** @type {() => void} */
let known = () => {};
const knows = /** @type {Promise<void>} */ (new Promise((resolve) => { known = resolve; }));

/** @param {import("./types.js").Info} told */
export function setInfo(told) {
  info = told;
  known();
}

/** Once the server has said what it is. */
export function whenKnown() {
  return knows;
}

/** Whether the server allows something; what it does not mention it allows. @param {string} act */
export function can(act) {
  return info?.can?.[act] !== false;
}

export function stackName() {
  return info?.stack ?? "milepost";
}

export function isStack() {
  return info?.mode === "stack";
}
