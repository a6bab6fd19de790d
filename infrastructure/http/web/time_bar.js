// The one time handle: drag, replay at ×1 to ×20, Now, and the axis on which the instant is meant.

import { html, useEffect } from "./vendor/htm-preact.js";
import * as text from "./format.js";
import { GoTo } from "./go_to.js";
import { AXES, AXIS_MEANINGS, AXIS_NAMES, convert, played, RATES, SPANS_MIN } from "./when.js";

/** @typedef {import("./when.js").Place} Place */

const PLAY_MS = 250;

/** Moves the place by itself, from the past to now. @param {{on: boolean, rate: number, head: number,
 *   setPlace: (next: (old: Place) => Place) => void}} how */
export function useReplay({ on, rate, head, setPlace }) {
  useEffect(() => {
    if (!on) return undefined;
    const timer = window.setInterval(() => setPlace((old) => played(old, PLAY_MS * rate, head, Date.now())), PLAY_MS);
    return () => window.clearInterval(timer);
  }, [on, rate, head]);
}

/** @param {{place: Place, shown: {ms: number, position: number | null}, head: number, rate: number, playing: boolean, span: number,
 *   onPlace: (change: Partial<Place>) => void, onNow: () => void, onPlay: (playing: boolean) => void,
 *   onRate: (rate: number) => void, onSpan: (span: number) => void}} props */
export function TimeBar({ place, shown, head, rate, playing, span, onPlace, onNow, onPlay, onRate, onSpan }) {
  const byPosition = place.axis === "position";
  const live = place.at === null;
  const now = Date.now();
  const [least, most] = byPosition ? [Math.max(0, head - span * 1000), head] : [now - span * 60_000, now];
  const value = place.at === null ? most : Math.max(least, Math.min(most, place.at));
  const label = place.at === null ? "now" : byPosition ? `position ${text.count(place.at)}` : `${text.day(place.at)}, ${text.clock(place.at)}`;
  return html`<footer class="time" aria-label="Time">
    <button class="icon" onClick=${() => onPlay(!playing)} aria-label=${playing ? "Pause" : "Play"} disabled=${live && !playing}>${playing ? "❚❚" : "▶"}</button>
    <select aria-label="Speed of the replay" value=${rate} onChange=${(/** @type {any} */ event) => onRate(Number(event.target.value))}>
      ${RATES.map((one) => html`<option value=${one} key=${one}>×${one}</option>`)}
    </select>
    <label class="slider"><span class="visually-hidden">Instant</span>
      <input type="range" min=${least} max=${most} step=${byPosition ? 1 : 1000} value=${value} aria-valuetext=${label}
        onInput=${(/** @type {any} */ event) => onPlace({ at: Number(event.target.value) })} />
    </label>
    <output class="instant">${label}</output>
    <${GoTo} live=${live} ms=${shown.ms} axis=${place.axis} onPlace=${onPlace} />
    <button class=${live ? "now on" : "now"} aria-pressed=${live} onClick=${onNow}>Now</button>
    <select aria-label="Axis" title=${AXIS_MEANINGS[place.axis]} value=${place.axis} onChange=${(/** @type {any} */ event) => onPlace(convert(place, event.target.value, shown, head))}>
      ${AXES.map((axis) => html`<option value=${axis} key=${axis}>${AXIS_NAMES[axis]}</option>`)}
    </select>
    <select class="span" aria-label="Length of the slider" value=${span} onChange=${(/** @type {any} */ event) => onSpan(Number(event.target.value))}>
      ${SPANS_MIN.map((one) => html`<option value=${one} key=${one}>${byPosition ? `${text.count(one * 1000)} events` : one < 60 ? `${one} min` : `${one / 60} h`}</option>`)}
    </select>
  </footer>`;
}
