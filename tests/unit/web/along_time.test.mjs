// The pings of a track along time, and the track on the map: one rule says what a gap is, for the map and the chart.

import assert from "node:assert/strict";
import { test } from "node:test";
import { alongTime } from "../../../infrastructure/http/web/along_time.js";
import { Track } from "../../../infrastructure/http/web/map/orders.js";

/** @param {number[]} seconds */
const points = (...seconds) => seconds.map((at) => ({ event_timestamp_ms: at * 1000, latitude: 41 + at / 1000, longitude: 2 }));

/** A surface that records each stroke: how many lines, of which look. @param {number} growth */
function recorder(growth) {
  /** @type {any[]} */
  const strokes = [];
  let lines = 0;
  let dash = /** @type {number[]} */ ([]);
  const context = {
    strokes,
    beginPath: () => { lines = 0; },
    moveTo: () => {},
    lineTo: () => { lines += 1; },
    setLineDash: (/** @type {number[]} */ next) => { dash = next; },
    stroke() { strokes.push({ lines, dash, width: this.lineWidth }); },
    fillRect: (/** @type {number} */ _x, /** @type {number} */ _y, /** @type {number} */ side) => { strokes.push({ side }); },
    lineWidth: 0,
  };
  return { context, colours: {}, growth, pixels: (/** @type {any} */ at) => at };
}

test("pings are in the order of time, each instant once, with their gaps", () => {
  const found = alongTime(points(302, 0, 1, 2, 2, 303));
  assert.deepEqual(found.map(({ point }) => point.event_timestamp_ms / 1000), [0, 1, 2, 302, 303]);
  assert.deepEqual(found.map(({ afterGap }) => afterGap), [false, false, false, true, false]);
});

test("a rider that sends every few minutes has no gaps", () => {
  assert.ok(alongTime(points(0, 180, 360)).every(({ afterGap }) => !afterGap));
});

test("the track on the map is dashed across a gap, and whole elsewhere", () => {
  const track = new Track();
  track.set(points(0, 1, 2, 302, 303));
  const surface = recorder(1);
  track.paint(/** @type {any} */ (surface), /** @type {any} */ ({}), 0);
  assert.deepEqual(surface.context.strokes.slice(0, 2), [{ lines: 3, dash: [], width: 2 }, { lines: 1, dash: [2, 6], width: 1 }]);
});

test("lines, dashes and marks of a track grow with the screen", () => {
  const track = new Track();
  track.set(points(0, 1, 2, 302));
  const surface = recorder(2);
  track.paint(/** @type {any} */ (surface), /** @type {any} */ ({}), 0);
  assert.deepEqual(surface.context.strokes, [
    { lines: 2, dash: [], width: 4 }, { lines: 1, dash: [4, 12], width: 2 }, { side: 6 }, { side: 6 }, { side: 6 }, { side: 6 },
  ]);
});
