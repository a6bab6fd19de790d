// Pure functions that turn values into text. Unit-tested by `node --test`.

/** Characters of an id that show nothing or reorder the text around it, shown by their code point: controls, Unicode's
 * Default_Ignorable_Code_Point, separators other than the space, lone surrogates, private ones, and blanks with a name
 * of their own. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2800]/gu;
/** More marks above and below one letter than any language has would be drawn over the lines around it. */
const PILED_MARKS = /(\p{M}{4})\p{M}+/gu;

/** @param {string} id @returns {string} */
export function visible(id) {
  return id
    .replace(HIDDEN, (c) => `⟨U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟩`)
    .replace(PILED_MARKS, (marks, first) => `${first}⟨+${[...marks].length - 4} marks⟩`);
}

/** @param {number | null | undefined} mps metres a second */
export function speed(mps) {
  return mps === null || mps === undefined ? "–" : `${(mps * 3.6).toFixed(1)} km/h`;
}

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.round(Math.abs(seconds));
  const sign = seconds < 0 ? "−" : "";
  if (whole < 60) return `${sign}${whole} s`;
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
  return `${sign}${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** @param {number | null | undefined} seconds age, short */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.95) return `${Math.round(seconds * 10) / 10} s`;
  return duration(seconds);
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** @param {number | null | undefined} value */
export function count(value) {
  return value === null || value === undefined ? "–" : WHOLE.format(Math.round(value));
}

/** @param {number} perSecond */
export function rate(perSecond) {
  return `${perSecond < 10 ? perSecond.toFixed(1) : count(perSecond)}/s`;
}

const TIME = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
/** By zone: a formatter takes longer to make than to use a hundred times, and a panel shows fifty times an instant.
 * @type {Map<string | undefined, Intl.DateTimeFormat>} */
const clocks = new Map();

/** @param {string | undefined} zone @returns {Intl.DateTimeFormat} */
function clockOf(zone) {
  let found = clocks.get(zone);
  if (!found) {
    try {
      found = new Intl.DateTimeFormat("en-GB", { ...TIME, timeZone: zone });
    } catch {
      found = new Intl.DateTimeFormat("en-GB", TIME);
    }
    clocks.set(zone, found);
  }
  return found;
}

/** @param {number | null | undefined} ms epoch @param {string} [zone] IANA name; the viewer's if absent */
export function clock(ms, zone) {
  return ms === null || ms === undefined ? "–" : clockOf(zone).format(ms);
}

const DAYS = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

const DAYS_OF_YEARS = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** The day; of another year than this one with its year. @param {number} ms epoch @param {number} [nowMs] */
export const day = (ms, nowMs = Date.now()) =>
  (new Date(ms).getFullYear() === new Date(nowMs).getFullYear() ? DAYS : DAYS_OF_YEARS).format(ms);

/** A place as a map program takes it, to about a metre. @param {{latitude: number, longitude: number}} place in degrees */
export const coordinates = ({ latitude, longitude }) => `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;

/** Text of a code such as `too_inaccurate`. @param {string} code */
export function words(code) {
  return code.replaceAll("_", " ");
}
