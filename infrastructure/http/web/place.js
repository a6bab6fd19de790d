// The place of the page in its address: a new panel is a step that Back undoes, a new instant is not.

import { useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { PANELS } from "./panels/all.js";
import { parsePlace, placeQuery } from "./when.js";

/** @typedef {import("./when.js").Place} Place */

const NAMES = PANELS.map((panel) => panel.name);
const panelOf = (/** @type {Place} */ place) => place.panel && `${place.panel.name} ${place.panel.id}`;

/** @returns {[Place, (next: Place | ((old: Place) => Place)) => void]} */
export function usePlace() {
  const [place, setPlace] = useState(() => parsePlace(location.search, NAMES));
  const written = useRef(place);
  useEffect(() => {
    // A place that came from the address is not written back: by then, Back or Forward may have gone on, and the address
    // of another step would be overwritten (test_back_returns_to_the_panel_before_and_forward_goes_on).
    if (place === written.current) return;
    const address = `${location.pathname}${placeQuery(place)}`;
    if (panelOf(written.current) !== panelOf(place)) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    written.current = place;
  }, [place]);
  useEffect(() => {
    const on = () => {
      written.current = parsePlace(location.search, NAMES);
      setPlace(written.current);
    };
    window.addEventListener("popstate", on);
    return () => window.removeEventListener("popstate", on);
  }, []);
  return [place, setPlace];
}
