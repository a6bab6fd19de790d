// The map: a canvas without tiles. Traffic cells, orders and riders are its base; nothing leaves this machine.

import * as geo from "./geo.js";

const GLIDE_MS = 400;
const TRAIL_POINTS = 24;
const REACH_PX = 16;
const STALE_MS = 60_000;
const TAU = 2 * Math.PI;
/** Ways that riders took since the page was opened: the streets, as far as they are known here. */
const MAX_WAYS = 6000;
const LONGEST_WAY = 6e-6;

/** @typedef {{id: string, at: [number, number], from: [number, number], anchor: [number, number], since: number, ms: number,
 *   angle: number | null, trail: [number, number][]}} Mark */

export class CityMap {
  /** @param {HTMLCanvasElement} canvas @param {(kind: string | null, id: string | null) => void} onSelect
   * @param {(kind: string | null, id: string | null) => void} onHover */
  constructor(canvas, onSelect, onHover) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.onSelect = onSelect;
    this.onHover = onHover;
    /** @type {Map<string, Mark>} */
    this.riders = new Map();
    /** @type {any[]} */
    this.orders = [];
    /** @type {{index: number | null, outline: [number, number][]}[]} */
    this.cells = [];
    /** @type {{kind: string, id: string} | null} */
    this.selected = null;
    /** @type {any[]} */
    this.track = [];
    /** @type {[[number, number], [number, number]][]} */
    this.ways = [];
    this.nowMs = () => Date.now();
    /** @type {geo.View | null} */
    this.view = null;
    this.userMoved = false;
    this.follow = false;
    /** Traffic is known for now only: in the past the cells are drawn without it. */
    this.showsTraffic = true;
    this.frames = 0;
    this.queued = false;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.#listen();
    this.#size();
    this.recolour();
  }

  /** Takes over places of riders. @param {any[]} places @param {{replace: boolean, glide: boolean}} how */
  setRiders(places, { replace, glide }) {
    const now = performance.now();
    const seen = new Set();
    for (const place of places) {
      seen.add(place.rider_id);
      const at = geo.project(place.latitude, place.longitude);
      const known = this.riders.get(place.rider_id);
      if (!known) {
        const mark = { id: place.rider_id, at, from: at, anchor: at, since: now, ms: place.event_timestamp_ms, angle: null, trail: [] };
        this.riders.set(place.rider_id, mark);
        continue;
      }
      const turned = geo.heading(known.anchor, at);
      known.from = glide && !this.calm.matches ? this.#placeOf(known, now) : at;
      if (turned !== null && glide && Math.hypot(at[0] - known.anchor[0], at[1] - known.anchor[1]) < LONGEST_WAY) {
        this.ways.push([known.anchor, at]);
        if (this.ways.length > MAX_WAYS) this.ways.splice(0, MAX_WAYS / 10);
      }
      if (turned !== null) {
        known.trail.push(known.anchor);
        if (known.trail.length > TRAIL_POINTS) known.trail.shift();
        known.angle = turned;
        known.anchor = at;
      }
      if (replace) known.trail = [];
      Object.assign(known, { at, since: now, ms: place.event_timestamp_ms });
    }
    if (replace) for (const id of [...this.riders.keys()]) if (!seen.has(id)) this.riders.delete(id);
    this.draw();
  }

  /** @param {string[]} ids of riders that are no longer shown */
  dropRiders(ids) {
    for (const id of ids) this.riders.delete(id);
    if (ids.length) this.draw();
  }

  /** @param {any[]} orders */
  setOrders(orders) {
    this.orders = orders.map((order) => ({
      id: order.order_id,
      status: order.shown_status ?? order.status,
      rider: order.rider_id,
      restaurant: geo.project(order.restaurant.latitude, order.restaurant.longitude),
      customer: geo.project(order.customer.latitude, order.customer.longitude),
    }));
    this.draw();
  }

  /** @param {any} traffic as `GET /traffic?outlines=true` answers */
  setTraffic(traffic) {
    /** @type {Map<string, number | null>} */
    const slowest = new Map();
    for (const { cell, index } of traffic.cells) {
      const known = slowest.get(cell);
      slowest.set(cell, known === undefined || known === null ? index : index === null ? known : Math.min(known, index));
    }
    this.cells = [...slowest].map(([cell, index]) => ({
      index,
      outline: traffic.outlines[cell].map((/** @type {[number, number]} */ [lat, lon]) => geo.project(lat, lon)),
    }));
    this.draw();
  }

  /** @param {{kind: string, id: string} | null} selected @param {any[]} track points of the selected rider */
  setSelection(selected, track) {
    this.selected = selected;
    this.track = track.map((point) => ({ ...point, at: geo.project(point.latitude, point.longitude) }));
    this.draw();
  }

  /** Shows everything, unless the person has moved the map. @param {boolean} [always] */
  fit(always = false) {
    if (this.userMoved && !always) return;
    const points = [...this.riders.values()].map((mark) => mark.at);
    for (const order of this.orders) points.push(order.restaurant, order.customer);
    if (!points.length) for (const cell of this.cells) points.push(...cell.outline);
    const view = geo.fit(geo.core(points, 0.97), this.width, this.height, Math.min(70, this.width / 9));
    if (view) this.view = { ...view, scale: Math.min(view.scale, 8e6) };
    if (always) this.userMoved = false;
    this.draw();
  }

  /** @param {number} factor */
  zoom(factor) {
    if (!this.view) return;
    this.userMoved = true;
    this.view = geo.zoomed(this.view, factor, 0, 0);
    this.draw();
  }

  /** @param {number} dx pixels @param {number} dy */
  pan(dx, dy) {
    if (!this.view) return;
    this.userMoved = true;
    this.view = { ...this.view, x: this.view.x - dx / this.view.scale, y: this.view.y - dy / this.view.scale };
    this.draw();
  }

  /** @param {string} kind @param {string} id */
  centre(kind, id) {
    const at = kind === "rider" ? this.riders.get(id)?.at : this.orders.find((order) => order.id === id)?.restaurant;
    if (!at || !this.view) return;
    this.userMoved = true;
    this.view = { ...this.view, x: at[0], y: at[1], scale: Math.max(this.view.scale, 2e6) };
    this.draw();
  }

  recolour() {
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = {
      land: colour("land"), way: colour("way"), grid: colour("grid"), ink: colour("ink"), muted: colour("muted"), accent: colour("accent"),
      rider: colour("rider"), stale: colour("stale"), order: colour("order"), halo: colour("land"),
      free: colour("traffic-free"), slow: colour("traffic-slow"), jam: colour("traffic-jam"),
    };
    this.draw();
  }

  draw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      this.#paint();
    });
  }

  #size() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.userMoved) this.fit();
    this.draw();
  }

  /** @param {Mark} mark @param {number} now @returns {[number, number]} */
  #placeOf(mark, now) {
    const part = Math.min(1, (now - mark.since) / GLIDE_MS);
    return [mark.from[0] + (mark.at[0] - mark.from[0]) * part, mark.from[1] + (mark.at[1] - mark.from[1]) * part];
  }

  /** @param {[number, number]} point @returns {[number, number]} */
  #pixels(point) {
    return geo.toPixels(/** @type {geo.View} */ (this.view), this.width, this.height, point[0], point[1]);
  }

  /** @param {[number, number][]} points */
  #path(points) {
    this.context.beginPath();
    points.forEach((point, index) => {
      const [x, y] = this.#pixels(point);
      if (index) this.context.lineTo(x, y);
      else this.context.moveTo(x, y);
    });
  }

  #paint() {
    const { context: c, colours } = this;
    this.frames += 1;
    c.fillStyle = colours.land;
    c.fillRect(0, 0, this.width, this.height);
    if (!this.view) return;
    const now = performance.now();
    if (this.follow && this.selected?.kind === "rider") {
      const mark = this.riders.get(this.selected.id);
      if (mark) [this.view.x, this.view.y] = this.#placeOf(mark, now);
    }
    this.#paintGrid();
    this.#paintCells();
    this.#paintWays();
    this.#paintOrders();
    this.#paintTrack();
    const gliding = this.#paintRiders(now);
    this.#paintScale();
    if (gliding) this.draw();
  }

  #paintGrid() {
    const { context: c } = this;
    const view = /** @type {geo.View} */ (this.view);
    const step = (geo.roundLength(geo.metresPerPixel(view) * 180) / geo.metresPerPixel(view));
    const origin = this.#pixels([0.5, 0.5]);
    c.strokeStyle = this.colours.grid;
    c.lineWidth = 1;
    c.beginPath();
    for (let x = ((origin[0] % step) + step) % step; x < this.width; x += step) {
      c.moveTo(Math.round(x) + 0.5, 0);
      c.lineTo(Math.round(x) + 0.5, this.height);
    }
    for (let y = ((origin[1] % step) + step) % step; y < this.height; y += step) {
      c.moveTo(0, Math.round(y) + 0.5);
      c.lineTo(this.width, Math.round(y) + 0.5);
    }
    c.stroke();
  }

  #paintCells() {
    const { context: c, colours } = this;
    for (const { index: found, outline } of this.cells) {
      const index = this.showsTraffic ? found : null;
      this.#path(outline);
      c.closePath();
      c.fillStyle = index === null ? colours.grid : index > 0.8 ? colours.free : index > 0.55 ? colours.slow : colours.jam;
      c.globalAlpha = index === null ? 0.8 : 0.22;
      c.fill();
      c.globalAlpha = 0.45;
      c.strokeStyle = colours.land;
      c.lineWidth = 2;
      c.stroke();
      c.globalAlpha = 1;
    }
  }

  #paintWays() {
    const { context: c } = this;
    c.beginPath();
    for (const [from, to] of this.ways) {
      c.moveTo(...this.#pixels(from));
      c.lineTo(...this.#pixels(to));
    }
    c.strokeStyle = this.colours.way;
    c.lineWidth = 5;
    c.lineCap = "round";
    c.stroke();
  }

  #paintOrders() {
    const { context: c, colours } = this;
    for (const order of this.orders) {
      const chosen = this.selected?.kind === "order" && this.selected.id === order.id;
      const [rx, ry] = this.#pixels(order.restaurant);
      const [kx, ky] = this.#pixels(order.customer);
      c.globalAlpha = chosen ? 1 : 0.4;
      c.strokeStyle = colours.order;
      c.lineWidth = chosen ? 2.5 : 1.25;
      c.setLineDash(order.status === "picked_up" || order.status === "arrived" ? [] : [3, 5]);
      this.#path([order.restaurant, order.customer]);
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

  #paintTrack() {
    if (!this.track.length) return;
    const { context: c, colours } = this;
    c.strokeStyle = colours.accent;
    c.lineWidth = 2;
    c.globalAlpha = 0.6;
    this.#path(this.track.map((point) => point.at));
    c.stroke();
    c.globalAlpha = 0.9;
    c.fillStyle = colours.accent;
    for (const point of this.track) {
      const [x, y] = this.#pixels(point.at);
      c.beginPath();
      c.arc(x, y, point.lit ? 4 : 1.75, 0, TAU);
      c.fill();
    }
    c.globalAlpha = 1;
  }

  /** @param {number} now @returns {boolean} whether a rider still glides */
  #paintRiders(now) {
    const { context: c, colours } = this;
    const shown = this.nowMs();
    let gliding = false;
    const few = this.riders.size <= 400;
    for (const mark of this.riders.values()) {
      gliding ||= now - mark.since < GLIDE_MS && mark.from !== mark.at;
      const [x, y] = this.#pixels(this.#placeOf(mark, now));
      if (x < -20 || y < -20 || x > this.width + 20 || y > this.height + 20) continue;
      const chosen = this.selected?.kind === "rider" && this.selected.id === mark.id;
      const stale = shown - mark.ms > STALE_MS;
      c.fillStyle = chosen ? colours.accent : stale ? colours.stale : colours.rider;
      c.globalAlpha = stale && !chosen ? 0.5 : 1;
      if (few && mark.trail.length > 1 && !stale) {
        c.strokeStyle = c.fillStyle;
        c.globalAlpha = 0.25;
        c.lineWidth = 2;
        this.#path([...mark.trail, this.#placeOf(mark, now)]);
        c.stroke();
        c.globalAlpha = 1;
      }
      const size = chosen ? 8 : 5;
      c.beginPath();
      if (mark.angle === null) c.arc(x, y, size, 0, TAU);
      else {
        c.moveTo(x + Math.cos(mark.angle) * size * 1.7, y + Math.sin(mark.angle) * size * 1.7);
        c.arc(x, y, size, mark.angle + 0.75, mark.angle + TAU - 0.75);
        c.closePath();
      }
      c.lineWidth = 1.5;
      c.strokeStyle = colours.halo;
      c.fill();
      c.stroke();
      if (chosen) {
        c.beginPath();
        c.arc(x, y, 15, 0, TAU);
        c.strokeStyle = colours.accent;
        c.lineWidth = 2;
        c.stroke();
      }
      c.globalAlpha = 1;
    }
    return gliding;
  }

  #paintScale() {
    const { context: c, colours } = this;
    const perPixel = geo.metresPerPixel(/** @type {geo.View} */ (this.view));
    const metres = geo.roundLength(perPixel * 120);
    const wide = metres / perPixel;
    const [x, y] = [16, this.height - 16];
    c.strokeStyle = c.fillStyle = colours.muted;
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(x, y - 5);
    c.lineTo(x, y);
    c.lineTo(x + wide, y);
    c.lineTo(x + wide, y - 5);
    c.stroke();
    c.font = "12px system-ui, sans-serif";
    c.fillText(metres >= 1000 ? `${metres / 1000} km` : `${metres} m`, x + 6, y - 5);
  }

  /** @param {number} x pixels @param {number} y @returns {[string | null, string | null]} */
  hit(x, y) {
    if (!this.view) return [null, null];
    let best = REACH_PX;
    /** @type {[string | null, string | null]} */
    let found = [null, null];
    const consider = (/** @type {string} */ kind, /** @type {string} */ id, /** @type {[number, number]} */ at) => {
      const [px, py] = this.#pixels(at);
      const distance = Math.hypot(px - x, py - y);
      if (distance < best) [best, found] = [distance, [kind, id]];
    };
    for (const mark of this.riders.values()) consider("rider", mark.id, mark.at);
    if (found[0] === null) {
      for (const order of this.orders) {
        consider("order", order.id, order.restaurant);
        consider("order", order.id, order.customer);
      }
    }
    return found;
  }

  #listen() {
    const { canvas } = this;
    /** @type {Map<number, [number, number]>} */
    const fingers = new Map();
    let moved = 0;
    const local = (/** @type {PointerEvent | WheelEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      return /** @type {[number, number]} */ ([event.clientX - box.left, event.clientY - box.top]);
    };
    new ResizeObserver(() => this.#size()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, local(event));
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = local(event);
      const before = fingers.get(event.pointerId);
      if (!before) return this.onHover(...this.hit(x, y));
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (other && this.view) {
        const apart = (/** @type {[number, number]} */ p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
        const factor = apart([x, y]) / apart(before);
        this.view = geo.zoomed(this.view, factor, other[0] - this.width / 2, other[1] - this.height / 2);
        this.userMoved = true;
        this.draw();
        moved = 99;
      } else {
        moved += Math.hypot(x - before[0], y - before[1]);
        if (moved > 4) this.pan(x - before[0], y - before[1]);
      }
      fingers.set(event.pointerId, [x, y]);
    });
    const up = (/** @type {PointerEvent} */ event) => {
      if (fingers.delete(event.pointerId) && moved <= 4 && event.type === "pointerup") this.onSelect(...this.hit(...local(event)));
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!this.view) return;
      const [x, y] = local(event);
      this.userMoved = true;
      this.view = geo.zoomed(this.view, Math.exp(-event.deltaY / 400), x - this.width / 2, y - this.height / 2);
      this.draw();
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const pans = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
      const pan = pans[/** @type {keyof typeof pans} */ (event.key)];
      if (pan) this.pan(pan[0], pan[1]);
      else if (event.key === "+" || event.key === "=") this.zoom(1.4);
      else if (event.key === "-") this.zoom(1 / 1.4);
      else if (event.key === "0") this.fit(true);
      else return;
      event.preventDefault();
    });
  }
}
