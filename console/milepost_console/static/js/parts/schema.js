// Checks a value against a JSON schema and makes examples; supports the part of JSON Schema that Pydantic writes.
//
// Only a hint while typing: the app validates again with the model itself.

/** @typedef {import("../core/types.js").Schema} Schema */
/** @typedef {{path: string, message: string}} Problem */

const MAX_DEPTH = 40;
const MAX_PROBLEMS = 20;

/** @type {Record<string, (value: any) => boolean>} */
const TYPES = {
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
  boolean: (value) => typeof value === "boolean",
  null: (value) => value === null,
};

/** @type {Record<string, RegExp>} */
const FORMATS = {
  "date-time": /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d/,
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d/,
  uuid: /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i,
  email: /^[^@\s]+@[^@\s]+$/,
  uri: /^[a-z][a-z0-9+.-]*:/i,
};

/** All problems, each with its path. @param {unknown} value @param {Schema} schema @returns {Problem[]} */
export function check(value, schema) {
  /** @type {Problem[]} */
  const problems = [];
  walk(value, schema, { root: schema, path: "", problems, depth: 0 });
  return problems.slice(0, MAX_PROBLEMS);
}

/** @typedef {{root: Schema, path: string, problems: Problem[], depth: number}} Position */

/** @param {Position} at @param {string} message */
function wrong(at, message) {
  at.problems.push({ path: at.path || "(root)", message });
}

/** @param {any} value @param {Schema} given @param {Position} at @returns {void} */
function walk(value, given, at) {
  if (given === true || at.depth > MAX_DEPTH || at.problems.length > MAX_PROBLEMS) return;
  if (given === false) return wrong(at, "must not be present");
  const schema = resolve(given, at.root);
  if (schema.allOf) for (const each of schema.allOf) walk(value, each, { ...at, depth: at.depth + 1 });
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) choose(value, choices, at);
  if ("const" in schema && !same(value, schema.const)) wrong(at, `must be ${JSON.stringify(schema.const)}`);
  if (schema.enum && !schema.enum.some((/** @type {unknown} */ each) => same(value, each))) wrong(at, `must be one of ${schema.enum.map((/** @type {unknown} */ each) => JSON.stringify(each)).join(", ")}`);
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length && !types.some((type) => TYPES[type]?.(value))) return wrong(at, `must be ${types.map(article).join(" or ")}, is ${article(nameOf(value))}`);
  if (typeof value === "string") checkText(value, schema, at);
  else if (typeof value === "number") checkNumber(value, schema, at);
  else if (Array.isArray(value)) checkList(value, schema, at);
  else if (value && typeof value === "object") checkObject(value, schema, at);
}

/** @param {any} value @param {Schema[]} choices @param {Position} at */
function choose(value, choices, at) {
  /** @type {Problem[]|null} */
  let nearest = null;
  for (const each of choices) {
    /** @type {Problem[]} */
    const problems = [];
    walk(value, each, { ...at, problems, depth: at.depth + 1 });
    if (!problems.length) return;
    const shallow = problems.some(({ path }) => path === (at.path || "(root)"));
    if (!shallow && !nearest) nearest = problems;
  }
  if (nearest) at.problems.push(...nearest);
  else wrong(at, `must be ${choices.map((each) => describe(each, at.root)).join(" or ")}`);
}

/** @param {string} value @param {Record<string, any>} schema @param {Position} at */
function checkText(value, schema, at) {
  const length = [...value].length;
  if (schema.minLength !== undefined && length < schema.minLength) wrong(at, `must have at least ${schema.minLength} characters`);
  if (schema.maxLength !== undefined && length > schema.maxLength) wrong(at, `must have at most ${schema.maxLength} characters`);
  if (schema.format in FORMATS && !FORMATS[schema.format].test(value)) wrong(at, `must be ${article(schema.format)}`);
  if (schema.pattern && pattern(schema.pattern)?.test(value) === false) wrong(at, `must match ${schema.pattern}`);
}

/** Null for patterns in Python's syntax that the browser cannot parse; those are not checked. @param {string} text */
function pattern(text) {
  try {
    return new RegExp(text, "u");
  } catch {
    return null;
  }
}

/** @param {number} value @param {Record<string, any>} schema @param {Position} at */
function checkNumber(value, schema, at) {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  if (minimum !== undefined && value < minimum) wrong(at, `must be at least ${minimum}`);
  if (maximum !== undefined && value > maximum) wrong(at, `must be at most ${maximum}`);
  if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) wrong(at, `must be more than ${exclusiveMinimum}`);
  if (exclusiveMaximum !== undefined && value >= exclusiveMaximum) wrong(at, `must be less than ${exclusiveMaximum}`);
  if (multipleOf && Math.abs(value / multipleOf - Math.round(value / multipleOf)) > 1e-9) wrong(at, `must be a multiple of ${multipleOf}`);
}

/** @param {unknown[]} value @param {Record<string, any>} schema @param {Position} at */
function checkList(value, schema, at) {
  if (schema.minItems !== undefined && value.length < schema.minItems) wrong(at, `must have at least ${schema.minItems} items`);
  if (schema.maxItems !== undefined && value.length > schema.maxItems) wrong(at, `must have at most ${schema.maxItems} items`);
  if (schema.uniqueItems && new Set(value.map((each) => JSON.stringify(each))).size < value.length) wrong(at, "must not contain duplicates");
  value.forEach((each, index) => {
    const of = schema.prefixItems?.[index] ?? schema.items;
    if (of !== undefined) walk(each, of, { ...at, path: `${at.path}[${index}]`, depth: at.depth + 1 });
  });
}

/** @param {Record<string, unknown>} value @param {Record<string, any>} schema @param {Position} at */
function checkObject(value, schema, at) {
  const under = (/** @type {string} */ name) => ({ ...at, path: at.path ? `${at.path}.${name}` : name, depth: at.depth + 1 });
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) wrong(under(name), "is missing");
  for (const [name, each] of Object.entries(value)) {
    if (Object.hasOwn(schema.properties ?? {}, name)) walk(each, schema.properties[name], under(name));
    else if (schema.additionalProperties === false) wrong(under(name), "is not a field of the model");
    else if (schema.additionalProperties !== undefined) walk(each, schema.additionalProperties, under(name));
  }
}

/** Follows `$ref`s within the document. @param {Record<string, any>} schema @param {Schema} root @returns {Record<string, any>} */
function resolve(schema, root) {
  let found = schema;
  for (let hops = 0; found.$ref && hops < MAX_DEPTH; hops++) {
    /** @type {any} */
    let target = root;
    for (const part of String(found.$ref).replace(/^#\/?/, "").split("/").filter(Boolean)) target = target?.[part.replaceAll("~1", "/").replaceAll("~0", "~")];
    const { $ref: _, ...rest } = found;
    found = target && typeof target === "object" ? { ...target, ...rest } : rest;
  }
  return found;
}

/** @param {unknown} one @param {unknown} other */
function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** @param {unknown} value */
function nameOf(value) {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/** @param {string} word */
function article(word) {
  if (word === "null") return word;
  return `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;
}

/** @param {Schema} schema @param {Schema} root */
function describe(schema, root) {
  if (typeof schema === "boolean") return "anything";
  const found = resolve(schema, root);
  if (found.title && found.type === "object") return `${article("object")} (${found.title})`;
  if (found.enum) return found.enum.map((/** @type {unknown} */ each) => JSON.stringify(each)).join(" or ");
  return found.type ? [found.type].flat().map(article).join(" or ") : "something else";
}

/** An example value. @param {Schema} schema @param {Schema} [root] @param {number} [depth] @returns {any} */
export function example(schema, root = schema, depth = 0) {
  if (typeof schema === "boolean" || depth > 8) return null;
  const found = resolve(schema, root);
  if ("default" in found) return found.default;
  if (found.examples?.length) return found.examples[0];
  if ("const" in found) return found.const;
  if (found.enum) return found.enum[0];
  const choice = (found.anyOf ?? found.oneOf)?.find((/** @type {any} */ each) => each.type !== "null") ?? found.allOf?.[0];
  if (choice) return example(choice, root, depth + 1);
  if (found.properties) {
    const names = Object.keys(found.properties).filter((name) => found.required?.includes(name) || !("default" in found.properties[name]));
    return Object.fromEntries(names.map((name) => [name, example(found.properties[name], root, depth + 1)]));
  }
  return exampleOfType([found.type].flat()[0], found, root, depth);
}

/** @param {string|undefined} type @param {Record<string, any>} schema @param {Schema} root @param {number} depth */
function exampleOfType(type, schema, root, depth) {
  if (type === "integer" || type === "number") return schema.minimum ?? (schema.exclusiveMinimum === undefined ? 1 : schema.exclusiveMinimum + 1);
  if (type === "boolean") return true;
  if (type === "array") return schema.items && schema.items !== true ? [example(schema.items, root, depth + 1)] : [];
  if (type === "object" || type === undefined) return {};
  if (type === "null") return null;
  const texts = { "date-time": "2026-01-31T09:00:00Z", date: "2026-01-31", time: "09:00:00", uuid: "123e4567-e89b-42d3-a456-426614174000", email: "someone@example.com", uri: "https://example.com/" };
  return Reflect.get(texts, schema.format ?? "") ?? "text";
}
