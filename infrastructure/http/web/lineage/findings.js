// An answer on record, an alert, an entry of a payout and a command, each with the events behind it.

import { html } from "../vendor/htm-preact.js";
import * as text from "../format.js";
import { Id } from "../panels/parts.js";
import { digitsOf, itemName, major } from "../panels/statement_text.js";
import { EntryButton, EtaButton, EventButton, KeyButton, Line, Section } from "./parts.js";
import { amountText, featureName, featureText, moved } from "./links.js";

/** @typedef {{data: any, page: import("../panels/registry.js").PageContext}} ViewProps */

/** @param {ViewProps} props */
export function EtaView({ data, page }) {
  const { eta, previous } = data;
  return html`
    <h3 class="lineage-title">Why the ETA ${data.moved_seconds === null ? "is what it is" : `moved by ${moved(data.moved_seconds)}`}</h3>
    <dl class="facts">
      <${Line} name="answered (your time)">${text.day(eta.at_ms)} ${text.clock(eta.at_ms)}<//>
      <${Line} name="hand-over"><span title="P50, the median, and P90">${text.clock(eta.hand_over_ms)}, 90 % certain by ${text.clock(eta.at_ms + eta.p90_seconds * 1000)}</span><//>
      <${Line} name="order"><${KeyButton} stream="Delivery" id=${eta.order_id} page=${page} />, ${text.words(eta.leg)}<//>
      ${eta.because.length > 0 && html`<${Line} name="because">${eta.because.map((/** @type {string} */ code) => html`<span class="badge stale" key=${code}>${text.words(code)}</span> `)}<//>`}
    </dl>
    ${previous && html`<p>Before: <${EtaButton} eta=${previous} page=${page} /></p>`}
    ${previous && html`<h3>What differs from the answer before</h3><ul class="links">
      ${data.order_events.map((/** @type {any} */ link) => html`<li key=${link.position}><${EventButton} link=${link} page=${page} /></li>`)}
      ${data.rider_events !== 0 && html`<li>${data.rider_events === null ? "the rider: another one than before, or the first" : `${text.count(data.rider_events)} new events of the rider`}</li>`}
      ${data.city_changed && html`<li>the city snapshot (traffic, calibration): ${previous.city_snapshot ?? "none"} → ${eta.city_snapshot ?? "none"}</li>`}
      ${data.model_changed && html`<li>the model: ${previous.model} → ${eta.model}</li>`}
    </ul>
    <table class="compare"><thead><tr><th title="what the model computes the ETA from">input (feature)</th><th class="number">before</th><th class="number">now</th></tr></thead>
      <tbody>${data.changes.map((/** @type {any} */ one) => html`<tr key=${one.feature}><th scope="row">${featureName(one.feature)}</th>
        <td class="number">${featureText(one.feature, one.before)}</td><td class="number">${featureText(one.feature, one.after)}</td></tr>`)}</tbody></table>`}
    <${Section} title="Computed from">
      ${data.order_event && html`<${EventButton} link=${data.order_event} page=${page} note="the order's last event" />`}
      ${data.rider_event && html`<${EventButton} link=${data.rider_event} page=${page} note="the rider's last event" />`}
    <//>`;
}

/** @param {ViewProps} props */
export function AlertView({ data, page }) {
  const { alert } = data;
  return html`
    <h3 class="lineage-title">${alert.kind} alert</h3>
    <dl class="facts">
      <${Line} name="raised">${text.day(alert.raised_at_ms)} ${text.clock(alert.raised_at_ms)}<//>
      <${Line} name="about"><${KeyButton} stream="Rider" id=${alert.rider_id} page=${page} /><//>
      <${Line} name="status"><span class="badge stale">${alert.status}</span>
        <button class="link" onClick=${() => page.open("alert", alert.alert_id)}>case file and review</button><//>
      ${data.order_id && html`<${Line} name="order"><${KeyButton} stream="Delivery" id=${data.order_id} page=${page} /><//>`}
    </dl>
    <${Section} title="Raised by">${data.raised_by && html`<${EventButton} link=${data.raised_by} page=${page} />`}<//>
    <${Section} title="Evidence">
      ${data.evidence.map((/** @type {any} */ one) => html`<span>${text.words(one.signal)}: <${EventButton} link=${one.event} page=${page} /></span>`)}
    <//>
    <${Section} title="Its window">${data.window.map((/** @type {any} */ link) => html`<${EventButton} link=${link} page=${page} />`)}<//>
    <${Section} title="Reviews" empty="no person has decided about it">
      ${data.reviews.map((/** @type {any} */ link) => html`<${EventButton} link=${link} page=${page} />`)}
    <//>`;
}

/** @param {ViewProps} props */
export function PayoutView({ data, page }) {
  const { entry } = data;
  return html`
    <h3 class="lineage-title">${entry.kind} of ${amountText(entry)}</h3>
    <dl class="facts">
      <${Line} name="to"><${KeyButton} stream="Rider" id=${data.rider_id} page=${page} /><//>
      <${Line} name="for"><${KeyButton} stream="Delivery" id=${entry.order_id} page=${page} />, ${text.words(entry.leg)}, ${text.words(entry.outcome)}<//>
      <${Line} name="leg ended">${text.day(entry.ended_at_ms)} ${text.clock(entry.ended_at_ms)}<//>
      <${Line} name="statement">${entry.period}<//>
    </dl>
    <table class="compare"><thead><tr><th>item</th><th class="number">${entry.currency}</th><th class="number">events</th></tr></thead>
      <tbody>${entry.items.map((/** @type {any} */ item) => html`<tr key=${item.item}><th scope="row">${itemName(item.item)}</th>
        <td class="number">${major(item.amount_minor, digitsOf(entry.amount))}</td><td class="number">${text.count(item.events.count)}</td></tr>`)}</tbody></table>
    <${Section} title="Made by">${data.made_by && html`<${EventButton} link=${data.made_by} page=${page} />`}<//>
    <${Section} title="From these events">
      ${data.events.map((/** @type {any} */ one) => html`<span>${itemName(one.item)}, ${one.place}: <${EventButton} link=${one.event} page=${page} /></span>`)}
    <//>
    <${Section} title="The whole payout">
      ${data.payout.map((/** @type {any} */ one) => html`<${EntryButton} entry=${one} page=${page} />`)}
    <//>`;
}

/** @param {ViewProps} props */
export function CommandView({ data, page }) {
  return html`
    <h3 class="lineage-title">Command <${Id} id=${data.command_id} /></h3>
    <${Section} title="Recorded">
      ${data.items.map((/** @type {any} */ link) => html`<${EventButton} link=${link} page=${page} />`)}
      ${data.more && html`<span class="quiet">and more: this key is that of many commands</span>`}
    <//>`;
}
