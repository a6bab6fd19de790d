// The lines of a rider's speed along time. Pure; unit-tested.

import { alongTime } from "../along_time.js";

/** @param {any[]} points of a track @returns {(number | null)[][]} by time, each instant once; null in the middle of a gap */
export function speedSeries(points) {
  const kmh = (/** @type {number | null} */ mps) => (mps === null ? null : mps * 3.6);
  /** @type {(number | null)[][]} */
  const series = [[], [], [], []];
  let before = 0;
  for (const { point, afterGap } of alongTime(points)) {
    const at = point.event_timestamp_ms / 1000;
    if (afterGap) series.forEach((one, row) => one.push(row ? null : (at + before) / 2));
    [at, kmh(point.speed_mps), kmh(point.path_speed_mps), kmh(point.device_speed_mps)].forEach((value, row) => series[row].push(value));
    before = at;
  }
  return series;
}
