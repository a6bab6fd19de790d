// The map: a canvas. Traffic cells, orders and riders are its base; nothing leaves this machine unless tiles are set.

import * as geo from "../geo.js";
import { grid, scale, TrafficCells } from "./base.js";
import { listenToGestures } from "./gestures.js";
import { HEIGHTS, Layers } from "./layers.js";
import { Orders, Track } from "./orders.js";
import { Riders } from "./riders.js";
import { Surface } from "./surface.js";
import { Tiles } from "./tiles.js";
import { Ways } from "./ways.js";

/** @typedef {import("./layers.js").Hit} Hit */

/** Scale of the view that shows everything, at most: a single rider fills no screen. */
const MAX_FIT_SCALE = 8e6;
/** Scale of the view around something that was looked for, at least. */
const FOUND_SCALE = 2e6;

export class CityMap {
  #layers = new Layers();
  #queued = false;
  #cells = new TrafficCells();
  #ways = new Ways();
  #orders = new Orders();
  #track = new Track();
  #riders = new Riders((from, to) => this.#ways.add(from, to));
  #tiles = new Tiles(() => this.draw());

  /** @param {HTMLCanvasElement} canvas @param {(hit: Hit | null) => void} onSelect @param {(hit: Hit | null) => void} onHover */
  constructor(canvas, onSelect, onHover) {
    this.surface = new Surface(canvas);
    this.onSelect = onSelect;
    this.onHover = onHover;
    /** @type {import("./layers.js").Scene} */
    this.scene = { selected: null, nowMs: () => Date.now(), showsTraffic: true };
    this.follow = false;
    this.userMoved = false;
    /** Frames that were painted, for who measures. */
    this.frames = 0;
    const own = { grid, tiles: this.#tiles, cells: this.#cells, ways: this.#ways, orders: this.#orders, track: this.#track, riders: this.#riders, scale };
    for (const [name, layer] of Object.entries(own)) this.setLayer(name, HEIGHTS[/** @type {keyof typeof own} */ (name)], layer);
    listenToGestures(this);
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Riders by their ids. */
  get riders() { return this.#riders.marks; }

  get orders() { return this.#orders.all; }

  get view() { return this.surface.view; }

  get width() { return this.surface.width; }

  get height() { return this.surface.height; }

  /** @param {any[]} places @param {{replace: boolean, glide: boolean}} how */
  setRiders(places, how) {
    this.#riders.set(places, how);
    this.draw();
  }

  /** @param {string[]} ids of riders that are no longer shown */
  dropRiders(ids) {
    this.#riders.drop(ids);
    this.draw();
  }

  /** @param {any[]} orders */
  setOrders(orders) {
    this.#orders.set(orders);
    this.draw();
  }

  /** @param {any} traffic as `GET /traffic?outlines=true` answers */
  setTraffic(traffic) {
    this.#cells.set(traffic);
    this.draw();
  }

  /** @param {any[]} points of the selected rider's track */
  setTrack(points) {
    this.#track.set(points);
    this.draw();
  }

  /** Tiles that have come, for who tests. */
  get tilesLoaded() { return this.#tiles.loaded; }

  /** @param {import("./tiles.js").AddressOf | null} addressOf */
  setTiles(addressOf) {
    this.#tiles.set(addressOf);
    this.draw();
  }

  /** Adds a layer of a panel, or removes it with null. @param {string} name @param {number} height between those of
   * HEIGHTS @param {import("./layers.js").Layer | null} layer */
  setLayer(name, height, layer) {
    this.#layers.set(name, height, layer);
    this.draw();
  }

  /** Takes over a part of what all layers look at. @param {Partial<import("./layers.js").Scene>} part */
  setScene(part) {
    Object.assign(this.scene, part);
    this.draw();
  }

  /** Keeps the selected rider in the middle. @param {boolean} follow */
  setFollow(follow) {
    this.follow = follow;
    this.draw();
  }

  /** Shows everything, unless the person has moved the map. @param {boolean} [always] */
  fit(always = false) {
    if (this.userMoved && !always) return;
    const points = [...this.#riders.points(), ...this.#orders.points()];
    const shown = points.length ? points : this.#cells.points();
    const view = geo.fit(geo.core(shown, 0.97), this.width, this.height, Math.min(70, this.width / 9));
    if (view) this.surface.view = { ...view, scale: Math.min(view.scale, MAX_FIT_SCALE) };
    if (always) this.userMoved = false;
    this.draw();
  }

  /** @param {number} factor */
  zoom(factor) {
    this.zoomAround(factor, this.width / 2, this.height / 2);
  }

  /** Zooms so that a pixel keeps its place. @param {number} factor @param {number} x @param {number} y */
  zoomAround(factor, x, y) {
    if (this.view) this.#moveTo(geo.zoomed(this.view, factor, x - this.width / 2, y - this.height / 2));
  }

  /** @param {number} dx pixels @param {number} dy */
  pan(dx, dy) {
    const { view } = this;
    if (view) this.#moveTo({ ...view, x: view.x - dx / view.scale, y: view.y - dy / view.scale });
  }

  /** Shows a rider or an order from near, if the map has it. @param {Hit} wanted */
  centre({ kind, id }) {
    const order = kind === "order" ? this.orders.find((one) => one.id === id) : undefined;
    const at = kind === "rider" ? this.riders.get(id)?.at : order?.restaurant;
    if (at) this.centreOn(at);
  }

  /** Shows a place from near. @param {[number, number]} at on the Web Mercator square */
  centreOn(at) {
    if (this.view) this.#moveTo({ x: at[0], y: at[1], scale: Math.max(this.view.scale, FOUND_SCALE) });
  }

  /** @param {number} x pixels @param {number} y @returns {Hit | null} */
  hit(x, y) {
    return this.view ? this.#layers.hit(this.surface, x, y) : null;
  }

  recolour() {
    this.surface.recolour();
    this.draw();
  }

  /** Paints with the next frame; many calls are one. */
  draw() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.#paint();
    });
  }

  /** @param {geo.View} view */
  #moveTo(view) {
    this.userMoved = true;
    this.surface.view = view;
    this.draw();
  }

  #resize() {
    this.surface.resize();
    this.fit();
    this.draw();
  }

  #paint() {
    const { surface, scene } = this;
    this.frames += 1;
    surface.clear();
    if (!surface.view) return;
    const now = performance.now();
    if (this.follow && scene.selected?.kind === "rider") {
      const mark = this.riders.get(scene.selected.id);
      if (mark) [surface.view.x, surface.view.y] = this.#riders.placeOf(mark, now);
    }
    if (this.#layers.paint(surface, scene, now)) this.draw();
  }
}
