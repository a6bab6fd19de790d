// The pings of a track in the order of time, and which of them come after a gap. Pure; unit-tested.

/** Between two pings that are further apart nothing is known of the rider: a line would invent it. */
const GAP_S = 60;
const GAP_INTERVALS = 10;

/** `afterGap`: nothing is known of the time since the one before. @typedef {{point: any, afterGap: boolean}} Timed */

/** @param {any[]} points of a track @returns {Timed[]} by time, each instant once */
export function alongTime(points) {
  const byTime = new Map();
  for (const point of points) byTime.set(point.event_timestamp_ms, point);
  const sorted = [...byTime.values()].sort((a, b) => a.event_timestamp_ms - b.event_timestamp_ms);
  const steps = sorted.slice(1).map((point, index) => point.event_timestamp_ms - sorted[index].event_timestamp_ms);
  const gapMs = gapOf(steps);
  return sorted.map((point, index) => ({ point, afterGap: index > 0 && steps[index - 1] > gapMs }));
}

/** What is a gap among pings that come as they do: a rider that sends every few minutes has a line too.
 * @param {number[]} steps milliseconds from each ping to the next */
function gapOf(steps) {
  const sorted = [...steps].sort((a, b) => a - b);
  return Math.max(GAP_S * 1000, GAP_INTERVALS * (sorted[Math.floor(sorted.length / 2)] ?? 0));
}
