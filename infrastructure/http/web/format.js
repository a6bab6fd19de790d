// Pure functions that turn values into text. Unit-tested by `node --test`.

/** Control and direction characters of an id, shown by their code point: an id must not reorder the text around it. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** @param {string} id @returns {string} */
export function visible(id) {
  return id.replace(HIDDEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
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

/** @param {number | null | undefined} value */
export function count(value) {
  return value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en");
}

/** @param {number} perSecond */
export function rate(perSecond) {
  return `${perSecond < 10 ? perSecond.toFixed(1) : count(perSecond)}/s`;
}

/** @param {number | null | undefined} ms epoch @param {string} [zone] IANA name; the viewer's if absent */
export function clock(ms, zone) {
  if (ms === null || ms === undefined) return "–";
  const options = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  try {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }).format(ms);
  } catch {
    return new Intl.DateTimeFormat("en-GB", options).format(ms);
  }
}

/** @param {number} ms epoch */
export function day(ms) {
  return new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" }).format(ms);
}

/** Text of a code such as `too_inaccurate`. @param {string} code */
export function words(code) {
  return code.replaceAll("_", " ");
}
