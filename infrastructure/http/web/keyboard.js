// Keys of the whole page. They do nothing while the viewer types, or works in a field, a menu or the map.

import { useLayoutEffect } from "./vendor/htm-preact.js";
import { PANELS } from "./panels/all.js";

/** @param {{page: import("./panels/registry.js").PageContext, playing: boolean, onPlay: (playing: boolean) => void,
 *   on: boolean}} how */
export function useKeys({ page, playing, onPlay, on }) {
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (!on || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const busy = /** @type {HTMLElement} */ (event.target).closest("input, select, textarea, canvas");
    const pressing = /** @type {HTMLElement} */ (event.target).closest("button, summary, a");
    if (event.key === "Escape") {
      if (page.place.panel) page.close();
    } else if (busy) return;
    else if (event.key === "n") page.change({ at: null });
    else if (event.key === " ") {
      // Space on a button presses it: it must not play as well.
      if (page.live || pressing) return;
      event.preventDefault();
      onPlay(!playing);
    } else if (event.key === "/") {
      event.preventDefault();
      /** @type {HTMLElement | null} */ (document.querySelector(".finder input"))?.focus();
    } else toggle(event, page);
  };
  // With the layout, not after the next frame: a key that is pressed as soon as the form of the token is gone must count.
  useLayoutEffect(() => {
    document.addEventListener("keydown", keys);
    return () => document.removeEventListener("keydown", keys);
  });
}

/** Opens the panel of a key, or closes it. @param {KeyboardEvent} event
 * @param {import("./panels/registry.js").PageContext} page */
function toggle(event, page) {
  const panel = PANELS.find((one) => one.key === event.key);
  if (!panel) return;
  event.preventDefault();
  if (page.place.panel?.name === panel.name) page.close();
  else page.open(panel.name);
}
