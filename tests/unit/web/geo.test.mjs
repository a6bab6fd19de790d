import assert from "node:assert/strict";
import { test } from "node:test";
import { core, fit, heading, latitudeOf, metresPerPixel, project, roundLength, tileSource, tilesInView, toPixels, zoomed } from "../../../infrastructure/http/web/geo.js";

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
  assert.ok(kept.length >= 90);
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
  assert.ok(Math.abs(metresPerPixel({ x: 0.5, y: 0.5, scale: 40_075_016.7 }) - 1) < 1e-9);
});

test("a phone at rest has no heading, and the heading follows the screen", () => {
  const here = project(41.39, 2.17);
  assert.equal(heading(here, project(41.390001, 2.17)), null);
  assert.ok(Math.abs(heading(here, project(41.39, 2.18))) < 1e-9);
  assert.ok(Math.abs(heading(here, project(41.4, 2.17)) + Math.PI / 2) < 1e-6);
});

test("the tiles of a view cover it, and fit together", () => {
  for (const scale of [300, 5e4, 1.3e6, 4e8]) {
    const [x, y] = project(41.39, 2.17);
    const tiles = tilesInView({ x, y, scale }, 800, 600);
    const [z, size] = [tiles[0].z, tiles[0].at.size];
    assert.ok(z <= 19 && (z === 19 || z === 0 || (size >= 181 && size <= 363)));
    assert.ok(tiles.length <= 35);
    for (const tile of tiles) {
      assert.ok(tile.x >= 0 && tile.y >= 0 && tile.x < 2 ** z && tile.y < 2 ** z);
      assert.ok(tile.at.x < 800 && tile.at.x + size > 0 && tile.at.y < 600 && tile.at.y + size > 0);
    }
    const under = tiles.find(({ at }) => at.x <= 400 && at.x + size > 400 && at.y <= 300 && at.y + size > 300);
    assert.deepEqual([under.x, under.y], [Math.floor(x * 2 ** z), Math.floor(y * 2 ** z)]);
  }
});

test("a tile is a part of each tile above it", () => {
  assert.deepEqual(tileSource(5, 6, 0), { x: 0, y: 0, size: 1 });
  assert.deepEqual(tileSource(5, 6, 1), { x: 0.5, y: 0, size: 0.5 });
  assert.deepEqual(tileSource(5, 6, 2), { x: 0.25, y: 0.5, size: 0.25 });
});
