// Orders and the track of the selected rider on the map.

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
    const { context: c, colours } = surface;
    for (const order of this.all) {
      const chosen = selected?.kind === "order" && selected.id === order.id;
      const [rx, ry] = surface.pixels(order.restaurant);
      const [kx, ky] = surface.pixels(order.customer);
      c.globalAlpha = chosen ? 1 : 0.4;
      c.strokeStyle = colours.order;
      c.lineWidth = chosen ? 2.5 : 1.25;
      c.setLineDash(order.status === "picked_up" || order.status === "arrived" ? [] : [3, 5]);
      surface.path([order.restaurant, order.customer]);
      c.stroke();
      c.setLineDash([]);
      c.globalAlpha = chosen ? 1 : 0.85;
      const size = chosen ? 6 : 4;
      c.fillStyle = colours.order;
      c.fillRect(rx - size, ry - size, 2 * size, 2 * size);
      c.beginPath();
      c.arc(kx, ky, size, 0, TAU);
      c.fillStyle = colours.land;
      c.fill();
      c.lineWidth = 2;
      c.stroke();
      c.globalAlpha = 1;
    }
  }
}

/** The latest pings of the selected rider; those of its window are larger. @implements {Layer} */
export class Track {
  /** @type {{at: Point, lit?: boolean}[]} */
  #points = [];

  /** @param {any[]} points as `GET /riders/…/track` answers, with `lit` */
  set(points) {
    this.#points = points.map((point) => ({ ...point, at: geo.project(point.latitude, point.longitude) }));
  }

  /** @type {Layer["paint"]} */
  paint(surface) {
    if (!this.#points.length) return;
    const { context: c, colours } = surface;
    c.strokeStyle = colours.accent;
    c.lineWidth = 2;
    c.globalAlpha = 0.6;
    surface.path(this.#points.map((point) => point.at));
    c.stroke();
    c.globalAlpha = 0.9;
    c.fillStyle = colours.accent;
    for (const point of this.#points) {
      const [x, y] = surface.pixels(point.at);
      // Three hundred round points would cost 4 ms a frame where the processor draws.
      if (!point.lit) c.fillRect(x - 1.5, y - 1.5, 3, 3);
      else {
        c.beginPath();
        c.arc(x, y, 4, 0, TAU);
        c.fill();
      }
    }
    c.globalAlpha = 1;
  }
}
