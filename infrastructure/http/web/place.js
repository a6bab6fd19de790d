// The place of the page in its address: a new panel is a step that Back undoes, a new instant is not.

import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { PANELS } from "./panels/all.js";
import { parsePlace, placeQuery } from "./when.js";

/** @typedef {import("./when.js").Place} Place */

/** Browsers refuse an address that changes more than about six times a second, and the handle moves sixty times. */
const REPLACE_MS = 250;
const NAMES = PANELS.map((panel) => panel.name);
const panelOf = (/** @type {Place} */ place) => place.panel && `${place.panel.name} ${place.panel.id}`;

/** Writes the address that waits, if one does. @param {{wanted: string, timer: number, atMs: number}} waiting */
function replaceNow(waiting) {
  window.clearTimeout(waiting.timer);
  if (waiting.wanted) history.replaceState(null, "", waiting.wanted);
  Object.assign(waiting, { wanted: "", timer: 0, atMs: Date.now() });
}

/** @returns {[Place, (next: Place | ((old: Place) => Place)) => void]} */
export function usePlace() {
  const [place, setPlace] = useState(() => parsePlace(location.search, NAMES));
  const written = useRef(place);
  const address = useRef({ wanted: "", timer: 0, atMs: 0 });
  // With the layout, not after the next frame: what is seen can be left by Back or Forward at once, and an effect that
  // came later would take the place that was left for a new one, and end the steps that lie before.
  useLayoutEffect(() => {
    // A place that came from the address is not written back: by then, Back or Forward may have gone on, and the address
    // of another step would be overwritten (test_back_returns_to_the_panel_before_and_forward_goes_on).
    if (place === written.current) return;
    const isStep = panelOf(written.current) !== panelOf(place);
    written.current = place;
    const { current } = address;
    if (isStep) replaceNow(current);
    current.wanted = `${location.pathname}${placeQuery(place)}`;
    if (isStep) {
      history.pushState(null, "", current.wanted);
      current.wanted = "";
    } else if (!current.timer) {
      // Not before the reads of this instant have begun: the call waits for another process of the browser.
      const waitMs = Math.max(0, current.atMs + REPLACE_MS - Date.now());
      current.timer = window.setTimeout(() => replaceNow(current), waitMs);
    }
  }, [place]);
  useEffect(() => {
    const on = () => {
      // What waits belongs to the step that was left.
      window.clearTimeout(address.current.timer);
      address.current = { wanted: "", timer: 0, atMs: 0 };
      written.current = parsePlace(location.search, NAMES);
      setPlace(written.current);
    };
    window.addEventListener("popstate", on);
    return () => window.removeEventListener("popstate", on);
  }, []);
  return [place, setPlace];
}
