// Now: one stream carries everything to the map. It stays open in the past, so that Now is at once.

import { useCallback, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ApiProblem, request } from "./api.js";
import { useEvery } from "./hooks.js";
import { KnownCity } from "./known_city.js";
import { CONNECTING, LiveStream } from "./live_stream.js";

const TRAFFIC_MS = 10_000;
/** The panel of a silent rider counts who sent a ping in the last minute: by what is never older than this. */
const REPORT_MS = 5_000;

/** What is on the map. `more…`: there are more than were read.
 * @typedef {{riders: any[], orders: any[], moreRiders: boolean, moreOrders: boolean}} Shown */
/** @type {Shown} */
export const NOTHING = { riders: [], orders: [], moreRiders: false, moreOrders: false };

/** @param {{on: boolean, session: number, live: boolean, map: import("./map/city_map.js").CityMap | null,
 *   onShown: (shown: Shown) => void, onDenied: () => void}} how @returns {import("./live_stream.js").Link} the state of the stream */
export function useLiveCity({ on, session, live, map, onShown, onDenied }) {
  const [link, setLink] = useState(CONNECTING);
  const known = useRef(new KnownCity());
  const isLive = useRef(live);
  isLive.current = live;
  const reported = useRef({ riders: -1, atMs: 0 });
  /** A report that waits until the last one is old enough: the last message before a silence is reported too. */
  const waiting = useRef(0);

  const report = useCallback(() => {
    clearTimeout(waiting.current);
    waiting.current = 0;
    const { riders, orders } = known.current;
    reported.current = { riders: riders.size, atMs: Date.now() };
    onShown({ ...NOTHING, riders: [...riders.values()], orders: [...orders.values()] });
  }, []);
  const showAll = useCallback((/** @type {import("./map/city_map.js").CityMap} */ shownOn) => {
    shownOn.setRiders([...known.current.riders.values()], { replace: true, glide: true });
    shownOn.setOrders([...known.current.orders.values()]);
    shownOn.fit();
    report();
  }, []);

  useEffect(() => {
    if (!on || !map) return undefined;
    const stream = new LiveStream({
      onState: setLink,
      onDenied,
      onData: (kind, data) => {
        const { riders, orders, dropped } = known.current.take(kind, data);
        if (!isLive.current) return;
        if (kind === "snapshot") return showAll(map);
        map.setRiders(riders, { replace: false, glide: true });
        if (dropped.length) map.dropRiders(dropped);
        if (orders.length) map.setOrders([...known.current.orders.values()]);
        map.fit();
        // The lists of the finder change with who is there, not with each step; times of last pings change with each.
        const { riders: count, atMs } = reported.current;
        const ageMs = Math.abs(Date.now() - atMs);
        if (orders.length || known.current.riders.size !== count || ageMs >= REPORT_MS) report();
        else if (!waiting.current) waiting.current = setTimeout(() => isLive.current && report(), REPORT_MS - ageMs);
      },
    });
    return () => {
      stream.close();
      clearTimeout(waiting.current);
      waiting.current = 0;
    };
  }, [on, session, map]);
  useEffect(() => {
    if (live && map) showAll(map);
  }, [live, map]);
  return link;
}

/** Shows the newest traffic on the map, every ten seconds. @param {boolean} on @param {number} session
 * @param {import("./map/city_map.js").CityMap | null} map @param {(error: unknown) => void} failed
 * @param {() => void} onRead called after each read: what had failed works again */
export function useTraffic(on, session, map, failed, onRead) {
  useEvery(on && map !== null, TRAFFIC_MS, async () => {
    try {
      map?.setTraffic(await request("traffic?outlines=true"));
      onRead();
    } catch (error) {
      if (!(error instanceof ApiProblem) || error.code !== "city_unavailable") failed(error);
    }
  }, [session, map]);
}
