// The points of the selected rider's track as targets of the pointer: a click asks what that ping changed.

import * as geo from "../geo.js";
import { REACH_PX } from "./layers.js";

/** @param {any[]} points as `GET /riders/…/track` answers @returns {import("./layers.js").Layer} */
export function trackPoints(points) {
  const placed = points.map((point) => ({ id: String(point.position), at: geo.project(point.latitude, point.longitude) }));
  return {
    paint() {},
    hit(surface, x, y) {
      let best = REACH_PX * surface.growth;
      let found = null;
      for (const { id, at } of placed) {
        const [px, py] = surface.pixels(at);
        const away = Math.hypot(px - x, py - y);
        // Of pings at one place the newest: it is the last of the track.
        if (away <= best) {
          best = away;
          found = { kind: "event", id };
        }
      }
      return found;
    },
  };
}
