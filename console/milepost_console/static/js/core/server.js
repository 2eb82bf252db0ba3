// What the server said about itself: its version, whether it is a dev server or a stack, and what it lets people do.

/** @type {import("./types.js").Info|null} */
let info = null;

/** @param {import("./types.js").Info} told */
export function setInfo(told) {
  info = told;
}

/** Whether the server allows something; what it does not mention it allows. @param {string} act */
export function can(act) {
  return info?.can?.[act] !== false;
}

export function isStack() {
  return info?.mode === "stack";
}
