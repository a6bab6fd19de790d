// The lines of a rider's speed along time. Pure; unit-tested.

/** Between two pings that are further apart nothing is known of the speed: a line would invent it. */
const GAP_S = 60;
const GAP_INTERVALS = 10;

/** @param {any[]} points of a track @returns {(number | null)[][]} by time, each instant once */
export function speedSeries(points) {
  const byTime = new Map();
  for (const point of points) byTime.set(point.event_timestamp_ms, point);
  const sorted = [...byTime.values()].sort((a, b) => a.event_timestamp_ms - b.event_timestamp_ms);
  const kmh = (/** @type {number | null} */ mps) => (mps === null ? null : mps * 3.6);
  const times = sorted.map((point) => point.event_timestamp_ms / 1000);
  const gap = gapOf(times);
  /** @type {(number | null)[][]} */
  const series = [[], [], [], []];
  sorted.forEach((point, index) => {
    const at = times[index];
    if (index > 0 && at - times[index - 1] > gap) series.forEach((one, row) => one.push(row ? null : (at + times[index - 1]) / 2));
    [at, kmh(point.speed_mps), kmh(point.path_speed_mps), kmh(point.device_speed_mps)].forEach((value, row) => series[row].push(value));
  });
  return series;
}

/** What is a gap among pings that come as they do: a rider that sends every few minutes has a line too.
 * @param {number[]} times sorted, in seconds */
function gapOf(times) {
  const steps = times.slice(1).map((at, index) => at - times[index]).sort((a, b) => a - b);
  return Math.max(GAP_S, GAP_INTERVALS * (steps[Math.floor(steps.length / 2)] ?? 0));
}
