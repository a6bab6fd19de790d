// Case files of the fraud desk: the list of alerts, one with its evidence, and the review by a person.

import { html, useState } from "../vendor/htm-preact.js";
import { address, request, segment, send } from "../api.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { Fact, Id, Problem } from "./parts.js";

/** @typedef {import("./registry.js").PageContext} PageContext */

const STATUSES = ["open", "confirmed", "cleared"];
const SHOWN = 100;

/** @param {{page: PageContext}} props */
function AlertsView({ page }) {
  const [status, setStatus] = useState("open");
  const path = address("fraud/alerts", `status=${status}`, `limit=${SHOWN}`);
  const found = useReading(path, true, (signal) => request(path, { signal }));
  const items = found.data?.items ?? [];
  return html`<p class="quiet">An alert is a signal with its numbers, not a verdict: a person decides, and nothing follows by itself.</p>
    <p class="chips">${STATUSES.map((one) => html`<button key=${one} class="chip" aria-pressed=${one === status} onClick=${() => setStatus(one)}>${one}</button> `)}</p>
    <${Problem} problem=${found.problem} />
    <ul class="problems">${items.map((/** @type {any} */ one) => html`<li key=${one.alert_id}>
      <button class="link" onClick=${() => page.open("alert", one.alert_id)}>${text.words(one.kind)}: <${Id} id=${one.rider_id} /></button>${" "}
      <small>${text.day(one.raised_at_ms)} ${text.clock(one.raised_at_ms)}, score ${one.score}, ${one.signals.map(text.words).join(", ")}</small></li>`)}
      ${found.data && items.length === 0 && html`<li class="quiet">no alert is ${status}</li>`}
      ${found.data?.next && html`<li class="quiet">the first ${SHOWN} are shown</li>`}
    </ul>`;
}

/** @param {{alert: any, page: PageContext, onDone: () => void}} props */
function Review({ alert, page, onDone }) {
  const [by, setBy] = useState("");
  const [why, setWhy] = useState("");
  const [said, setSaid] = useState("");
  const decide = async (/** @type {string} */ verdict) => {
    try {
      const answer = await send(`fraud/alerts/${segment(alert.alert_id)}/review`, { verdict, by, why });
      setSaid(answer.recorded ? `recorded as ${verdict}` : "this was recorded before");
      onDone();
    } catch (error) {
      page.failed(error, setSaid);
    }
  };
  const ready = by.trim() !== "" && why.trim() !== "";
  return html`<form class="review" aria-label="Review" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <h3>Decide</h3>
    <p class="quiet">Both are recorded, and the rider can read them.</p>
    <label>Who decides <input value=${by} maxlength="128" required onInput=${(/** @type {any} */ event) => setBy(event.target.value)} /></label>
    <label>Why <textarea value=${why} maxlength="1000" rows="3" required onInput=${(/** @type {any} */ event) => setWhy(event.target.value)}></textarea></label>
    <p><button type="button" disabled=${!ready} onClick=${() => decide("cleared")}>There is another explanation</button>${" "}
      <button type="button" disabled=${!ready} onClick=${() => decide("confirmed")}>The signal is right</button></p>
    <p role="status">${said}</p>
  </form>`;
}

/** @param {{id: string, page: PageContext}} props */
function AlertView({ id, page }) {
  const [turn, setTurn] = useState(0);
  const [last, setLast] = useState(/** @type {any} */ (null));
  const found = useReading(`alert ${id} ${turn}`, false, (signal) => request(`fraud/alerts/${segment(id)}`, { signal }));
  if (found.data && found.data !== last) setLast(found.data);
  const alert = found.data ?? last;
  if (!alert) return html`<${Problem} problem=${found.problem} />`;
  return html`<dl class="facts">
      <${Fact} name="status" value=${html`<span class=${`badge ${alert.status === "open" ? "stale" : "fresh"}`}>${alert.status}</span>`} />
      <${Fact} name="rider" value=${html`<button class="link" onClick=${() => page.open("rider", alert.rider_id)}><${Id} id=${alert.rider_id} /></button>`} />
      <${Fact} name="raised" value=${`${text.day(alert.raised_at_ms)} ${text.clock(alert.raised_at_ms)}`} />
      <${Fact} name="score" value=${alert.score} title="orders the list, decides nothing" />
      ${alert.order_id !== null && html`<${Fact} name="order" value=${html`<button class="link" onClick=${() => page.open("order", alert.order_id)}><${Id} id=${alert.order_id} /></button>`} />`}
    </dl>
    <p class="quiet">${alert.rule}</p>
    <h3>What was seen</h3>
    <ul class="problems reasons">${alert.reasons.map((/** @type {any} */ one) => html`<li key=${one.signal}><b>${text.words(one.signal)}</b><p>${one.why}</p><p class="quiet">${one.clears}</p></li>`)}</ul>
    ${alert.place && html`<p class="because">${alert.place.words}</p>`}
    <h3>The window: ${alert.window.length} pings</h3>
    <div class="scroll" tabindex="0" role="group" aria-label="Pings of the window"><table class="pings"><thead><tr><th>time</th><th class="number">latitude</th><th class="number">longitude</th><th class="number">accuracy</th><th class="number" title="the speed that the phone measured">phone</th><th title="the phone says that an app made this position">mock</th></tr></thead>
      <tbody>${alert.window.map((/** @type {any} */ one) => html`<tr key=${one.event_id}><td>${text.clock(one.event_timestamp_ms)}</td>
        <td class="number">${one.latitude.toFixed(5)}</td><td class="number">${one.longitude.toFixed(5)}</td>
        <td class="number">${one.accuracy_meters === null ? "–" : `${Math.round(one.accuracy_meters)} m`}</td><td class="number">${text.speed(one.speed_mps)}</td>
        <td>${one.is_mock === null ? "–" : one.is_mock ? "yes" : "no"}</td></tr>`)}</tbody></table></div>
    <h3>Reviews</h3>
    <ol class="events reviews">${alert.reviews.map((/** @type {any} */ one) => html`<li key=${one.event_id}><b>${one.verdict}</b> by <bdi>${text.visible(one.by)}</bdi>, ${text.day(one.at_ms)} ${text.clock(one.at_ms)}: <bdi>${text.visible(one.why)}</bdi></li>`)}
      ${alert.reviews.length === 0 && html`<li class="quiet">no person has decided yet</li>`}</ol>
    <${Review} alert=${alert} page=${page} onDone=${() => setTurn((/** @type {number} */ old) => old + 1)} />
    <p class="evidence"><button class="link" onClick=${() => page.open("evidence", id)}>The events that it rests on</button>. The same file from the log alone: <code>${alert.replay}</code><br />sha256 <code>${alert.file_sha256}</code></p>`;
}

/** @type {import("./registry.js").Panel} */
export const alertsPanel = { name: "alerts", title: "Fraud alerts", view: AlertsView, menu: "Fraud alerts", key: "f" };

/** @type {import("./registry.js").Panel} */
export const alertPanel = { name: "alert", title: "Case file", view: AlertView, wide: true };
