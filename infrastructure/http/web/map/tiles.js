// Tiles of another host under the map, by the setting `map_tiles`; without it this layer asks for nothing.

import { tilesInView, tileSource } from "../geo.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** `failedMs`: since when it could not be had, on the clock of frames. @typedef {{image: HTMLImageElement,
 *   state: "loading" | "loaded" | "failed", failedMs: number}} Tile */

/** Where the image of a tile is; null: there is none. @typedef {(z: number, x: number, y: number) => Promise<string | null>} AddressOf */

/** Tiles that are kept, the last used: a screen of 4K shows at most 300. */
const MAX_KEPT = 600;
/** A tile without one above it is asked for again after so long: its server may have been unavailable. */
const RETRY_MS = 60_000;

/** Tiles that are images of their own. @param {string} template an address with {z}, {x} and {y} @returns {AddressOf} */
export const byTemplate = (template) => async (z, x, y) =>
  template.replaceAll("{z}", String(z)).replaceAll("{x}", String(x)).replaceAll("{y}", String(y));

/** @implements {Layer} */
export class Tiles {
  /** By their zoom and place, the last used last. @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {AddressOf | null} */
  #addressOf = null;
  #draw;

  /** @param {() => void} draw called when a tile has come */
  constructor(draw) {
    this.#draw = draw;
  }

  /** Tiles that have come. */
  get loaded() {
    return [...this.#tiles.values()].filter(({ state }) => state === "loaded").length;
  }

  /** @param {AddressOf | null} addressOf */
  set(addressOf) {
    this.#addressOf = addressOf;
    this.#tiles.clear();
  }

  /** @type {Layer["paint"]} */
  paint(surface) {
    if (!this.#addressOf || !surface.view) return;
    const { context: c, view, width, height } = surface;
    c.globalAlpha = surface.tileOpacity;
    for (const { z, x, y, at } of tilesInView(view, width, height)) {
      const found = this.#nearest(z, x, y);
      if (!found) continue;
      const { image, part } = found;
      const size = image.naturalWidth;
      // On whole pixels: between tiles on parts of pixels there would be lines.
      const [left, top] = [Math.round(at.x), Math.round(at.y)];
      const [wide, high] = [Math.round(at.x + at.size) - left, Math.round(at.y + at.size) - top];
      c.drawImage(image, part.x * size, part.y * size, part.size * size, part.size * size, left, top, wide, high);
    }
    c.globalAlpha = 1;
    for (const key of this.#tiles.keys()) {
      if (this.#tiles.size <= MAX_KEPT) break;
      this.#tiles.delete(key);
    }
  }

  /** The tile, or while it is not there the nearest one above it that is, and which part of it is meant.
   * @param {number} z @param {number} x @param {number} y */
  #nearest(z, x, y) {
    let isAsked = false;
    for (let up = 0; up <= z; up += 1) {
      const key = [z - up, x >> up, y >> up].join("/");
      let tile = this.#tiles.get(key);
      // A tile that does not exist, below the last zoom of its server, is asked for one zoom above.
      if (!tile && !isAsked) tile = this.#load(key);
      if (!tile) continue;
      this.#tiles.delete(key);
      this.#tiles.set(key, tile);
      if (tile.state === "loaded") return { image: tile.image, part: tileSource(x, y, up) };
      if (tile.state === "loading") isAsked = true;
    }
    const own = [z, x, y].join("/");
    const failed = this.#tiles.get(own);
    if (failed?.state === "failed" && performance.now() - failed.failedMs > RETRY_MS) this.#tiles.delete(own);
    return null;
  }

  /** @param {string} key @returns {Tile} */
  #load(key) {
    const [z, x, y] = key.split("/").map(Number);
    const image = document.createElement("img");
    /** @type {Tile} */
    const tile = { image, state: "loading", failedMs: 0 };
    const ended = (/** @type {"loaded" | "failed"} */ state) => () => {
      tile.state = state;
      tile.failedMs = performance.now();
      this.#draw();
    };
    image.onload = ended("loaded");
    image.onerror = ended("failed");
    // The address of this page without its query, which has no rider: public tile servers want to know who asks.
    image.referrerPolicy = "strict-origin";
    const addressOf = /** @type {AddressOf} */ (this.#addressOf);
    addressOf(z, x, y).then((found) => {
      if (found === null) ended("failed")();
      else image.src = found;
    }, ended("failed"));
    return tile;
  }
}
