// Numbers, durations and times as people read them.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A duration in at most two units: "1.50 s", "3 min 5 s", "2 days 4 h". @param {number|null|undefined} ms @returns {string} */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < SECOND) return `${Math.round(ms)} ms`;
  if (ms < 10 * SECOND) return `${(ms / SECOND).toFixed(2)} s`;
  if (ms < MINUTE) return `${(ms / SECOND).toFixed(1)} s`;
  if (ms < HOUR) return two(ms, MINUTE, "min", SECOND, "s");
  if (ms < DAY) return two(ms, HOUR, "h", MINUTE, "min");
  return two(ms, DAY, "day", HOUR, "h");
}

/** @param {number} ms @param {number} big @param {string} bigUnit @param {number} small @param {string} smallUnit */
function two(ms, big, bigUnit, small, smallUnit) {
  const whole = Math.round(ms / small) * small;
  const rest = Math.round((whole % big) / small);
  const count = Math.floor(whole / big);
  const text = bigUnit === "day" ? counted(count, "day") : `${count} ${bigUnit}`;
  return rest ? `${text} ${rest} ${smallUnit}` : text;
}

/** The distance from now: "12 s ago", "in 3 min". @param {number} ms */
export function relative(ms) {
  const size = Math.abs(ms);
  if (size < 1500 && ms <= 0) return "just now";
  const text = coarse(size);
  return ms > 0 ? `in ${text}` : `${text} ago`;
}

/** @param {number} ms */
function coarse(ms) {
  if (ms < MINUTE) return `${Math.max(1, Math.round(ms / SECOND))} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 2 * DAY) return `${Math.floor(ms / HOUR)} h`;
  return counted(Math.floor(ms / DAY), "day");
}

/** @type {Map<string, {full: Intl.DateTimeFormat, clock: Intl.DateTimeFormat, precise: Intl.DateTimeFormat, offset: Intl.DateTimeFormat}>} */
const formats = new Map();

/** A time in a zone, with the zone's name. @param {number} at @param {string} zone */
export function moment(at, zone) {
  let made = formats.get(zone);
  if (!made) {
    made = {
      full: new Intl.DateTimeFormat("en-GB", {
        timeZone: zone, day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
        second: "2-digit", fractionalSecondDigits: 3,
      }),
      clock: new Intl.DateTimeFormat("en-GB", {
        timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit",
      }),
      precise: new Intl.DateTimeFormat("en-GB", {
        timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
      }),
      offset: new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "shortOffset" }),
    };
    formats.set(zone, made);
  }
  return { full: `${made.full.format(at)} ${zoneName(at, zone)}`, clock: made.clock.format(at), precise: made.precise.format(at) };
}

/** "Europe/Paris (UTC+1)". @param {number} at @param {string} zone */
export function zoneName(at, zone) {
  if (zone === "UTC") return "UTC";
  const parts = (formats.get(zone)?.offset ?? new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "shortOffset" })).formatToParts(at);
  const offset = parts.find((part) => part.type === "timeZoneName")?.value ?? "";
  return `${zone} (${offset.replace("GMT", "UTC")})`;
}

/** "1 run", "12 runs". @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}

/** "99.5 %"; below "100 %" whenever anything failed. @param {number} part @param {number} whole */
export function share(part, whole) {
  if (!whole) return "–";
  if (part === whole) return "100 %";
  return `${Math.min(99.9, Math.floor((part / whole) * 1000) / 10).toFixed(1)} %`;
}

/** A size in bytes, KB or MB. @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

const LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** The time in a ULID, in milliseconds; null if the id is not a ULID. @param {string} id */
export function momentOf(id) {
  if (!/^[0-9A-HJKMNP-TV-Z]{26}$/.test(id)) return null;
  return [...id.slice(0, 10)].reduce((sum, letter) => sum * 32 + LETTERS.indexOf(letter), 0);
}

/** The end of an id, where it differs from similar ids. @param {string} id */
export function shortId(id) {
  return id.length > 14 ? `…${id.slice(-10)}` : id;
}
