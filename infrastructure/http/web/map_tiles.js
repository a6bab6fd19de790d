// Gives the map the tiles of the server's settings, if it has some, and says whose they are.

import { useEffect } from "./vendor/htm-preact.js";
import { request } from "./api.js";
import { useReading } from "./hooks.js";

/** @param {boolean} on @param {number} session @param {import("./map/city_map.js").CityMap | null} map
 * @returns {string} what is to be said of the tiles, empty without */
export function useTiles(on, session, map) {
  const { data } = useReading(`map ${on} ${session}`, false, async (signal) => (on ? request("map", { signal }) : null));
  useEffect(() => map?.setTiles(data?.tiles ?? null), [map, data]);
  return data?.attribution ?? "";
}
