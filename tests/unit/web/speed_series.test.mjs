// The lines of a rider's speed along time, with their gaps.

import assert from "node:assert/strict";
import { test } from "node:test";
import { speedSeries } from "../../../infrastructure/http/web/panels/speed_series.js";

/** @param {number[]} seconds */
const points = (...seconds) => seconds.map((at) => ({
  event_timestamp_ms: at * 1000, speed_mps: 10, path_speed_mps: 5, device_speed_mps: null,
}));

test("speeds are in km/h, by time, each instant once", () => {
  assert.deepEqual(speedSeries(points(2, 1, 2)), [[1, 2], [36, 36], [18, 18], [null, null]]);
});

test("a line ends where nothing was sent for long, and begins after it", () => {
  assert.deepEqual(speedSeries(points(0, 1, 2, 302, 303)), [
    [0, 1, 2, 152, 302, 303], [36, 36, 36, null, 36, 36], [18, 18, 18, null, 18, 18], [null, null, null, null, null, null],
  ]);
});

test("a rider that sends every few minutes has a line all the same", () => {
  assert.deepEqual(speedSeries(points(0, 180, 360))[1], [36, 36, 36]);
});

test("without pings there is no line", () => {
  assert.deepEqual(speedSeries([]), [[], [], [], []]);
});
