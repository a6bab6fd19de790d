// Pure geometry of the map: Web Mercator in [0, 1], and a view of it in pixels. Unit-tested by `node --test`.

const MAX_LATITUDE = 85.0511;

/** @typedef {{x: number, y: number, scale: number}} View centre in [0, 1], pixels a world width */

/** @param {number} latitude degrees @param {number} longitude degrees @returns {[number, number]} */
export function project(latitude, longitude) {
  const clamped = Math.max(-MAX_LATITUDE, Math.min(MAX_LATITUDE, latitude));
  const sine = Math.sin((clamped * Math.PI) / 180);
  return [longitude / 360 + 0.5, 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)];
}

/** @param {number} y @returns {number} degrees */
export function latitudeOf(y) {
  return (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
}

/** The view that shows all points with a margin. @param {[number, number][]} points projected
 * @param {number} width @param {number} height @param {number} margin pixels @returns {View | null} */
export function fit(points, width, height, margin) {
  if (!points.length) return null;
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  const wide = Math.max(right - left, 1e-5);
  const high = Math.max(bottom - top, 1e-5);
  const scale = Math.min(Math.max(60, width - 2 * margin) / wide, Math.max(60, height - 2 * margin) / high);
  return { x: (left + right) / 2, y: (top + bottom) / 2, scale };
}

/** The points without the farthest few percent: one rider with a broken phone must not shrink the city.
 * @param {[number, number][]} points projected @param {number} share kept, 0 to 1 @returns {[number, number][]} */
export function core(points, share) {
  if (points.length < 8) return points;
  const middle = (/** @type {number} */ axis) => points.map((p) => p[axis]).sort((a, b) => a - b)[points.length >> 1];
  const [mx, my] = [middle(0), middle(1)];
  const far = (/** @type {[number, number]} */ p) => Math.max(Math.abs(p[0] - mx), Math.abs(p[1] - my));
  return [...points].sort((a, b) => far(a) - far(b)).slice(0, Math.ceil(points.length * share));
}

/** @param {View} view @param {number} width @param {number} height @param {number} x @param {number} y
 * @returns {[number, number]} pixels */
export function toPixels(view, width, height, x, y) {
  return [(x - view.x) * view.scale + width / 2, (y - view.y) * view.scale + height / 2];
}

/** The view after a zoom that keeps the point under the pointer. @param {View} view @param {number} factor
 * @param {number} dx pixels from the centre @param {number} dy @returns {View} */
export function zoomed(view, factor, dx, dy) {
  const scale = Math.max(300, Math.min(view.scale * factor, 4e8));
  const moved = 1 / view.scale - 1 / scale;
  return { x: view.x + dx * moved, y: view.y + dy * moved, scale };
}

/** Metres a pixel at the centre of the view. @param {View} view */
export function metresPerPixel(view) {
  return (40_075_016.7 * Math.cos((latitudeOf(view.y) * Math.PI) / 180)) / view.scale;
}

/** A round length of at most `metres`. @param {number} metres */
export function roundLength(metres) {
  const power = 10 ** Math.floor(Math.log10(metres));
  const lead = metres / power;
  return (lead >= 5 ? 5 : lead >= 2 ? 2 : 1) * power;
}

/** Below 6 to 8 m a step says nothing: a phone at rest must not turn around. */
const LEAST_STEP = 2e-7;

/** Direction from one projected point to another in radians, 0 = right, clockwise; null if they are too close.
 * @param {[number, number]} from @param {[number, number]} to */
export function heading(from, to) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  return Math.hypot(dx, dy) < LEAST_STEP ? null : Math.atan2(dy, dx);
}

const TILE_PX = 256;
const MAX_TILE_ZOOM = 19;

/** The tiles of the zoom that fits a view best, each with its square in pixels. @param {View} view
 * @param {number} width @param {number} height
 * @returns {{z: number, x: number, y: number, at: {x: number, y: number, size: number}}[]} */
export function tilesInView(view, width, height) {
  const z = Math.max(0, Math.min(MAX_TILE_ZOOM, Math.round(Math.log2(view.scale / TILE_PX))));
  const count = 2 ** z;
  const size = view.scale / count;
  const [left, top] = toPixels(view, width, height, 0, 0);
  const within = (/** @type {number} */ from, /** @type {number} */ length) =>
    /** @type {const} */ ([Math.max(0, Math.floor(-from / size)), Math.min(count - 1, Math.floor((length - from) / size))]);
  const [firstX, lastX] = within(left, width);
  const [firstY, lastY] = within(top, height);
  const found = [];
  for (let y = firstY; y <= lastY; y += 1) {
    for (let x = firstX; x <= lastX; x += 1) found.push({ z, x, y, at: { x: left + x * size, y: top + y * size, size } });
  }
  return found;
}

/** Which part of the tile that is `up` zooms above shows a tile, as shares of its side.
 * @param {number} x @param {number} y @param {number} up */
export function tileSource(x, y, up) {
  const size = 1 / 2 ** up;
  return { x: (x % 2 ** up) * size, y: (y % 2 ** up) * size, size };
}
