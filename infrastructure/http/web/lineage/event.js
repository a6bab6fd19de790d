// An event with its causes and effects; of a ping, what it changed.

import { html, useEffect } from "../vendor/htm-preact.js";
import * as text from "../format.js";
import { differencesLayer } from "../map/differences.js";
import { Id } from "../panels/parts.js";
import { AlertButton, EntryButton, EtaButton, EventButton, KeyButton, Line, Section } from "./parts.js";
import { eventWords, lateness, verdictWords } from "./links.js";

/** Above the riders: a ring where the ping was. */
const RING_HEIGHT = 60;

/** @typedef {import("../panels/registry.js").PageContext} PageContext */

/** @param {{data: any, page: PageContext}} props */
export function EventView({ data, page }) {
  const { event, request, change } = data;
  const payload = event.payload ?? {};
  useEffect(() => {
    page.map?.setLayer("ping", RING_HEIGHT, change ? differencesLayer([{ here: payload, there: null }]) : null);
    return () => page.map?.setLayer("ping", RING_HEIGHT, null);
  }, [page.map, event.position]);
  return html`
    <h3 class="lineage-title">${change ? "What this ping changed" : eventWords(event.type)}</h3>
    <dl class="facts">
      <${Line} name="happened (your time)">${text.day(event.event_time_ms)} ${text.clock(event.event_time_ms)}<//>
      <${Line} name="recorded">${text.clock(event.recorded_at_ms)}, position ${text.count(event.position)}<//>
      <${Line} name="of"><${KeyButton} stream=${event.stream} id=${event.key} page=${page} />, event ${text.count(event.version)}<//>
      ${change && html`<${PingFacts} change=${change} payload=${payload} />`}
    </dl>
    ${change && html`<${Speeds} change=${change} />`}
    ${change && html`<${Section} title="Payouts that count it" empty=${data.payouts.length ? undefined : "no leg was open, so no payout counts it"}>
      ${change.legs.map((/** @type {any} */ leg) => leg.entries.length
        ? leg.entries.map((/** @type {any} */ entry) => html`<${EntryButton} entry=${entry} page=${page} />`)
        : html`<span>order <${Id} id=${leg.order_id} />, ${text.words(leg.leg)}: not paid yet</span>`)}
    <//>`}
    <${Section} title=${change ? "Payouts that it changed" : "Payouts that it made"} empty=${change && "none: no payout or adjustment was made by it"}>
      ${data.payouts.map((/** @type {any} */ entry) => html`<${EntryButton} entry=${entry} page=${page} />`)}
    <//>
    <${Section} title="Alerts that name it" empty=${change && "none"}>
      ${data.alerts.map((/** @type {any} */ alert) => html`<${AlertButton} alert=${alert} page=${page} />`)}
      ${payload.alert_id && html`<button class="link" onClick=${() => page.open("evidence", payload.alert_id)}>the alert that it decides on</button>`}
    <//>
    <${Section} title=${event.stream === "Rider" ? "ETAs served between it and the rider's next event" : "ETAs served between it and the order's next event"}
      empty="none is on record">
      ${data.etas.items.map((/** @type {any} */ eta) => html`<${EtaButton} eta=${eta} page=${page} />`)}
      ${data.etas.more && html`<span class="quiet">and more</span>`}
    <//>
    <${Section} title="Cause">
      ${data.cause && html`<${EventButton} link=${data.cause} page=${page} />`}
      ${event.caused_by !== null && !data.cause && html`<span class="quiet">event ${event.caused_by}, which was not found</span>`}
    <//>
    <${Section} title="Effects">
      ${data.effects.map((/** @type {any} */ link) => html`<${EventButton} link=${link} page=${page} />`)}
    <//>
    <${Request} request=${request} page=${page} />
    <nav class="neighbours" aria-label="Events of the same key">
      ${data.before && html`<button onClick=${() => page.open("event", String(data.before.position))}>← ${eventWords(data.before.type)}</button>`}
      ${data.after && html`<button class="next" onClick=${() => page.open("event", String(data.after.position))}>${eventWords(data.after.type)} →</button>`}
    </nav>`;
}

/** @param {{change: any, payload: any}} props */
function PingFacts({ change, payload }) {
  return html`
    <${Line} name="verdict"><span class=${`badge ${change.verdict === "accepted" ? "fresh" : "stale"}`}>${verdictWords(change)}</span><//>
    <${Line} name="lateness"><span title="received minus happened">${lateness(change.lateness_ms)}</span><//>
    <${Line} name="accuracy">${payload.accuracy_meters === null ? "unknown" : `${Math.round(payload.accuracy_meters)} m`}<//>
    <${Line} name="phone's speed">${text.speed(payload.speed_mps)}<//>
    ${change.effective_at_ms !== payload.event_timestamp_ms && html`<${Line} name="counts as of">${text.clock(change.effective_at_ms)}: its clock was ahead<//>`}`;
}

/** @param {{change: any}} props */
function Speeds({ change }) {
  const { before, after } = change;
  const row = (/** @type {string} */ name, /** @type {any} */ was, /** @type {any} */ is) => html`<tr>
    <th scope="row">${name}</th><td class="number">${was}</td><td class="number">${is}</td></tr>`;
  return html`<table class="compare"><thead><tr><th><span class="visually-hidden">value</span></th><th class="number">before</th><th class="number">after</th></tr></thead>
    <tbody>
      ${row("speed", text.speed(before?.speed_mps), text.speed(after?.speed_mps))}
      ${row("path speed", text.speed(before?.path_speed_mps), text.speed(after?.path_speed_mps))}
      ${row("pings in the window", text.count(before?.pings.length), text.count(after?.pings.length))}
    </tbody></table>`;
}

/** @param {{request: any, page: PageContext}} props */
function Request({ request, page }) {
  return html`<h3>Request</h3>
    <dl class="facts">
      ${request.command_id && html`<${Line} name=${request.has_key ? "Idempotency-Key" : "command"}>
        <button class="link" onClick=${() => page.open("command", request.command_id)}><${Id} id=${request.command_id} /></button><//>`}
      <${Line} name="received">${request.received_at_ms === null ? "unknown" : text.clock(request.received_at_ms)}<//>
      ${request.source_service && html`<${Line} name="sent by"><${Id} id=${request.source_service} /><//>`}
    </dl>
    <${Section} title="Also recorded by it">
      ${request.events.map((/** @type {any} */ link) => html`<${EventButton} link=${link} page=${page} />`)}
    <//>`;
}
