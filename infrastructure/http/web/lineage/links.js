// Pure functions of causes and effects: names of links, and what an answer on record differs in. Unit-tested.

import { segment } from "../api.js";
import { clock, count, duration, words } from "../format.js";

/** The panels of causes and effects: each is about one thing that `/lineage` answers, by the name of its panel.
 * @type {Record<string, string>} */
export const FOLDERS = { event: "events", eta: "etas", evidence: "alerts", payout: "payouts", command: "commands" };

/** The route that answers what a panel is about, relative to the page. @param {string} panel @param {string} id */
export const routeOf = (panel, id) => `lineage/${FOLDERS[panel]}/${segment(id)}`;

/** Words of a type such as `LegStarted`; `GpsPing` is a ping. @param {string} type */
export function eventWords(type) {
  if (type === "GpsPing") return "ping";
  return type.replaceAll(/(?<!^)([A-Z])/g, " $1").toLowerCase().replace("eta ", "ETA ");
}

/** How late a ping came. @param {number | null} ms reception less the time as sent */
export function lateness(ms) {
  if (ms === null) return "unknown";
  const seconds = Math.abs(ms) / 1000;
  const length = seconds < 60 ? `${seconds.toFixed(1)} s` : duration(seconds);
  return ms < 0 ? `${length} before its own time: the phone's clock is ahead` : length;
}

const VERDICTS = {
  accepted: "accepted",
  rejected: "rejected",
  too_late: "too late for the window: counted, not used for the speed",
  not_folded: "not processed: the rider is held back (parked), or the event was left out (discarded)",
};

/** What the fold of the speed did with a ping. @param {any} change */
export function verdictWords(change) {
  if (change.verdict === "rejected") return `rejected: ${words(change.reason)}`;
  if (change.verdict === "accepted") {
    return change.weight > 0 ? `accepted, weight ${change.weight.toFixed(2)}` : "accepted, without weight";
  }
  return VERDICTS[/** @type {keyof typeof VERDICTS} */ (change.verdict)] ?? words(change.verdict);
}

/** A signed duration: by how much an estimate moved. @param {number} seconds */
export const moved = (seconds) => `${seconds > 0 ? "+" : seconds < 0 ? "−" : ""}${duration(Math.abs(seconds))}`;

/** The ends of features' names that are units. The longer ones come first: `_s` is not the end of `_mps`.
 * @type {[string, string][]} */
const UNITS = [["_s_per_km", "s/km"], ["_mps", "m/s"], ["_m", "m"], ["_s", "s"], ["_h", "h"]];

/** @param {string} feature */
const unitOf = (feature) => UNITS.find(([end]) => feature.endsWith(end)) ?? ["", ""];

/** The name of a feature in words, without its unit, which is beside the value. @param {string} feature */
export const featureName = (feature) => words(feature.slice(0, feature.length - unitOf(feature)[0].length));

/** A value of a feature as text, with its unit. @param {string} feature @param {any} value */
export function featureText(feature, value) {
  if (value === null || value === undefined) return "unknown";
  if (typeof value === "number") return `${+value.toFixed(2)} ${unitOf(feature)[1]}`.trim();
  return words(String(value));
}

/** The answers along an order's life, each with the seconds by which it moved the hand-over; the largest moves first.
 * @param {any[]} items of `/deliveries/{order_id}/etas` @param {number} most @param {number} least seconds */
export function jumps(items, most, least) {
  const sorted = [...items].sort((a, b) => a.at_ms - b.at_ms || a.id - b.id);
  const found = [];
  for (let index = 1; index < sorted.length; index += 1) {
    const seconds = (sorted[index].hand_over_ms - sorted[index - 1].hand_over_ms) / 1000;
    if (Math.abs(seconds) >= least) found.push({ ...sorted[index], moved_seconds: seconds });
  }
  return found.sort((a, b) => Math.abs(b.moved_seconds) - Math.abs(a.moved_seconds)).slice(0, most);
}

/** @param {number} number @param {string} noun in the singular */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** An amount with its sign where it is an adjustment. @param {any} entry of a payout */
export function amountText(entry) {
  const sign = entry.kind === "adjustment" && entry.amount_minor > 0 ? "+" : "";
  return `${sign}${entry.amount} ${entry.currency}`;
}

/** One line of a link to an event. @param {any} link */
export const eventLine = (link) => `${eventWords(link.type)} ${clock(link.event_time_ms)}`;
