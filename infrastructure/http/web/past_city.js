// The past: the places of all riders and the orders of then. While the handle moves, one read at a time, the newest.

import { useCallback, useEffect, useRef } from "./vendor/htm-preact.js";
import { address, allPages, request } from "./api.js";
import { asOf, statusAt } from "./when.js";

const SCRUB_MS = 80;
const PAST_ORDERS_MS = 3 * 3_600_000;
const PAST_ORDERS_PAGES = 20;

/** @typedef {import("./live_city.js").Shown & {ms: number, position: number}} PastShown */

/** Reads the city as of a query of `asOf`. @param {string} query @param {() => boolean} isWanted
 * @returns {Promise<PastShown>} */
async function readCity(query, isWanted) {
  const then = await request(address("riders", query));
  const until = `until=${then.at_ms + 1}`;
  const since = `since=${Math.max(0, then.at_ms - PAST_ORDERS_MS)}`;
  const readPage = (/** @type {string} */ cursor) =>
    request(address("deliveries", since, until, "limit=1000", cursor && `cursor=${encodeURIComponent(cursor)}`));
  const found = await allPages(readPage, PAST_ORDERS_PAGES, isWanted);
  const orders = found.items
    .map((/** @type {any} */ order) => ({ ...order, shown_status: statusAt(order, then.at_ms) }))
    .filter((/** @type {any} */ order) => order.shown_status !== null);
  return { riders: then.items, orders, moreRiders: then.more, moreOrders: found.more, ms: then.at_ms, position: then.position };
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
        const isWanted = () => asked === wanted.current;
        const city = await readCity(asked, isWanted);
        // Checked after the read: what came for an instant that was left must not replace what is shown now.
        if (!isWanted()) continue;
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
