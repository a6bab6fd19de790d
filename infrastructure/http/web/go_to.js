// A field of date and time that moves the one instant of the page: for who knows when, and not how far to drag.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";

/** A browser makes all parts of the field again for a new value: while the handle moves, the field follows as often. */
const FOLLOW_MS = 500;
const MINUTE_MS = 60_000;

/** The instant as a field takes it, in the viewer's zone. @param {number} ms epoch */
export const localText = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

/** The newest value, at most every `FOLLOW_MS`. @param {number} ms @returns {number} */
function useFollowing(ms) {
  const [followed, setFollowed] = useState(ms);
  const newest = useRef(ms);
  const turn = useRef({ timer: 0, atMs: 0 });
  newest.current = ms;
  useEffect(() => {
    const { current } = turn;
    if (current.timer || ms === followed) return;
    current.timer = window.setTimeout(() => {
      Object.assign(current, { timer: 0, atMs: Date.now() });
      setFollowed(newest.current);
    }, Math.max(0, current.atMs + FOLLOW_MS - Date.now()));
  }, [ms, followed]);
  useEffect(() => () => window.clearTimeout(turn.current.timer), []);
  return followed;
}

/** @param {{live: boolean, ms: number, onPlace: (change: any) => void, axis: string}} props */
export function GoTo({ live, ms, onPlace, axis }) {
  const go = (/** @type {any} */ event) => {
    const at = new Date(event.target.value).getTime();
    // Of the future nothing is known; a position is no time.
    if (Number.isFinite(at) && at < Date.now()) onPlace({ at, axis: axis === "position" ? "event" : axis });
  };
  const shownMs = useFollowing(ms);
  const mostMs = Math.ceil(Date.now() / MINUTE_MS) * MINUTE_MS;
  return html`<input class="go-to" type="datetime-local" step="1" aria-label="Go to" max=${localText(mostMs)}
    value=${live ? "" : localText(shownMs)} onChange=${go} />`;
}
