// Gives the map the tiles of the server's settings, if it has some, and says whose they are.

import { useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { request } from "./api.js";
import { byTemplate } from "./map/tiles.js";
import { askUntilAnswered } from "./retry.js";

/** What `GET /map` answers where no tiles are set. @type {{tiles: string | null, archive: string | null, attribution: string}} */
const NO_TILES = { tiles: null, archive: null, attribution: "" };
/** @type {{addressOf: import("./map/tiles.js").AddressOf | null, problem: string}} */
const NOT_OPEN = { addressOf: null, problem: "" };

/** @param {boolean} on @param {number} session @param {import("./map/city_map.js").CityMap | null} map
 * @returns {{attribution: string, problem: string}} what is to be said of the tiles, and why there are none; both empty
 * where none are set */
export function useTiles(on, session, map) {
  const [found, setFound] = useState(NO_TILES);
  useEffect(() => (on ? askUntilAnswered((signal) => request("map", { signal }), setFound) : undefined), [on, session]);
  const archive = useArchive(on ? found.archive : null);
  const template = on ? found.tiles : null;
  const images = useMemo(() => (template === null ? null : byTemplate(template)), [template]);
  const addressOf = images ?? archive.addressOf;
  useEffect(() => map?.setTiles(addressOf), [map, addressOf]);
  return { attribution: addressOf ? found.attribution : "", problem: archive.problem };
}

/** A PMTiles archive. Where it cannot be read, it is tried again: its server may have been unavailable.
 * @param {string | null} address */
function useArchive(address) {
  const [state, setState] = useState(NOT_OPEN);
  useEffect(() => {
    setState(NOT_OPEN);
    if (address === null) return undefined;
    return askUntilAnswered(async (signal) => {
      try {
        const { openArchive } = await import("./map/tile_archive.js");
        return await openArchive(address);
      } catch (error) {
        const why = /** @type {Error} */ (error).message;
        const problem = `The PMTiles archive of RIDELOG_MAP_TILES cannot be read (${why}): its server must answer ranges, and allow this page by CORS.`;
        if (!signal.aborted) setState({ addressOf: null, problem });
        throw error;
      }
    }, setState);
  }, [address]);
  return state;
}
