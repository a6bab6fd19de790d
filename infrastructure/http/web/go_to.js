// A field of date and time that moves the one instant of the page: for who knows when, and not how far to drag.

import { html } from "./vendor/htm-preact.js";

/** The instant as a field takes it, in the viewer's zone. @param {number} ms epoch */
export const localText = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

/** @param {{live: boolean, ms: number, onPlace: (change: any) => void, axis: string}} props */
export function GoTo({ live, ms, onPlace, axis }) {
  const go = (/** @type {any} */ event) => {
    const at = new Date(event.target.value).getTime();
    // Of the future nothing is known; a position is no time.
    if (Number.isFinite(at) && at < Date.now()) onPlace({ at, axis: axis === "position" ? "event" : axis });
  };
  return html`<input class="go-to" type="datetime-local" step="1" aria-label="Go to" max=${localText(Date.now())}
    value=${live ? "" : localText(ms)} onChange=${go} />`;
}
