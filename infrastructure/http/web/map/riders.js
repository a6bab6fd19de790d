// Riders on the map: where each one is and glides to, its direction, and a short trail.

import * as geo from "../geo.js";
import { nearest } from "./layers.js";
import { paintRider, RiderSprites } from "./rider_sprites.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./surface.js").Point} Point */
/** `anchor`: where the direction was last known from. @typedef {{id: string, at: Point, from: Point, anchor: Point,
 *   since: number, ms: number, angle: number | null, trail: Point[]}} Mark */

const GLIDE_MS = 400;
const TRAIL_POINTS = 24;
const STALE_MS = 60_000;
/** With more riders, trails would cost the frames and hide the map. */
const MAX_RIDERS_WITH_TRAILS = 400;
const TAU = 2 * Math.PI;

/** @implements {Layer} */
export class Riders {
  /** @type {Map<string, Mark>} */
  marks = new Map();
  #sprites = new RiderSprites();

  /** @param {(from: Point, to: Point) => void} onStep called for each step that a rider took while the page is open */
  constructor(onStep) {
    this.onStep = onStep;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  }

  /** Takes over places. `replace`: riders that are not among them go. `glide`: they move there, from where they are.
   * @param {any[]} places @param {{replace: boolean, glide: boolean}} how */
  set(places, { replace, glide }) {
    const now = performance.now();
    for (const place of places) {
      const at = geo.project(place.latitude, place.longitude);
      const ms = place.event_timestamp_ms;
      const known = this.marks.get(place.rider_id);
      if (known) this.#move(known, at, ms, now, replace, glide);
      else {
        const mark = { id: place.rider_id, at, from: at, anchor: at, since: now, ms, angle: null, trail: [] };
        this.marks.set(place.rider_id, mark);
      }
    }
    if (!replace) return;
    const seen = new Set(places.map((place) => place.rider_id));
    for (const id of [...this.marks.keys()]) if (!seen.has(id)) this.marks.delete(id);
  }

  /** @param {Mark} mark @param {Point} at @param {number} ms @param {number} now @param {boolean} replace
   * @param {boolean} glide */
  #move(mark, at, ms, now, replace, glide) {
    mark.from = glide && !this.calm.matches ? this.placeOf(mark, now) : at;
    const turned = geo.heading(mark.anchor, at);
    if (turned !== null) {
      if (glide) this.onStep(mark.anchor, at);
      mark.trail.push(mark.anchor);
      if (mark.trail.length > TRAIL_POINTS) mark.trail.shift();
      mark.angle = turned;
      mark.anchor = at;
    }
    if (replace) mark.trail = [];
    Object.assign(mark, { at, since: now, ms });
  }

  /** @param {string[]} ids of riders that are no longer shown */
  drop(ids) {
    for (const id of ids) this.marks.delete(id);
  }

  points() {
    return [...this.marks.values()].map((mark) => mark.at);
  }

  /** Where a rider is drawn at a time of `performance.now()`. @param {Mark} mark @param {number} now @returns {Point} */
  placeOf(mark, now) {
    const part = Math.min(1, (now - mark.since) / GLIDE_MS);
    return [mark.from[0] + (mark.at[0] - mark.from[0]) * part, mark.from[1] + (mark.at[1] - mark.from[1]) * part];
  }

  /** @type {NonNullable<Layer["hit"]>} */
  hit(surface, x, y) {
    const places = [...this.marks.values()].map(({ id, at }) => ({ hit: { kind: "rider", id }, at }));
    return nearest(surface, x, y, places);
  }

  /** @type {Layer["paint"]} */
  paint(surface, scene, now) {
    const shownMs = scene.nowMs();
    const trails = this.marks.size <= MAX_RIDERS_WITH_TRAILS;
    let gliding = false;
    let chosen = null;
    for (const mark of this.marks.values()) {
      gliding ||= now - mark.since < GLIDE_MS && mark.from !== mark.at;
      if (scene.selected?.kind === "rider" && scene.selected.id === mark.id) {
        chosen = mark;
        continue;
      }
      const place = this.placeOf(mark, now);
      const [x, y] = surface.pixels(place);
      const outside = 20 * surface.growth;
      if (x < -outside || y < -outside || x > surface.width + outside || y > surface.height + outside) continue;
      const stale = shownMs - mark.ms > STALE_MS;
      if (trails && !stale) paintTrail(surface, mark, place, surface.colours.rider);
      this.#sprites.paint(surface, x, y, mark.angle, stale);
    }
    // Above all others, so that it is seen in a crowd.
    if (chosen) paintChosen(surface, chosen, this.placeOf(chosen, now), trails);
    return gliding;
  }
}

/** @param {import("./surface.js").Surface} surface @param {Mark} mark @param {Point} place @param {string} colour */
function paintTrail(surface, mark, place, colour) {
  if (mark.trail.length < 2) return;
  const { context: c, growth: by } = surface;
  c.strokeStyle = colour;
  c.globalAlpha = 0.25;
  c.lineWidth = 2 * by;
  surface.path([...mark.trail, place]);
  c.stroke();
  c.globalAlpha = 1;
}

/** The selected rider: larger, with a ring. @param {import("./surface.js").Surface} surface @param {Mark} mark
 * @param {Point} place @param {boolean} trail */
function paintChosen(surface, mark, place, trail) {
  const { context: c, colours, growth: by } = surface;
  if (trail) paintTrail(surface, mark, place, colours.accent);
  const [x, y] = surface.pixels(place);
  paintRider(c, x, y, { angle: mark.angle, size: 8 * by, fill: colours.accent, line: colours.land, by });
  c.beginPath();
  c.arc(x, y, 15 * by, 0, TAU);
  c.strokeStyle = colours.accent;
  c.lineWidth = 2 * by;
  c.stroke();
}
