// What differs between two axes: a line from the place that is shown to the other place, with a ring around both.

import * as geo from "../geo.js";

const TAU = 2 * Math.PI;
const RADIUS_PX = 12;

/** @param {{here: any, there: any}[]} differences places, as `riderDifferences` has them @returns {import("./layers.js").Layer} */
export function differencesLayer(differences) {
  const place = (/** @type {any} */ fix) => (fix ? geo.project(fix.latitude, fix.longitude) : null);
  const pairs = differences.map((one) => [place(one.here), place(one.there)]);
  return {
    paint(surface) {
      const { context: c, colours, growth: by } = surface;
      c.strokeStyle = colours.stale;
      c.lineWidth = 2 * by;
      for (const [here, there] of pairs) {
        if (here && there) {
          c.setLineDash([4 * by, 4 * by]);
          surface.path([here, there]);
          c.stroke();
          c.setLineDash([]);
        }
        for (const [at, radius] of /** @type {const} */ ([[here, RADIUS_PX], [there, RADIUS_PX / 2]])) {
          if (!at) continue;
          const [x, y] = surface.pixels(at);
          c.beginPath();
          c.arc(x, y, radius * by, 0, TAU);
          c.stroke();
        }
      }
    },
  };
}
