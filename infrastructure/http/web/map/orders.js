// Orders and the track of the selected rider on the map.

import { alongTime } from "../along_time.js";
import * as geo from "../geo.js";
import { nearest } from "./layers.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./surface.js").Point} Point */

const TAU = 2 * Math.PI;

/** Open orders: a square at the restaurant, a ring at the customer, dashed until picked up. @implements {Layer} */
export class Orders {
  /** @type {{id: string, status: string, restaurant: Point, customer: Point}[]} */
  all = [];

  /** @param {any[]} orders */
  set(orders) {
    this.all = orders.map((order) => ({
      id: order.order_id,
      status: order.status,
      restaurant: geo.project(order.restaurant.latitude, order.restaurant.longitude),
      customer: geo.project(order.customer.latitude, order.customer.longitude),
    }));
  }

  points() {
    return this.all.flatMap((order) => [order.restaurant, order.customer]);
  }

  /** @type {NonNullable<Layer["hit"]>} */
  hit(surface, x, y) {
    const ends = this.all.flatMap(({ id, restaurant, customer }) =>
      [restaurant, customer].map((at) => ({ hit: { kind: "order", id }, at })));
    return nearest(surface, x, y, ends);
  }

  /** @type {Layer["paint"]} */
  paint(surface, { selected }) {
    const { context: c, colours, growth: by } = surface;
    for (const order of this.all) {
      const chosen = selected?.kind === "order" && selected.id === order.id;
      const [rx, ry] = surface.pixels(order.restaurant);
      const [kx, ky] = surface.pixels(order.customer);
      c.globalAlpha = chosen ? 1 : 0.4;
      c.strokeStyle = colours.order;
      c.lineWidth = (chosen ? 2.5 : 1.25) * by;
      c.setLineDash(order.status === "picked_up" || order.status === "arrived" ? [] : [3 * by, 5 * by]);
      surface.path([order.restaurant, order.customer]);
      c.stroke();
      c.setLineDash([]);
      c.globalAlpha = chosen ? 1 : 0.85;
      const size = (chosen ? 6 : 4) * by;
      c.fillStyle = colours.order;
      c.fillRect(rx - size, ry - size, 2 * size, 2 * size);
      c.beginPath();
      c.arc(kx, ky, size, 0, TAU);
      c.fillStyle = colours.land;
      c.fill();
      c.lineWidth = 2 * by;
      c.stroke();
      c.globalAlpha = 1;
    }
  }
}

/** The latest pings of the selected rider, joined in the order of time; those of its window are larger. A line across a
 * gap is thin and dashed: the way there is not known. @implements {Layer} */
export class Track {
  /** @type {{at: Point, lit?: boolean}[]} */
  #points = [];
  /** Each from one ping to the next. @type {[Point, Point][]} */
  #known = [];
  /** @type {[Point, Point][]} */
  #gaps = [];

  /** @param {any[]} points as `GET /riders/…/track` answers, with `lit` */
  set(points) {
    this.#points = points.map((point) => ({ ...point, at: geo.project(point.latitude, point.longitude) }));
    [this.#known, this.#gaps] = [[], []];
    alongTime(this.#points).forEach(({ point, afterGap }, index, all) => {
      if (index > 0) (afterGap ? this.#gaps : this.#known).push([all[index - 1].point.at, point.at]);
    });
  }

  /** @type {Layer["paint"]} */
  paint(surface) {
    if (!this.#points.length) return;
    const { context: c, colours, growth: by } = surface;
    c.strokeStyle = colours.accent;
    c.lineWidth = 2 * by;
    c.globalAlpha = 0.6;
    strokeAll(surface, this.#known);
    c.lineWidth = by;
    c.setLineDash([2 * by, 6 * by]);
    strokeAll(surface, this.#gaps);
    c.setLineDash([]);
    c.globalAlpha = 0.9;
    c.fillStyle = colours.accent;
    for (const point of this.#points) {
      const [x, y] = surface.pixels(point.at);
      // Three hundred round points would cost 4 ms a frame where the processor draws.
      if (!point.lit) c.fillRect(x - 1.5 * by, y - 1.5 * by, 3 * by, 3 * by);
      else {
        c.beginPath();
        c.arc(x, y, 4 * by, 0, TAU);
        c.fill();
      }
    }
    c.globalAlpha = 1;
  }
}

/** Lines that have one look, as one path. @param {import("./surface.js").Surface} surface @param {[Point, Point][]} lines */
function strokeAll(surface, lines) {
  const { context: c } = surface;
  c.beginPath();
  for (const [from, to] of lines) {
    const [[x, y], [u, v]] = [surface.pixels(from), surface.pixels(to)];
    c.moveTo(x, y);
    c.lineTo(u, v);
  }
  c.stroke();
}
