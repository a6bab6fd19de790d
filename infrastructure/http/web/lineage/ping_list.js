// A rider's latest pings in the order in which they came, with how late each came; each leads to what it changed.

import { html, useState } from "../vendor/htm-preact.js";
import { clock, count, speed } from "../format.js";
import { lateness } from "./links.js";

/** A ping that came later than this is marked. */
const LATE_MS = 60_000;
const SHOWN = 15;

/** @param {any} point of a track @returns {number | null} */
export const latenessOf = (point) =>
  point.received_timestamp_ms === null ? null : point.received_timestamp_ms - point.event_timestamp_ms;

/** The newest pings of a track, and before them the late ones of all of it. @param {any[]} points @param {boolean} lateOnly */
export function listed(points, lateOnly) {
  const newest = [...points].reverse();
  return lateOnly ? newest.filter((point) => (latenessOf(point) ?? 0) > LATE_MS) : newest;
}

/** @param {{points: any[], page: import("../panels/registry.js").PageContext}} props */
export function PingList({ points, page }) {
  const [all, setAll] = useState(false);
  const [lateOnly, setLateOnly] = useState(false);
  const late = listed(points, true).length;
  const found = listed(points, lateOnly);
  if (!points.length) return null;
  return html`<h3>Pings in the order in which they came</h3>
    <label class="chip-line"><input type="checkbox" checked=${lateOnly} onChange=${() => setLateOnly(!lateOnly)} />
      only late ones: ${count(late)} of ${count(points.length)}</label>
    <div class="scroll"><table class="compare came">
      <thead><tr><th>time</th><th class="number">lateness</th><th class="number">speed after it</th></tr></thead>
      <tbody>${found.slice(0, all ? found.length : SHOWN).map((point, row) => html`<tr key=${page.live ? point.position : row}>
        <td><button class="link" aria-label=${`What did the ping of ${clock(point.event_timestamp_ms)} change?`}
          onClick=${() => page.open("event", String(point.position))}>${clock(point.event_timestamp_ms)}</button></td>
        <td class="number">${(latenessOf(point) ?? 0) > LATE_MS
          ? html`<span class="badge stale">${lateness(latenessOf(point))}</span>`
          : lateness(latenessOf(point))}</td>
        <td class="number">${speed(point.speed_mps)}</td>
      </tr>`)}</tbody>
    </table></div>
    ${found.length > SHOWN && html`<button class="chip" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? "fewer" : `all ${count(found.length)}`}</button>`}`;
}
