// What is known of one rider: its speed, explained down to the pings of its window.

import { html, useEffect, useLayoutEffect, useMemo } from "../vendor/htm-preact.js";
import { address, request, segment } from "../api.js";
import { Chart } from "../chart.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { PingList } from "../lineage/ping_list.js";
import { trackPoints } from "../map/track_points.js";
import { memo } from "../memo.js";
import { asOf } from "../when.js";
import { Fact, Problem } from "./parts.js";
import { Silence } from "./silence.js";
import { speedSeries } from "./speed_series.js";

/** @typedef {import("./registry.js").PageContext} PageContext */

const TRACK_EVENTS = 300;
const UNKNOWN = "No ping of a rider with this id is known. Check the id; the strip on top says whether the pipeline is late.";
/** @type {Record<string, string>} */
const UNKNOWN_THEN = {
  event: "This rider had sent no ping by then.", known: "No ping of this rider had been recorded by then.",
  position: "No ping of this rider has been recorded up to this position.",
};
/** @type {any[]} */
const NO_POINTS = [];
// Not compared again when the window or the instant changes.
const SteadyList = memo(PingList, (old, next) => old.points === next.points && old.page.live === next.page.live);
const SteadyRows = memo(WindowRows);
/** Above the track and below the riders: a rider on its own track is what a click means. */
const POINTS_HEIGHT = 45;

/** @param {{id: string, page: PageContext}} props */
function RiderView({ id, page }) {
  const { place, live, theme, map } = page;
  const at = asOf(place);
  const window_ = useReading(windowKey(id, at), live, (signal) =>
    request(address(`riders/${segment(id)}/window`, at), { signal }));
  // Of the past, the track follows the window: both at once would be folded in turns, and the window came as late as the
  // track, whose 300 speeds take longer.
  const trackAt = live ? "" : window_.key.slice(windowKey(id, "").length);
  const trackKey = `t ${id} ${trackAt}`;
  const track = useReading(trackKey, live, (signal) =>
    request(address(`riders/${segment(id)}/track`, `events=${TRACK_EVENTS}`, trackAt), { signal }), live || trackAt !== "");
  const rider = window_.data;
  const points = track.data?.rider_id === id ? track.data.points : NO_POINTS;
  const lit = new Set((rider?.pings ?? []).map((/** @type {any} */ ping) => ping.event_timestamp_ms));
  // With the layout: the map paints in the frame that shows the panel, once.
  useLayoutEffect(() => {
    map?.setTrack(points.map((/** @type {any} */ point) => ({ ...point, lit: lit.has(point.event_timestamp_ms) })));
    // Of the past, the window came before: what it lights up is painted with its track, and not on the one before too.
  }, [map, track.data, live ? window_.data : null]);
  useEffect(() => () => {
    map?.setTrack([]);
    map?.setLayer("points", POINTS_HEIGHT, null);
  }, [map]);
  useLayoutEffect(() => {
    map?.setLayer("points", POINTS_HEIGHT, trackPoints(points));
  }, [map, track.data]);
  const positions = useMemo(() => new Map(points.map((/** @type {any} */ point) => [pingKey(point), point.position])), [track.data]);
  const data = useMemo(() => speedSeries(points), [track.data]);
  const pings = useMemo(() => [...(rider?.pings ?? [])].reverse(), [rider]);
  // Of the past, the track of the window is on its way until it has come: what leads to its pings is not taken out and
  // put back at each instant.
  const waiting = !live && track.key !== trackKey;
  // An empty chart would say that it is a rider, and "as of then" is no word for now.
  if (!rider && window_.problem?.status === 404) return html`<p class="problem" role="status">${live ? UNKNOWN : UNKNOWN_THEN[place.axis]}</p>`;
  return html`
    <${Problem} problem=${window_.problem} />
    ${rider && html`
      <dl class="facts">
        <${Fact} name="speed" value=${text.speed(rider.speed_mps)} title="estimated from the ten latest pings, without outliers" />
        <${Fact} name="path speed" value=${text.speed(rider.path_speed_mps)} title="length of the path over its time" />
        <${Fact} name="last ping" value=${rider.age_ms === null ? "–" : `${text.age(rider.age_ms / 1000)} ${live ? "ago" : "before"}`} />
        <${Fact} name="status" value=${html`<span class=${`badge ${rider.status}`} title="how old the last ping is: fresh, stale, or expired">${rider.status}</span>`} />
        <${Fact} name="its events" value=${text.count(rider.version)} title="version: how many events this rider has" />
        <${Fact} name="log position" value=${text.count(rider.position)} title="of the last event of this rider that is in its speed" />
        <${RiderPlace} id=${id} page=${page} />
      </dl>`}
    ${live && rider && !window_.problem && track.data && html`<${Silence} id=${id} rider=${rider} last=${points.at(-1)} page=${page} />`}
    <h3>Speed along time</h3>
    <${Chart} label=${`Speed of the rider over its last ${points.length} pings`} data=${data} unit="km/h" theme=${theme}
      marker=${live ? null : (track.data?.at_ms ?? 0) / 1000}
      series=${[
        { label: "speed", colour: "accent" },
        { label: "path", colour: "muted", width: 1.25, dash: [4, 4] },
        { label: "phone", colour: "order", width: 1 },
      ]} />
    <h3>The latest ${pings.length} pings, which make the speed (its window)</h3>
    <div class="scroll"><table class="pings window">
      <thead><tr><th>time</th><th class="number">accuracy</th><th class="number" title="the speed that the phone measured">phone</th><th title="how much a ping counts for the speed, from 0 to 1">weight</th></tr></thead>
      <${SteadyRows} pings=${pings} positions=${positions} waiting=${waiting} live=${live} onOpen=${page.open} />
    </table></div>
    <${SteadyList} points=${points} page=${page} />
    <p class="evidence"><a href=${address("events", `key=${segment(id)}`, "stream=Rider")} target="_blank" rel="noopener">its events as JSON</a>,
      ${" "}<button class="link" onClick=${() => page.open("statement", id)}>what the rider is paid</button></p>`;
}

/** @param {{pings: any[], positions: Map<string, number>, waiting: boolean, live: boolean,
 *   onOpen: (name: string, id: string) => void}} props `positions` in the log by `pingKey`; `waiting`: others may come */
function WindowRows({ pings, positions, waiting, live, onOpen }) {
  const time = (/** @type {any} */ ping) => {
    const position = positions.get(pingKey(ping));
    const clock = text.clock(ping.event_timestamp_ms);
    if (position === undefined && !waiting) return clock;
    return html`<button class="link" disabled=${position === undefined} aria-label=${`What did the ping of ${clock} change?`}
      onClick=${() => onOpen("event", String(position))}>${clock}</button>`;
  };
  // While the handle moves, every ping is another one, and rows are used again instead of made again. At now a row keeps
  // its ping, so that the one that has the focus does not become another.
  const keyOf = (/** @type {any} */ ping, /** @type {number} */ row) => (live ? ping.event_id : row);
  return html`<tbody>${pings.map((ping, row) => html`
    <tr key=${keyOf(ping, row)} class=${ping.rejected ? "rejected" : ""}>
      <td>${time(ping)}</td>
      <td class="number">${ping.accuracy_meters === null ? "–" : `${Math.round(ping.accuracy_meters)} m`}</td>
      <td class="number">${text.speed(ping.speed_mps)}</td>
      <td>${ping.rejected
        ? html`<span class="badge stale">${text.words(ping.rejected)}</span>`
        : html`<meter min="0" max="1" value=${ping.weight} aria-label="weight"></meter> ${ping.weight.toFixed(2)}`}</td>
    </tr>`)}
  </tbody>`;
}

const windowKey = (/** @type {string} */ id, /** @type {string} */ at) => `w ${id} ${at}`;

/** A client may send one id with two times; the window has ids without hyphens. @param {any} ping */
const pingKey = (ping) => `${ping.event_timestamp_ms} ${ping.event_id.replaceAll("-", "")}`;

/** In words what the map shows, for who does not see it. @param {{id: string, page: PageContext}} props */
function RiderPlace({ id, page }) {
  const found = page.riders.find((one) => one.rider_id === id);
  return found && html`<div class="fact double"><dt>place (latitude, longitude)</dt><dd>${text.coordinates(found)}</dd></div>`;
}

/** @param {{page: PageContext}} props */
const FollowChip = ({ page }) =>
  html`<button class="chip" aria-pressed=${page.follow} onClick=${() => page.setFollow(!page.follow)}>Follow</button>`;

/** @type {import("./registry.js").Panel} */
export const riderPanel = { name: "rider", title: "rider", view: RiderView, actions: FollowChip };
