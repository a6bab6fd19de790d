// The past: the places of all riders and the orders of then. While the handle moves, one read at a time, the newest.

import { useCallback, useLayoutEffect, useRef } from "./vendor/htm-preact.js";
import { address, request } from "./api.js";
import { asOf } from "./when.js";

/** @typedef {import("./live_city.js").Shown & {ms: number, position: number}} PastShown */
/** @typedef {import("./when.js").Place} Place */

/** Reads the city as of a place that is not now, each order in the stage that the fold of its events says.
 * @param {Place} place @returns {Promise<PastShown>} */
async function readCity(place) {
  const query = asOf(place);
  const [then, orders] = await Promise.all([request(address("riders", query)), request(address("orders", query))]);
  return { riders: then.items, orders: orders.items, moreRiders: then.more, moreOrders: orders.more, ms: then.at_ms, position: then.position };
}

/** Shows the instant of `place` on the map, unless it is now. @param {{on: boolean, session: number,
 *   place: import("./when.js").Place, map: import("./map/city_map.js").CityMap | null, onShown: (shown: PastShown) => void,
 *   onProblem: (error: unknown) => void}} how */
export function usePastCity({ on, session, place, map, onShown, onProblem }) {
  const wanted = useRef(/** @type {Place | null} */ (null));
  const reading = useRef(false);
  const read = useCallback(async (/** @type {import("./map/city_map.js").CityMap} */ shownOn) => {
    if (reading.current) return;
    reading.current = true;
    for (let asked = null; wanted.current && asked !== wanted.current; ) {
      asked = wanted.current;
      try {
        const city = await readCity(asked);
        // While the handle moves, what it passed is shown on the way; what was read for another axis, or before Now was
        // pressed, must not replace what is shown.
        if (wanted.current?.axis !== asked.axis) continue;
        shownOn.setRiders(city.riders, { replace: true, glide: false });
        shownOn.setOrders(city.orders);
        shownOn.fit();
        onShown(city);
      } catch (error) {
        onProblem(error);
      }
    }
    reading.current = false;
  }, []);
  // With the layout: an effect would come after the next frame, and each instant of the handle a frame later.
  useLayoutEffect(() => {
    wanted.current = place.at === null || !on ? null : place;
    if (wanted.current && map) read(map);
  }, [place.at, place.axis, on, session, map]);
}
