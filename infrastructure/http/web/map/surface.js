// What the layers of the map draw on: the canvas in CSS pixels, the colours of the page, and the view of the city.

import * as geo from "../geo.js";
import { growth } from "../letter_size.js";

/** @typedef {[number, number]} Point on the Web Mercator square [0, 1], or in pixels where that is said */

const COLOURS = /** @type {const} */ ([
  "land", "way", "grid", "ink", "muted", "accent", "rider", "stale", "order", "traffic-free", "traffic-slow", "traffic-jam",
]);

/** The names of the custom properties of style.css that the map draws with. @typedef {typeof COLOURS[number]} Colour */

export class Surface {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    /** @type {geo.View | null} Null until there is something to show. */
    this.view = null;
    this.width = 0;
    this.height = 0;
    this.tileOpacity = 1;
    /** Device pixels a pixel. */
    this.ratio = 1;
    /** By how much marks, lines and letters are larger than on a common screen. */
    this.growth = 1;
    this.colours = /** @type {Record<Colour, string>} */ ({});
    this.recolour();
    this.resize();
  }

  /** Takes over the size of the canvas on the page. More than two device pixels a pixel cost frames and show nothing. */
  resize() {
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const { ratio } = this;
    this.growth = growth();
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /** Reads the colours of the present scheme. */
  recolour() {
    const style = getComputedStyle(document.documentElement);
    for (const name of COLOURS) this.colours[name] = style.getPropertyValue(`--${name}`).trim();
    this.tileOpacity = Number(style.getPropertyValue("--tiles")) || 1;
  }

  clear() {
    this.context.fillStyle = this.colours.land;
    this.context.fillRect(0, 0, this.width, this.height);
  }

  /** @param {Point} point @returns {Point} in pixels; only while there is a view */
  pixels(point) {
    return geo.toPixels(/** @type {geo.View} */ (this.view), this.width, this.height, point[0], point[1]);
  }

  /** Makes the points the path of the context. @param {Point[]} points */
  path(points) {
    this.context.beginPath();
    points.forEach((point, index) => {
      const [x, y] = this.pixels(point);
      if (index) this.context.lineTo(x, y);
      else this.context.moveTo(x, y);
    });
  }

  /** @returns {number} metres a pixel at the centre; only while there is a view */
  metresPerPixel() {
    return geo.metresPerPixel(/** @type {geo.View} */ (this.view));
  }
}
