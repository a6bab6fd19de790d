// The one instant that everything on the page is shown at, and its form in the address. Pure; unit-tested.

export const AXES = ["event", "known", "position"];
/** @type {Record<string, string>} */
export const AXIS_NAMES = { event: "as it happened", known: "as known then", position: "by position" };
/** What an axis means, with the field's own term. @type {Record<string, string>} */
export const AXIS_MEANINGS = {
  event: "what had happened by then, also if it was reported later (valid time)",
  known: "what this server had recorded by then (transaction time)",
  position: "what the log had up to one event, by its number",
};
export const RATES = [1, 2, 5, 10, 20];
export const SPANS_MIN = [10, 60, 360, 1440];
/** What a replay by position counts as one event, at ×1. */
const MS_PER_EVENT = 5;

/** The panel that is open, by its name and what it is about: `{name: "rider", id: "anna"}`.
 * @typedef {{name: string, id: string}} OpenPanel */
/** `at`: epoch milliseconds, on the axis position a position; null = now
 * @typedef {{axis: string, at: number | null, panel: OpenPanel | null}} Place */

/** @param {string} search of the address @param {string[]} panels names of those that there are @returns {Place} */
export function parsePlace(search, panels) {
  const query = new URLSearchParams(search);
  const axis = query.get("axis") ?? "event";
  const at = query.get(axis === "position" ? "position" : "at");
  const number = at !== null && /^[0-9]{1,16}$/.test(at) ? Number(at) : null;
  const name = panels.find((one) => query.has(one));
  return {
    axis: AXES.includes(axis) ? axis : "event",
    at: AXES.includes(axis) ? number : null,
    panel: name === undefined ? null : { name, id: query.get(name) ?? "" },
  };
}

/** @param {Place} place @returns {string} search of the address, empty for now without a panel */
export function placeQuery(place) {
  const query = new URLSearchParams();
  if (place.axis !== "event") query.set("axis", place.axis);
  if (place.at !== null) query.set(place.axis === "position" ? "position" : "at", String(Math.round(place.at)));
  if (place.panel !== null) query.set(place.panel.name, place.panel.id);
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** The same moment on another axis, as well as it is known here. @param {Place} place @param {string} axis
 * @param {{ms: number, position: number | null}} shown the instant on the other axes @param {number} head
 * @returns {Partial<Place>} */
export function convert(place, axis, shown, head) {
  if (place.at === null) return { axis };
  if (axis === "position") return { axis, at: shown.position ?? head };
  return { axis, at: place.axis === "position" ? shown.ms : place.at };
}

/** The place after `ms` of replay; now, when it has arrived there. @param {Place} place @param {number} ms
 * @param {number} head @param {number} nowMs @returns {Place} */
export function played(place, ms, head, nowMs) {
  if (place.at === null) return place;
  const [step, end] = place.axis === "position" ? [ms / MS_PER_EVENT, head] : [ms, nowMs - 1000];
  return { ...place, at: place.at + step >= end ? null : place.at + step };
}

/** The query of a read as of the place; empty for now. @param {Place} place @returns {string} */
export function asOf(place) {
  if (place.at === null) return "";
  const at = Math.round(place.at);
  return place.axis === "position" ? `position=${at}` : `at=${at}&axis=${place.axis}`;
}
