// Lists that drop down over the map: the menu and the stages of the pipeline. They must not stay in the way.

import { useEffect, useRef } from "./vendor/htm-preact.js";

/** Closes an open `<details>` on Escape, which gives the focus back, and on a press elsewhere.
 * @returns {{box: {current: HTMLDetailsElement | null}, onKeyDown: (event: KeyboardEvent) => void, close: () => void}}
 *   `box` and `onKeyDown` are for the element */
export function useDropDown() {
  const box = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  const close = () => {
    if (box.current) box.current.open = false;
  };
  useEffect(() => {
    const pressed = (/** @type {PointerEvent} */ event) => {
      if (box.current?.open && !box.current.contains(/** @type {Node} */ (event.target))) close();
    };
    // While it goes down: the map keeps what it takes from going up.
    document.addEventListener("pointerdown", pressed, true);
    return () => document.removeEventListener("pointerdown", pressed, true);
  }, []);
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !box.current?.open) return;
    // The same key closes a panel, which is another step.
    event.stopPropagation();
    close();
    box.current.querySelector("summary")?.focus();
  };
  return { box, onKeyDown, close };
}
