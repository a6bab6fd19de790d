// What is known of one rider or one order, each number explained down to its pings and events.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { address, ApiProblem, request, segment } from "./api.js";
import { Chart } from "./chart.js";
import * as text from "./format.js";
import { asOf, statusAt } from "./when.js";

const REFRESH_MS = 2000;
const TRACK_EVENTS = 300;
const MAX_ETA_POINTS = 900;

/** An id that other people chose: as text, in its own direction, with its hidden characters shown. */
export const Id = (/** @type {{id: string}} */ { id }) => html`<bdi class="id">${text.visible(id)}</bdi>`;

/** Reads again when `key` changes, and every two seconds while it is live. The newest answer wins.
 * @param {string} key @param {boolean} live @param {(signal: AbortSignal) => Promise<any>} read */
function useReading(key, live, read) {
  const [state, setState] = useState(/** @type {{key: string, data: any, problem: ApiProblem | null}} */ ({ key: "", data: null, problem: null }));
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const turn = async () => {
      try {
        const data = await read(abort.signal);
        if (!abort.signal.aborted) setState({ key, data, problem: null });
      } catch (error) {
        if (abort.signal.aborted) return;
        const problem = error instanceof ApiProblem ? error : new ApiProblem(0, "error", String(error));
        setState((old) => ({ key, data: old.key === key ? old.data : null, problem }));
      }
      if (live && !abort.signal.aborted) timer = window.setTimeout(turn, REFRESH_MS);
    };
    const first = window.setTimeout(turn, live ? 0 : 60);
    return () => {
      abort.abort();
      window.clearTimeout(first);
      window.clearTimeout(timer);
    };
  }, [key, live]);
  return state;
}

const Fact = (/** @type {any} */ { name, value, title }) =>
  html`<div class="fact" title=${title}><dt>${name}</dt><dd>${value}</dd></div>`;

const Problem = (/** @type {{problem: ApiProblem | null}} */ { problem }) =>
  problem && html`<p class="problem" role="status">${problem.message}</p>`;

/** @param {{id: string, place: any, theme: string, onTrack: (points: any[]) => void, onOrder: (id: string) => void}} props */
export function RiderPanel({ id, place, theme, onTrack }) {
  const live = place.at === null;
  const at = asOf(place);
  const window_ = useReading(`w ${id} ${at}`, live, (signal) =>
    request(address(`riders/${segment(id)}/window`, at), { signal }));
  const track = useReading(`t ${id} ${at}`, live, (signal) =>
    request(address(`riders/${segment(id)}/track`, `events=${TRACK_EVENTS}`, at), { signal }));
  const rider = window_.data;
  const points = track.data?.rider_id === id ? track.data.points : [];
  const lit = new Set((rider?.pings ?? []).map((/** @type {any} */ ping) => ping.event_timestamp_ms));
  useEffect(() => {
    onTrack(points.map((/** @type {any} */ point) => ({ ...point, lit: lit.has(point.event_timestamp_ms) })));
  }, [track.data, window_.data]);
  const data = useMemo(() => speedSeries(points), [track.data]);
  const pings = [...(rider?.pings ?? [])].reverse();
  return html`
    <${Problem} problem=${window_.problem} />
    ${rider && html`
      <dl class="facts">
        <${Fact} name="speed" value=${text.speed(rider.speed_mps)} title="robust estimate of the ten latest pings" />
        <${Fact} name="path speed" value=${text.speed(rider.path_speed_mps)} title="length of the path over its time" />
        <${Fact} name="age" value=${text.age(rider.age_ms === null ? null : rider.age_ms / 1000)} />
        <${Fact} name="status" value=${html`<span class=${`badge ${rider.status}`}>${rider.status}</span>`} />
        <${Fact} name="version" value=${text.count(rider.version)} />
        <${Fact} name="position" value=${text.count(rider.position)} />
      </dl>`}
    <h3>Speed along time</h3>
    <${Chart} label=${`Speed of the rider over its last ${points.length} pings`} data=${data} unit="km/h" theme=${theme}
      marker=${live ? null : (rider?.at_ms ?? 0) / 1000}
      series=${[
        { label: "speed", colour: "accent" },
        { label: "path", colour: "muted", width: 1.25, dash: [4, 4] },
        { label: "phone", colour: "order", width: 1 },
      ]} />
    <h3>The window: ${pings.length} pings</h3>
    <div class="scroll"><table class="pings">
      <thead><tr><th>time</th><th class="number">accuracy</th><th class="number">phone</th><th>weight</th></tr></thead>
      <tbody>${pings.map((/** @type {any} */ ping) => html`
        <tr key=${ping.event_id} class=${ping.rejected ? "rejected" : ""}>
          <td>${text.clock(ping.event_timestamp_ms)}</td>
          <td class="number">${ping.accuracy_meters === null ? "–" : `${Math.round(ping.accuracy_meters)} m`}</td>
          <td class="number">${text.speed(ping.speed_mps)}</td>
          <td>${ping.rejected
            ? html`<span class="badge stale">${text.words(ping.rejected)}</span>`
            : html`<meter min="0" max="1" value=${ping.weight} aria-label="weight"></meter> ${ping.weight.toFixed(2)}`}</td>
        </tr>`)}
      </tbody>
    </table></div>
    <p class="evidence"><a href=${address("events", `key=${segment(id)}`, "stream=Rider")} target="_blank" rel="noopener">its events as JSON</a></p>`;
}

/** @param {any[]} points of a track @returns {(number | null)[][]} by time, each instant once */
export function speedSeries(points) {
  const byTime = new Map();
  for (const point of points) byTime.set(point.event_timestamp_ms, point);
  const sorted = [...byTime.values()].sort((a, b) => a.event_timestamp_ms - b.event_timestamp_ms);
  const kmh = (/** @type {number | null} */ mps) => (mps === null ? null : mps * 3.6);
  return [
    sorted.map((point) => point.event_timestamp_ms / 1000),
    sorted.map((point) => kmh(point.speed_mps)),
    sorted.map((point) => kmh(point.path_speed_mps)),
    sorted.map((point) => kmh(point.device_speed_mps)),
  ];
}

const STAGES = [
  ["placed_at_ms", "placed"], ["assigned_at_ms", "assigned"], ["picked_up_at_ms", "picked up"],
  ["arrived_at_ms", "arrived"], ["completed_at_ms", "completed"], ["cancelled_at_ms", "cancelled"],
];

/** @param {{id: string, place: any, theme: string, atMs: number, onRider: (id: string) => void}} props */
export function OrderPanel({ id, place, theme, atMs, onRider }) {
  const live = place.at === null;
  const order = useReading(`o ${id}`, live, (signal) => request(`deliveries/${segment(id)}`, { signal }));
  const events = useReading(`e ${id} ${order.data?.version ?? 0}`, false, (signal) =>
    request(address("events", `key=${segment(id)}`, "stream=Delivery", "limit=100"), { signal }));
  const etaAt = place.axis === "event" && !live ? `at=${Math.round(atMs)}` : asOf(place);
  const eta = useReading(`a ${id} ${etaAt}`, live, (signal) => request(address(`deliveries/${segment(id)}/eta`, etaAt), { signal }));
  const answers = useRef(/** @type {{id: string, list: any[]}} */ ({ id: "", list: [] }));
  if (answers.current.id !== id) answers.current = { id, list: [] };
  const found = order.data;
  if (live && eta.data && eta.data.order_id === id && answers.current.list.at(-1)?.at_ms !== eta.data.at_ms) {
    answers.current.list.push(eta.data);
    if (answers.current.list.length > MAX_ETA_POINTS) answers.current.list.shift();
  }
  const onRecord = (events.data?.items ?? []).filter((/** @type {any} */ one) => one.type === "EtaServed" && one.payload);
  const data = useMemo(
    () => etaSeries(found, onRecord.map((/** @type {any} */ one) => one.payload), answers.current.list),
    [found, events.data, eta.data],
  );
  if (!found) return html`<${Problem} problem=${order.problem} />`;
  const zone = found.time_zone;
  const took = found.completed_at_ms === null ? null : (found.completed_at_ms - found.placed_at_ms) / 60_000;
  const lines = [];
  if (found.promised_seconds !== null) lines.push({ y: found.promised_seconds / 60, label: "promised", colour: "stale" });
  if (took !== null) lines.push({ y: took, label: "took", colour: "rider" });
  const over = eta.problem?.code === "delivery_over";
  return html`
    <dl class="facts">
      <${Fact} name="status" value=${html`<span class="badge fresh">${text.words((live ? null : statusAt(found, atMs)) ?? found.status)}</span>`} />
      <${Fact} name="hand-over" value=${over || !eta.data ? "–" : `in ${text.duration(eta.data.p50_seconds)}`} title="median" />
      <${Fact} name="9 of 10 by" value=${over || !eta.data ? "–" : text.clock(eta.data.at_ms + eta.data.p90_seconds * 1000, zone)} title="90 % quantile" />
      <${Fact} name="promised" value=${found.promised_seconds === null ? "–" : text.clock(found.placed_at_ms + found.promised_seconds * 1000, zone)} />
    </dl>
    ${eta.problem && !over && html`<${Problem} problem=${eta.problem} />`}
    ${!over && eta.data?.because.length > 0 && html`<p class="because">because ${eta.data.because.map((/** @type {string} */ code) => html`<span class="badge stale" key=${code}>${text.words(code)}</span> `)}</p>`}
    ${found.rider_id !== null && html`<p>carried by <button class="link" onClick=${() => onRider(found.rider_id)}><${Id} id=${found.rider_id} /></button></p>`}
    <h3>Minutes from order to hand-over, as foreseen</h3>
    <${Chart} label="The ETA along the order's life, P50 to P90" data=${data} unit="min" theme=${theme} lines=${lines} band=${[2, 1]}
      marker=${live ? null : atMs / 1000}
      series=${[
        { label: "P50", colour: "accent", points: data[0].length < 12 },
        { label: "P90", colour: "accent", width: 1, points: data[0].length < 12 },
      ]} />
    <h3>Stages <small>${zone}</small></h3>
    <ol class="stages">${STAGES.filter(([field]) => found[field] !== null).map(([field, name]) => html`
      <li key=${field} class=${found[field] <= atMs ? "done" : "later"}>
        <span>${name}</span> <time>${text.clock(found[field], zone)}</time>
        <small>${field === "placed_at_ms" ? text.day(found[field]) : `+${text.duration((found[field] - found.placed_at_ms) / 1000)}`}</small>
      </li>`)}
    </ol>
    <details><summary>${text.count(events.data?.items.length)} events</summary>
      <ol class="events">${(events.data?.items ?? []).map((/** @type {any} */ one) => html`
        <li key=${one.position}><b>${one.type}</b> <time>${text.clock(one.recorded_at_ms)}</time>
          <small>position ${text.count(one.position)}${one.type === "EtaServed" && one.payload ? `, ${text.duration(one.payload.p50_seconds)} to ${text.duration(one.payload.p90_seconds)}` : ""}</small></li>`)}
      </ol>
    </details>
    <p class="evidence"><a href=${address("events", `key=${segment(id)}`, "stream=Delivery")} target="_blank" rel="noopener">its events as JSON</a></p>`;
}

/** Minutes from placing to hand-over as each answer foresaw. @param {any} order @param {any[]} recorded events
 * `EtaServed` @param {any[]} served answers since the panel opened @returns {(number | null)[][]} */
export function etaSeries(order, recorded, served) {
  if (!order) return [[], [], []];
  const answers = [
    ...recorded.map((one) => ({ at: one.event_timestamp_ms, p50: one.p50_seconds, p90: one.p90_seconds })),
    ...served.map((one) => ({ at: one.at_ms, p50: one.p50_seconds, p90: one.p90_seconds })),
  ].sort((a, b) => a.at - b.at);
  const minutes = (/** @type {number} */ at, /** @type {number} */ seconds) => (at - order.placed_at_ms) / 60_000 + seconds / 60;
  return [
    answers.map((one) => one.at / 1000),
    answers.map((one) => minutes(one.at, one.p50)),
    answers.map((one) => minutes(one.at, one.p90)),
  ];
}
