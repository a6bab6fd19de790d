// The map with its legend, the label of the past, what is under the pointer, and the buttons that zoom.

import { html, useEffect, useLayoutEffect, useRef } from "./vendor/htm-preact.js";
import * as text from "./format.js";
import { NOTHING } from "./live_city.js";
import { CityMap } from "./map/city_map.js";
import { AXIS_NAMES } from "./when.js";

/** @typedef {import("./map/layers.js").Hit} Hit */

/** @param {Hit} hit @returns {(string | Node)[]} */
function labelOf({ kind, id }) {
  const name = document.createElement("bdi");
  name.textContent = text.visible(id);
  return [`${kind} `, name];
}

/** @param {{map: CityMap | null, onMap: (map: CityMap) => void, onSelect: (hit: Hit | null) => void, theme: string,
 *   place: import("./when.js").Place, shownMs: number, counts: import("./live_city.js").Shown, problem: string, tiles: {attribution: string, problem: string}}} props */
export function MapView({ map, onMap, onSelect, theme, place, shownMs, counts, problem, tiles }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const label = useRef(/** @type {HTMLElement | null} */ (null));
  const live = place.at === null;
  // Before the first answer nothing is known of the instant, and nothing is said of it.
  const isEmpty = counts !== NOTHING && !problem && counts.riders.length + counts.orders.length === 0;
  // The map is made once; what it shows comes by its methods, four times a second at most.
  useEffect(() => {
    const drawn = /** @type {HTMLCanvasElement} */ (canvas.current);
    const hover = /** @type {HTMLElement} */ (label.current);
    const made = new CityMap(drawn, onSelect, (hit) => {
      hover.replaceChildren(...(hit ? labelOf(hit) : []));
      drawn.classList.toggle("over", hit !== null);
    });
    window.ridelogMap = made;
    onMap(made);
  }, []);
  useEffect(() => map?.recolour(), [map, theme]);
  // With the layout, and so in the frame of the riders that came with it: an effect would have all painted twice.
  useLayoutEffect(() => map?.setScene({ nowMs: live ? () => Date.now() : () => shownMs, showsTraffic: live }), [map, live, shownMs]);
  return html`<div class="map">
    <canvas ref=${canvas} tabindex="0" role="application" aria-label="Map of riders, orders and traffic. Arrow keys move it, plus and minus zoom, 0 shows everything; find one by its id in the field above."></canvas>
    <p class="legend"><span><i class="mark rider"></i>${text.count(counts.riders.length)}${counts.moreRiders ? "+" : ""} ${counts.riders.length === 1 ? "rider" : "riders"}</span>
      <span class="more" title="no ping for more than a minute"><i class="mark stale"></i>silent</span>
      <span><i class="mark order"></i>${text.count(counts.orders.length)}${counts.moreOrders ? "+" : ""} open ${counts.orders.length === 1 ? "order" : "orders"}</span>
      <span class="more" title="A square is the restaurant of an order, a ring its customer. The line between is dashed until the order is picked up."><i class="mark customer"></i>customers</span>
      <span class=${live ? "cells" : "cells hidden"}>traffic: <i class="mark free"></i>free <i class="mark slow"></i>slow <i class="mark jam"></i>jam <i class="mark unknown"></i>unknown</span></p>
    ${!live && html`<p class="past" role="status">${place.axis === "position" ? `position ${text.count(place.at)}, ` : ""}${text.day(shownMs)} ${text.clock(shownMs)}${place.axis === "position" ? "" : `, ${AXIS_NAMES[place.axis]}`}${isEmpty && html`<span class="problem">no rider and no open order is known of this instant</span>`}${problem && html`<span class="problem">${problem}</span>`}</p>`}
    ${tiles.attribution && html`<p class="attribution">${text.visible(tiles.attribution)}</p>`}
    ${tiles.problem && html`<p class="attribution problem" role="status">${text.visible(tiles.problem)}</p>`}
    <p id="hover" ref=${label} aria-hidden="true"></p>
    <div class="zoom">
      <button aria-label="Zoom in" onClick=${() => map?.zoom(1.6)}>+</button>
      <button aria-label="Zoom out" onClick=${() => map?.zoom(1 / 1.6)}>−</button>
      <button aria-label="Show everything" onClick=${() => map?.fit(true)}>⤢</button>
    </div>
  </div>`;
}
