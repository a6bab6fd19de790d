// Gives the map the tiles of the server's settings, if it has some, and says whose they are.

import { useEffect, useState } from "./vendor/htm-preact.js";
import { request } from "./api.js";
import { askUntilAnswered } from "./retry.js";

/** What `GET /map` answers where no tiles are set. @type {{tiles: string | null, attribution: string}} */
const NO_TILES = { tiles: null, attribution: "" };

/** @param {boolean} on @param {number} session @param {import("./map/city_map.js").CityMap | null} map
 * @returns {string} what is to be said of the tiles, empty without */
export function useTiles(on, session, map) {
  const [found, setFound] = useState(NO_TILES);
  useEffect(() => (on ? askUntilAnswered((signal) => request("map", { signal }), setFound) : undefined), [on, session]);
  useEffect(() => map?.setTiles(on ? found.tiles : null), [on, map, found]);
  return on ? found.attribution : "";
}
