// Why a rider's latest ping is old: the rider is silent, or the pipeline is late. Pure; unit-tested.

import { clock, count, duration } from "../format.js";

/** A rider whose last ping is older needs an explanation. */
export const QUIET_MS = 30_000;
/** A phone whose last ping came so late was without a connection, and may hold back more. */
const OFFLINE_MS = 60_000;
const MINUTE_MS = 60_000;

/** What the last pings of other riders say. `sending`: how many of `all` sent one in the last minute.
 * @param {any[]} riders of the live map @param {string} id of this rider @param {number} nowMs */
export function othersSending(riders, id, nowMs) {
  const others = riders.filter((one) => one.rider_id !== id);
  return { all: others.length, sending: others.filter((one) => nowMs - one.event_timestamp_ms < MINUTE_MS).length };
}

/** @typedef {{cause: "pipeline" | "rider" | "phone" | "way", title: string, detail: string}} Silence */

/** The events that are recorded and not folded are asked for at the log itself, so the answer is of this rider, and no
 * guess from the state of a stage. @param {{ageMs: number | null, waiting: number, more: boolean, last: any,
 *   others: {all: number, sending: number}, position: number, advice: string}} found `waiting`: pings of the rider in the
 *   log after `position`, up to which its speed is folded; `more`: there are more; `last`: the ping that came last
 * @returns {Silence | null} null while the rider is not quiet, or nothing is known of it */
export function silenceOf({ ageMs, waiting, more, last, others, position, advice }) {
  if (waiting > 0) {
    const pings = `${count(waiting)}${more ? " or more" : ""} ${waiting === 1 ? "ping of this rider is" : "pings of this rider are"}`;
    return {
      cause: "pipeline",
      title: "The pipeline is late",
      detail: `${pings} recorded, and not in its speed yet, which has all events up to position ${count(position)}.${advice ? ` ${advice}` : ""}`,
    };
  }
  if (ageMs === null || ageMs < QUIET_MS) return null;
  const folded = `Every ping of it that is recorded is shown: nothing waits in the pipeline.`;
  const lastLateMs = last && last.received_timestamp_ms !== null ? last.received_timestamp_ms - last.event_timestamp_ms : null;
  const when = last ? `The last ping is of ${clock(last.event_timestamp_ms)}${last.received_timestamp_ms === null ? "" : ` and came at ${clock(last.received_timestamp_ms)}`}.` : "";
  if (others.all > 0 && others.sending === 0) {
    return {
      cause: "way",
      title: "No rider sends",
      detail: `None of ${count(others.all)} other riders on the map sent a ping in the last minute, so the way to this server is the likely cause, and not this phone. ${folded} ${when}`.trim(),
    };
  }
  if (lastLateMs !== null && lastLateMs > OFFLINE_MS) {
    return {
      cause: "phone",
      title: "The phone sends late",
      detail: `${when} It came ${duration(lastLateMs / 1000)} after its own time: the phone may hold back more. ${folded}`,
    };
  }
  const beside = others.all > 0 ? ` ${count(others.sending)} of ${count(others.all)} others on the map sent one in the last minute.` : "";
  return { cause: "rider", title: "The rider is silent", detail: `${folded} ${when}${beside}`.trim() };
}
