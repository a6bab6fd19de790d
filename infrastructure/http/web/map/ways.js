// The ways that riders took: the streets, as far as they are known here. They are painted once on a canvas of their own
// that is larger than the map, and copied while the map glides: 6,000 lines with round ends cost 25 ms a frame where the
// processor draws.

import * as geo from "../geo.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./surface.js").Point} Point */
/** @typedef {import("./surface.js").Surface} Surface */
/** @typedef {{view: geo.View, size: string, colour: string}} Made */

/** Ways that are known, the newest. */
const MAX_WAYS = 6000;
/** A longer step is a gap in the pings and no street. */
const LONGEST_WAY = 6e-6;
const WIDTH_PX = 5;
/** New ways are added to the picture together: each change of it costs as much as a frame. */
const ADD_MS = 1000;
/** So far the map may glide before all is painted again. */
const MARGIN_PX = 200;

/** @implements {Layer} */
export class Ways {
  /** @type {[Point, Point][]} */
  #ways = [];
  /** How many of them the picture has, and when the last were added. */
  #painted = 0;
  #addedMs = 0;
  #picture = document.createElement("canvas");
  /** A copy that cannot change, which a browser draws without looking at the picture; null until it is made.
   * @type {ImageBitmap | null} */
  #copy = null;
  /** What the picture was painted for; null before that. @type {Made | null} */
  #made = null;

  /** @param {Point} from @param {Point} to */
  add(from, to) {
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) >= LONGEST_WAY) return;
    this.#ways.push([from, to]);
    if (this.#ways.length <= MAX_WAYS) return;
    // What was painted stays in the picture until it is painted again: a street does not vanish while it is seen.
    const dropped = MAX_WAYS / 10;
    this.#ways.splice(0, dropped);
    this.#painted = Math.max(0, this.#painted - dropped);
  }

  /** @type {Layer["paint"]} */
  paint(surface, _scene, now) {
    if (!this.#ways.length) return;
    const view = /** @type {geo.View} */ (surface.view);
    const { ratio, growth: by, width, height, colours } = surface;
    const size = `${width} ${height} ${ratio} ${by}`;
    let shift = this.#shift(view, size, colours.way);
    if (!shift) {
      this.#begin(surface, size);
      shift = [0, 0];
    }
    if (this.#painted < this.#ways.length && (this.#painted === 0 || now - this.#addedMs >= ADD_MS)) {
      this.#paintNew(surface);
      this.#addedMs = now;
    }
    // Whole device pixels: between two of them the picture would be blurred.
    const [x, y] = shift.map((px) => Math.round((px - MARGIN_PX) * ratio) / ratio);
    surface.context.drawImage(this.#copy ?? this.#picture, x, y, this.#picture.width / ratio, this.#picture.height / ratio);
  }

  /** How far the picture has to be moved, null if it cannot be used. @param {geo.View} view @param {string} size
   * @param {string} colour @returns {Point | null} pixels */
  #shift(view, size, colour) {
    const made = this.#made;
    if (!made || made.view.scale !== view.scale || made.size !== size || made.colour !== colour) return null;
    const [dx, dy] = [(made.view.x - view.x) * view.scale, (made.view.y - view.y) * view.scale];
    return Math.abs(dx) <= MARGIN_PX && Math.abs(dy) <= MARGIN_PX ? [dx, dy] : null;
  }

  /** @param {Surface} surface @param {string} size */
  #begin(surface, size) {
    const { ratio, width, height, colours } = surface;
    // Setting the size also clears it.
    this.#picture.width = Math.round((width + 2 * MARGIN_PX) * ratio);
    this.#picture.height = Math.round((height + 2 * MARGIN_PX) * ratio);
    this.#made = { view: { .../** @type {geo.View} */ (surface.view) }, size, colour: colours.way };
    this.#painted = 0;
    this.#keep(null);
  }

  /** @param {ImageBitmap | null} copy */
  #keep(copy) {
    this.#copy?.close();
    this.#copy = copy;
  }

  /** @param {Surface} surface */
  #paintNew({ ratio, growth: by, width, height }) {
    const { view, colour } = /** @type {Made} */ (this.#made);
    const [wide, high] = [width + 2 * MARGIN_PX, height + 2 * MARGIN_PX];
    const c = /** @type {CanvasRenderingContext2D} */ (this.#picture.getContext("2d"));
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.beginPath();
    for (const [from, to] of this.#ways.slice(this.#painted)) {
      const [x, y] = geo.toPixels(view, wide, high, from[0], from[1]);
      const [u, v] = geo.toPixels(view, wide, high, to[0], to[1]);
      if (Math.max(x, u) < 0 || Math.min(x, u) > wide || Math.max(y, v) < 0 || Math.min(y, v) > high) continue;
      c.moveTo(x, y);
      c.lineTo(u, v);
    }
    c.strokeStyle = colour;
    c.lineWidth = WIDTH_PX * by;
    c.lineCap = "round";
    c.stroke();
    this.#painted = this.#ways.length;
    const made = this.#made;
    createImageBitmap(this.#picture).then((copy) => {
      if (this.#made === made) this.#keep(copy);
      else copy.close();
    });
  }
}
