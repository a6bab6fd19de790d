// The list of what differs between the axis that is shown and another one at the same instant; the map lights it up.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { address, request } from "../api.js";
import { counted } from "../lineage/links.js";
import { orderDifferences, riderDifferences, sameInstant } from "../lineage/differ.js";
import { count, duration, words } from "../format.js";
import { differencesLayer } from "../map/differences.js";
import { asOf, AXES, AXIS_NAMES } from "../when.js";
import { Id } from "./parts.js";

const SHOWN = 50;
const SETTLE_MS = 150;
/** Above the riders: a line from the place that is shown to the other one. */
const LAYER_HEIGHT = 60;

/** @param {any} one */
function riderLine(one) {
  if (one.there === null) return "only here";
  if (one.here === null) return "only there";
  const later = one.seconds === 0 ? "of the same second" : `${duration(Math.abs(one.seconds))} ${one.seconds > 0 ? "newer" : "older"} here`;
  return `${count(one.metres)} m apart, ${later}`;
}

/** @param {any} order */
const stage = (order) => (order === null ? "not open" : words(order.status));

/** What the map lights up of an order: its way. @param {any} one of `orderDifferences` */
function waysOf(one) {
  const { restaurant, customer } = one.here ?? one.there;
  return { here: restaurant, there: customer };
}

/** @param {any} place @param {string} other axis @param {AbortSignal} signal */
async function readBoth(place, other, signal) {
  const [riders, orders] = await Promise.all(["riders", "orders"].map((path) => request(address(path, asOf(place)), { signal })));
  const there = sameInstant(other, riders);
  const [ridersThere, ordersThere] = await Promise.all(["riders", "orders"].map((path) => request(address(path, there), { signal })));
  return {
    riders: riderDifferences(riders.items, ridersThere.items),
    orders: orderDifferences(orders.items, ordersThere.items),
    more: [riders, orders, ridersThere, ordersThere].some((one) => one.more),
  };
}

/** @param {{page: import("./registry.js").PageContext}} props */
function DifferencesView({ page }) {
  const { place, map } = page;
  const others = AXES.filter((axis) => axis !== place.axis);
  const [wanted, setWanted] = useState(others[0]);
  const other = others.includes(wanted) ? wanted : others[0];
  const [state, setState] = useState(/** @type {{found: any, problem: string}} */ ({ found: null, problem: "" }));
  useEffect(() => {
    if (place.at === null) {
      setState({ found: null, problem: "" });
      return undefined;
    }
    const abort = new AbortController();
    const timer = window.setTimeout(() => {
      readBoth(place, other, abort.signal).then(
        (found) => setState({ found, problem: "" }),
        (error) => !abort.signal.aborted && setState({ found: null, problem: error.message }),
      );
    }, SETTLE_MS);
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [place.axis, place.at, other]);
  useEffect(() => {
    map?.setLayer("differences", LAYER_HEIGHT, differencesLayer(state.found ? [...state.found.riders, ...state.found.orders.map(waysOf)] : []));
    return () => map?.setLayer("differences", LAYER_HEIGHT, null);
  }, [map, state.found]);
  const { found, problem } = state;
  return html`<div class="differences">
    <p><label>Shown ${AXIS_NAMES[place.axis]}, compared with
      <select value=${other} onChange=${(/** @type {any} */ event) => setWanted(event.target.value)}>
        ${others.map((axis) => html`<option value=${axis} key=${axis}>${AXIS_NAMES[axis]}</option>`)}
      </select></label></p>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    ${place.at === null && html`<p class="quiet">Now is the same on each axis. Go into the past with the handle.</p>`}
    ${place.at !== null && !found && !problem && html`<p class="quiet" role="status">comparing …</p>`}
    ${found && html`
      <p role="status">${counted(found.riders.length, "rider")} and ${counted(found.orders.length, "order")} differ${found.more ? " among those that were read: there are more" : ""}.</p>
      <ul class="links">${found.riders.slice(0, SHOWN).map((/** @type {any} */ one) => html`<li key=${`r${one.id}`}>
        <button class="link" onClick=${() => page.find("rider", one.id)}><${Id} id=${one.id} /></button> <small>${riderLine(one)}</small></li>`)}
      ${found.orders.slice(0, SHOWN).map((/** @type {any} */ one) => html`<li key=${`o${one.id}`}>
        <button class="link" onClick=${() => page.find("order", one.id)}><${Id} id=${one.id} /></button>
        <small> ${stage(one.here)} here, ${stage(one.there)} there${one.here && one.there && one.here.rider_id !== one.there.rider_id ? ", another rider" : ""}</small></li>`)}
      </ul>
      ${Math.max(found.riders.length, found.orders.length) > SHOWN && html`<p class="quiet">The first ${SHOWN} of each are listed.</p>`}`}
  </div>`;
}

/** @type {import("./registry.js").Panel} */
export const differencesPanel = { name: "differ", title: "What differs", view: DifferencesView, menu: "What differs", key: "d" };
