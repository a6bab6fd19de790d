// The past: the places of all riders and the orders of then. While the handle moves, one read at a time, the newest.

import { useCallback, useEffect, useRef } from "./vendor/htm-preact.js";
import { address, request } from "./api.js";
import { asOf } from "./when.js";

const SCRUB_MS = 80;

/** @typedef {import("./live_city.js").Shown & {ms: number, position: number}} PastShown */

/** Reads the city as of a query of `asOf`, each order in the stage that the fold of its events says. @param {string} query
 * @returns {Promise<PastShown>} */
async function readCity(query) {
  const [then, orders] = await Promise.all([request(address("riders", query)), request(address("orders", query))]);
  return { riders: then.items, orders: orders.items, moreRiders: then.more, moreOrders: orders.more, ms: then.at_ms, position: then.position };
}

/** Shows the instant of `place` on the map, unless it is now. @param {{on: boolean, session: number,
 *   place: import("./when.js").Place, map: import("./map/city_map.js").CityMap | null, onShown: (shown: PastShown) => void,
 *   onProblem: (error: unknown) => void}} how */
export function usePastCity({ on, session, place, map, onShown, onProblem }) {
  const wanted = useRef("");
  const reading = useRef(false);
  wanted.current = asOf(place);
  const read = useCallback(async (/** @type {import("./map/city_map.js").CityMap} */ shownOn) => {
    if (reading.current) return;
    reading.current = true;
    try {
      for (let asked = ""; asked !== wanted.current && wanted.current; ) {
        asked = wanted.current;
        const city = await readCity(asked);
        // Checked after the read: what came for an instant that was left must not replace what is shown now.
        if (asked !== wanted.current) continue;
        shownOn.setRiders(city.riders, { replace: true, glide: false });
        shownOn.setOrders(city.orders);
        shownOn.fit();
        onShown(city);
      }
    } catch (error) {
      onProblem(error);
    } finally {
      reading.current = false;
    }
  }, []);
  useEffect(() => {
    if (place.at === null || !on || !map) return undefined;
    const timer = window.setTimeout(() => read(map), SCRUB_MS);
    return () => window.clearTimeout(timer);
  }, [place.at, place.axis, on, session, map]);
}
