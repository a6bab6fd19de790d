import assert from "node:assert/strict";
import { test } from "node:test";
import { core, fit, heading, latitudeOf, metresPerPixel, project, roundLength, toPixels, zoomed } from "../../../infrastructure/http/web/geo.js";

test("a projected latitude comes back", () => {
  for (const latitude of [-60, -1, 0, 41.39, 52.52, 80]) assert.ok(Math.abs(latitudeOf(project(latitude, 13)[1]) - latitude) < 1e-9);
});

test("a view shows every point within its margin", () => {
  const points = [project(41.3, 2.1), project(41.5, 2.3), project(41.4, 2.0)];
  const view = fit(points, 800, 600, 50);
  for (const [x, y] of points) {
    const [px, py] = toPixels(view, 800, 600, x, y);
    assert.ok(px >= 49 && px <= 751 && py >= 49 && py <= 551);
  }
  assert.equal(fit([], 800, 600, 50), null);
  assert.ok(Number.isFinite(fit([points[0]], 800, 600, 50).scale));
});

test("one rider far away does not shrink the city", () => {
  const city = Array.from({ length: 99 }, (_, index) => project(41 + index / 1e4, 2));
  const kept = core([...city, project(0, 0)], 0.97);
  assert.ok(kept.every(([x]) => x > 0.505));
});

test("a zoom keeps the point under the pointer", () => {
  const view = { x: 0.5, y: 0.4, scale: 1e6 };
  const before = [view.x + 100 / view.scale, view.y - 50 / view.scale];
  const [px, py] = toPixels(zoomed(view, 2, 100, -50), 0, 0, ...before);
  assert.ok(Math.abs(px - 100) < 1e-3 && Math.abs(py + 50) < 1e-3);
});

test("a scale is a round length that fits", () => {
  assert.deepEqual([1, 4.9, 7, 1999, 2000].map(roundLength), [1, 2, 5, 1000, 2000]);
  assert.ok(metresPerPixel({ x: 0.5, y: 0.5, scale: 40_075_016.7 }) - 1 < 1e-9);
});

test("a phone at rest has no heading, and the heading follows the screen", () => {
  const here = project(41.39, 2.17);
  assert.equal(heading(here, project(41.390001, 2.17)), null);
  assert.ok(Math.abs(heading(here, project(41.39, 2.18))) < 1e-9);
  assert.ok(Math.abs(heading(here, project(41.4, 2.17)) + Math.PI / 2) < 1e-6);
});
