// Parts that all views of causes and effects share: links, lists of links, facts.

import { html } from "../vendor/htm-preact.js";
import { clock, count, day, words } from "../format.js";
import { Id } from "../panels/parts.js";
import { amountText, eventWords, moved } from "./links.js";

/** @typedef {import("../panels/registry.js").PageContext} PageContext */

/** @param {{name: string, children?: any}} props */
export const Line = ({ name, children }) => html`<div class="fact wide"><dt>${name}</dt><dd>${children}</dd></div>`;

/** A section that is left out if it has nothing. @param {{title: string, empty?: string, children?: any[]}} props */
export function Section({ title, empty, children }) {
  const items = (Array.isArray(children) ? children.flat() : [children]).filter(Boolean);
  if (!items.length) return empty ? html`<h3>${title}</h3><p class="quiet">${empty}</p>` : null;
  return html`<h3>${title}</h3><ul class="links">${items.map((item) => html`<li>${item}</li>`)}</ul>`;
}

/** @param {{link: any, page: PageContext, note?: string}} props */
export function EventButton({ link, page, note }) {
  if (!link) return html`<span class="quiet">not among the events that were searched</span>`;
  return html`<button class="link" onClick=${() => page.open("event", String(link.position))}>
    ${eventWords(link.type)} <time>${clock(link.event_time_ms)}</time></button>
    <small> ${note ?? ""} <${Id} id=${link.key} />, position ${count(link.position)}</small>`;
}

/** @param {{eta: any, page: PageContext, shift?: number}} props */
export function EtaButton({ eta, page, shift }) {
  return html`<button class="link" onClick=${() => page.open("eta", String(eta.id))}>
    <time>${clock(eta.at_ms)}</time>: hand-over ${clock(eta.hand_over_ms)}${shift === undefined ? "" : ` (${moved(shift)})`}</button>
    <small> order <${Id} id=${eta.order_id} /></small>`;
}

/** @param {{entry: any, page: PageContext}} props */
export function EntryButton({ entry, page }) {
  return html`<button class="link" onClick=${() => page.open("payout", entry.entry_id)}>
    ${entry.kind} of ${amountText(entry)}</button>
    <small> order <${Id} id=${entry.order_id} />, ${words(entry.leg)}</small>`;
}

/** @param {{alert: any, page: PageContext}} props */
export function AlertButton({ alert, page }) {
  return html`<button class="link" onClick=${() => page.open("evidence", alert.alert_id)}>
    ${alert.kind} alert, ${alert.status}</button>
    <small> raised ${day(alert.raised_at_ms)} ${clock(alert.raised_at_ms)}${alert.signals.length ? `, evidence of ${words(alert.signals.join(", "))}` : ""}</small>`;
}

/** The rider or order of an event. @param {{stream: string, id: string, page: PageContext}} props */
export function KeyButton({ stream, id, page }) {
  const kind = stream === "Rider" ? "rider" : "order";
  return html`${kind} <button class="link" onClick=${() => page.find(kind, id)}><${Id} id=${id} /></button>`;
}
