// The layers of the map: what is painted above what, and which of them a click reaches first.

/** @typedef {import("./surface.js").Surface} Surface */
/** What every layer may look at. `nowMs`: the instant shown. `showsTraffic`: traffic is known for now only.
 * @typedef {{selected: Hit | null, nowMs: () => number, showsTraffic: boolean}} Scene */
/** Something that can be selected: `kind` is the name of the panel that shows it. @typedef {{kind: string, id: string}} Hit */
/** `paint` returns true while something still moves. `hit` finds what is at a pixel.
 * @typedef {{paint: (surface: Surface, scene: Scene, now: number) => boolean | void,
 *   hit?: (surface: Surface, x: number, y: number) => Hit | null}} Layer */

/** A pointer need not be nearer than this, times the growth of the surface. */
export const REACH_PX = 16;

/** Heights of the layers that the map always has. A panel's own layer goes between them. */
export const HEIGHTS = { grid: 0, tiles: 5, cells: 10, ways: 20, orders: 30, track: 40, riders: 50, scale: 90 };

export class Layers {
  /** @type {{name: string, height: number, layer: Layer}[]} */
  #all = [];

  /** Puts a layer in its place, or takes the one of that name out. @param {string} name @param {number} height
   * @param {Layer | null} layer */
  set(name, height, layer) {
    const others = this.#all.filter((one) => one.name !== name);
    this.#all = layer ? [...others, { name, height, layer }].sort((a, b) => a.height - b.height) : others;
  }

  /** Paints from the lowest to the highest. @param {Surface} surface @param {Scene} scene @param {number} now
   * @returns {boolean} whether something still moves */
  paint(surface, scene, now) {
    let moves = false;
    for (const { layer } of this.#all) if (layer.paint(surface, scene, now)) moves = true;
    return moves;
  }

  /** What the highest layer that has something there has there. @param {Surface} surface @param {number} x
   * @param {number} y @returns {Hit | null} */
  hit(surface, x, y) {
    for (const { layer } of [...this.#all].reverse()) {
      const found = layer.hit?.(surface, x, y);
      if (found) return found;
    }
    return null;
  }
}

/** The candidate nearest to a pixel, within reach. @param {Surface} surface @param {number} x @param {number} y
 * @param {Iterable<{hit: Hit, at: [number, number]}>} candidates @returns {Hit | null} */
export function nearest(surface, x, y, candidates) {
  let best = REACH_PX * surface.growth;
  let found = null;
  for (const { hit, at } of candidates) {
    const [px, py] = surface.pixels(at);
    const distance = Math.hypot(px - x, py - y);
    if (distance < best) [best, found] = [distance, hit];
  }
  return found;
}
