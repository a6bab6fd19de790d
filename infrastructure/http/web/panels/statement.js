// What a rider is paid for a week: each entry with its items, and the totals.

import { html, useState } from "../vendor/htm-preact.js";
import { address, request, segment } from "../api.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { Fact, Id, Problem } from "./parts.js";
import { itemWords, major } from "./statement_text.js";
import { weeksUntil } from "./week.js";

const WEEKS = 12;

/** @param {{id: string, page: import("./registry.js").PageContext}} props */
function StatementView({ id, page }) {
  const weeks = weeksUntil(page.shownMs, WEEKS);
  const [period, setPeriod] = useState(weeks[0]);
  const path = address(`riders/${segment(id)}/statement`, `period=${period}`);
  const found = useReading(path, true, (signal) => request(path, { signal }));
  const currencies = found.data?.currencies ?? [];
  return html`<label>Week <select value=${period} onChange=${(/** @type {any} */ event) => setPeriod(event.target.value)}>
      ${weeks.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>
    <${Problem} problem=${found.problem} />
    ${found.data && currencies.length === 0 && html`<p class="quiet">nothing was paid for this week</p>`}
    ${currencies.map((/** @type {any} */ one) => html`<section key=${one.currency} aria-label=${one.currency}>
      <dl class="facts"><${Fact} name="total" value=${`${one.total} ${one.currency}`} /><${Fact} name="week" value=${one.status} />
        <${Fact} name="payouts" value=${text.count(one.payouts)} /><${Fact} name="adjustments" value=${text.count(one.adjustments)} /></dl>
      <ul class="problems entries">${one.entries.map((/** @type {any} */ entry) => html`<li key=${entry.entry_id}>
        <b>${entry.amount} ${one.currency}</b> <button class="link" onClick=${() => page.open("payout", entry.entry_id)}>${text.words(entry.kind)}</button>, ${text.day(entry.ended_at_ms)} ${text.clock(entry.ended_at_ms)}
        ${entry.order_id && html`, <button class="link" onClick=${() => page.open("order", entry.order_id)}><${Id} id=${entry.order_id} /></button>`}
        <details><summary>${entry.items.length} items</summary><ul>${entry.items.map((/** @type {any} */ item, /** @type {number} */ n) => html`<li key=${n}>
          <b>${major(item.amount_minor, one.minor_digits)} ${one.currency}</b> ${itemWords(item)}
          ${item.events?.count > 0 && html`<small>, from ${text.count(item.events.count)} events, the first <code>${text.visible(String(item.events.first))}</code></small>`}</li>`)}</ul></details></li>`)}
      </ul></section>`)}
    <p class="evidence">From the log alone: <code>python app.py statement … --verify</code>; it has the events up to position ${text.count(found.data?.position)}</p>`;
}

/** @type {import("./registry.js").Panel} */
export const statementPanel = { name: "statement", title: "Statement of", view: StatementView, wide: true };
