// The base of the map, without tiles: a grid, the scale, and traffic cells.

import * as geo from "../geo.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./surface.js").Point} Point */

/** Lines of a round distance. @type {Layer} */
export const grid = {
  paint(surface) {
    const { context: c, width, height } = surface;
    const step = geo.roundLength(surface.metresPerPixel() * 180 * surface.growth) / surface.metresPerPixel();
    const origin = surface.pixels([0.5, 0.5]);
    c.strokeStyle = surface.colours.grid;
    c.lineWidth = 1;
    c.beginPath();
    for (let x = ((origin[0] % step) + step) % step; x < width; x += step) {
      c.moveTo(Math.round(x) + 0.5, 0);
      c.lineTo(Math.round(x) + 0.5, height);
    }
    for (let y = ((origin[1] % step) + step) % step; y < height; y += step) {
      c.moveTo(0, Math.round(y) + 0.5);
      c.lineTo(width, Math.round(y) + 0.5);
    }
    c.stroke();
  },
};

/** How long a round distance is here. @type {Layer} */
export const scale = {
  paint(surface) {
    const { context: c, growth: by } = surface;
    const metres = geo.roundLength(surface.metresPerPixel() * 120 * by);
    const wide = metres / surface.metresPerPixel();
    const [x, y] = [16 * by, surface.height - 16 * by];
    c.strokeStyle = c.fillStyle = surface.colours.muted;
    c.lineWidth = 1.5 * by;
    c.beginPath();
    c.moveTo(x, y - 5 * by);
    c.lineTo(x, y);
    c.lineTo(x + wide, y);
    c.lineTo(x + wide, y - 5 * by);
    c.stroke();
    c.font = `${12 * by}px system-ui, sans-serif`;
    c.fillText(metres >= 1000 ? `${metres / 1000} km` : `${metres} m`, x + 6 * by, y - 5 * by);
  },
};

/** The H3 cells with traffic, by their slowest direction. @implements {Layer} */
export class TrafficCells {
  /** @type {{index: number | null, outline: Point[]}[]} */
  #cells = [];

  /** @param {any} traffic as `GET /traffic?outlines=true` answers */
  set(traffic) {
    /** @type {Map<string, number | null>} */
    const slowest = new Map();
    for (const { cell, index } of traffic.cells) {
      const known = slowest.get(cell);
      slowest.set(cell, known === undefined || known === null ? index : index === null ? known : Math.min(known, index));
    }
    this.#cells = [...slowest].map(([cell, index]) => ({
      index,
      outline: traffic.outlines[cell].map((/** @type {Point} */ [lat, lon]) => geo.project(lat, lon)),
    }));
  }

  points() {
    return this.#cells.flatMap((cell) => cell.outline);
  }

  /** @type {Layer["paint"]} */
  paint(surface, scene) {
    const { context: c, colours } = surface;
    for (const { index: found, outline } of this.#cells) {
      const index = scene.showsTraffic ? found : null;
      surface.path(outline);
      c.closePath();
      const speed = index === null ? "grid" : index > 0.8 ? "traffic-free" : index > 0.55 ? "traffic-slow" : "traffic-jam";
      c.fillStyle = colours[speed];
      c.globalAlpha = index === null ? 0.8 : 0.22;
      c.fill();
      c.globalAlpha = 0.45;
      c.strokeStyle = colours.land;
      c.lineWidth = 2 * surface.growth;
      c.stroke();
      c.globalAlpha = 1;
    }
  }
}
