// What is known of one order: its stages, and its ETA along its life against what was promised and what it took.

import { html, useMemo, useRef } from "../vendor/htm-preact.js";
import { address, request, segment } from "../api.js";
import { Chart } from "../chart.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { Answers, answersOnRecord } from "../lineage/answers.js";
import { eventWords } from "../lineage/links.js";
import { asOf } from "../when.js";
import { stagesOf } from "./order_stages.js";
import { Fact, Id, Problem } from "./parts.js";

const MAX_ETA_POINTS = 900;

/** The code of an order whose placing does not count as of then, and what is said of its stage. */
const UNKNOWN = "unknown_delivery";
/** @type {Record<string, string>} */
const NOT_YET = { event: "not placed yet", known: "not known yet", position: "not known yet" };

/** The order as of the place; null for now. @param {string} id @param {import("../when.js").Place} place
 * @param {AbortSignal} signal @returns {Promise<{axis: string, order: any} | null>} */
async function readThen(id, place, signal) {
  if (place.at === null) return null;
  const { order } = await request(address(`orders/${segment(id)}`, asOf(place)), { signal });
  return { axis: place.axis, order };
}

/** @param {{id: string, page: import("./registry.js").PageContext}} props */
function OrderView({ id, page }) {
  const { place, live, theme, shownMs: atMs } = page;
  const order = useReading(`o ${id}`, live, (signal) => request(`deliveries/${segment(id)}`, { signal }));
  // By the fold of its events that count as of then, as on the map. The times of the stages as they are known now would
  // show a step that was reported later (test_the_panel_of_an_order_shows_the_stage_of_the_map_on_each_axis).
  const past = useReading(`t ${id} ${asOf(place)}`, false, (signal) => readThen(id, place, signal));
  const events = useReading(`e ${id} ${order.data?.version ?? 0}`, false, (signal) =>
    request(address("events", `key=${segment(id)}`, "stream=Delivery", "limit=100"), { signal }));
  const etaAt = place.axis === "event" && !live ? `at=${Math.round(atMs)}` : asOf(place);
  const eta = useReading(`a ${id} ${etaAt}`, live, (signal) => request(address(`deliveries/${segment(id)}/eta`, etaAt), { signal }));
  const record = useReading(`r ${id} ${order.data?.version ?? 0}`, false, (signal) => answersOnRecord(id, signal));
  const answers = useRef(/** @type {{id: string, list: any[]}} */ ({ id: "", list: [] }));
  if (answers.current.id !== id) answers.current = { id, list: [] };
  const found = order.data;
  if (live && eta.data && eta.data.order_id === id && answers.current.list.at(-1)?.at_ms !== eta.data.at_ms) {
    answers.current.list.push(eta.data);
    if (answers.current.list.length > MAX_ETA_POINTS) answers.current.list.shift();
  }
  const recorded = record.data?.items ?? [];
  // Only the newest answers of all orders are kept; the first of each leg is an event, which stays.
  const firsts = (events.data?.items ?? []).filter((/** @type {any} */ one) => one.type === "EtaServed" && one.payload);
  const until = recorded.at(-1)?.at_ms ?? 0;
  const data = useMemo(
    () => etaSeries(found, recorded.length ? [] : firsts.map((/** @type {any} */ one) => one.payload),
      [...recorded, ...answers.current.list.filter((one) => one.at_ms > until)]),
    [found, events.data, eta.data, record.data],
  );
  if (!found) return html`<${Problem} problem=${order.problem} />`;
  const then = live ? found : past.data?.axis === place.axis ? past.data.order : null;
  const isPlaced = past.problem?.code !== UNKNOWN;
  const zone = found.time_zone;
  // One clock for the whole page, the viewer's, since the handle and the chart have it; the city's beside it where it is
  // another (test_every_time_of_an_order_is_by_one_clock).
  const otherZone = text.clock(found.placed_at_ms, zone) !== text.clock(found.placed_at_ms);
  const took = found.completed_at_ms === null ? null : (found.completed_at_ms - found.placed_at_ms) / 60_000;
  const lines = [];
  if (found.promised_seconds !== null) lines.push({ y: found.promised_seconds / 60, label: "promised", colour: "stale" });
  if (took !== null) lines.push({ y: took, label: "took", colour: "rider" });
  const over = eta.problem?.code === "delivery_over";
  return html`
    <dl class="facts">
      <${Fact} name="status" value=${html`<span class="badge fresh">${then ? text.words(then.status) : isPlaced ? "…" : NOT_YET[place.axis]}</span>`} />
      <${Fact} name="hand-over" value=${over || !eta.data ? "–" : `in ${text.duration(eta.data.p50_seconds)}`} title="P50, the median: half of such orders are handed over by then" />
      <${Fact} name="90 % certain by" value=${over || !eta.data ? "–" : text.clock(eta.data.at_ms + eta.data.p90_seconds * 1000)} title="P90: nine of ten such orders are handed over by then" />
      <${Fact} name="promised" value=${found.promised_seconds === null ? "–" : text.clock(found.placed_at_ms + found.promised_seconds * 1000)} />
    </dl>
    ${past.problem && isPlaced && html`<${Problem} problem=${past.problem} />`}
    ${eta.problem && !over && html`<${Problem} problem=${eta.problem} />`}
    ${!over && eta.data?.because.length > 0 && html`<p class="because">because ${eta.data.because.map((/** @type {string} */ code) => html`<span class="badge stale" key=${code}>${text.words(code)}</span> `)}</p>`}
    ${(then?.rider_id ?? null) !== null && html`<p>${then.status === "assigned" ? "assigned to" : "carried by"} <button class="link" onClick=${() => page.find("rider", then.rider_id)}><${Id} id=${then.rider_id} /></button></p>`}
    <h3>ETA: minutes from order to hand-over</h3>
    <${Chart} label="The ETA along the order's life: the likely one (P50), and the one that is 90 % certain (P90)" data=${data} unit="min" theme=${theme} lines=${lines} band=${[2, 1]}
      marker=${live ? null : atMs / 1000}
      series=${[
        { label: "likely (P50)", colour: "accent", points: data[0].length < 12 },
        { label: "90 % certain (P90)", colour: "accent", width: 1, points: data[0].length < 12 },
      ]} />
    ${record.data && events.data && html`<${Answers} answers=${recorded} firsts=${firsts.length} more=${record.data.more} page=${page} />`}
    <h3>Stages${otherZone && html` <small>your time (${zone})</small>`}</h3>
    <ol class="stages">${stagesOf(found, then).map(({ field, name, ms, isDone }) => html`
      <li key=${field} class=${isDone ? "done" : "later"}>
        <span>${name}</span> <time>${text.clock(ms)}${otherZone && ` (${text.clock(ms, zone).slice(0, 5)})`}</time>
        <small>${field === "placed_at_ms" ? text.day(ms) : `+${text.duration((ms - found.placed_at_ms) / 1000)}`}</small>
      </li>`)}
    </ol>
    <details><summary>${text.count(events.data?.items.length)} events</summary>
      <ol class="events">${(events.data?.items ?? []).map((/** @type {any} */ one) => html`
        <li key=${one.position}><button class="link" onClick=${() => page.open("event", String(one.position))}>${eventWords(one.type)}</button> <time>${text.clock(one.recorded_at_ms)}</time>
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

/** @type {import("./registry.js").Panel} */
export const orderPanel = { name: "order", title: "order", view: OrderView };
