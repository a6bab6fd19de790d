// Models of the ETA: which one serves, and a model's card: its figures and plots.

import { html } from "../vendor/htm-preact.js";
import { request, segment } from "../api.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { Fact, Problem } from "./parts.js";

/** @typedef {import("./registry.js").PageContext} PageContext */

/** @param {{page: PageContext}} props */
function ModelsView({ page }) {
  const found = useReading("models", false, (signal) => request("models", { signal }));
  return html`<${Problem} problem=${found.problem} />
    <ul class="problems">${(found.data?.items ?? []).map((/** @type {any} */ one) => html`<li key=${one.digest}>
      ${one.created_at_ms === null ? html`<b>${one.name}</b>` : html`<button class="link" onClick=${() => page.open("model", one.digest)}>${text.visible(one.name)}</button>`}
      ${one.role && html` <span class=${`badge ${one.role === "serving" ? "fresh" : ""}`}>${one.role}</span>`}${" "}
      <small><code>${one.digest.slice(0, 12)}</code>${one.created_at_ms === null ? ", ships with the code" : `, ${text.day(one.created_at_ms)}`}</small></li>`)}
    </ul>
    <p class="evidence">A model is promoted by a command: <code>python app.py models promote</code></p>`;
}

/** Field, name, what it means, and how it is written. @type {[string, string, string, (value: number) => string][]} */
const SCORES = [
  ["rows", "rows", "how many ETAs were compared", text.count],
  ["mae_s", "MAE", "mean absolute error", seconds],
  ["median_s", "median", "half of the errors are smaller", seconds],
  ["p90_s", "P90", "nine of ten errors are smaller", seconds],
  ["bias_s", "bias", "mean of expected less real: above 0, the order was there earlier", seconds],
  ["coverage_50", "≤ P50", "orders that were there by the likely time; 50 % would be exact", share],
  ["coverage_90", "≤ P90", "orders that were there by the time that is 90 % certain; 90 % would be exact", share],
];

/** @param {number | null} value */
function seconds(value) {
  return value === null ? "–" : `${value.toFixed(1)} s`;
}

/** @param {number | null} value */
function share(value) {
  return value === null ? "–" : `${(100 * value).toFixed(1)} %`;
}

/** Values of a manifest that other people made: as text. @param {{values: Record<string, any>}} props */
const Values = ({ values }) => html`<dl class="values">${Object.entries(values).map(([name, value]) => html`<div key=${name}><dt>${text.words(text.visible(name))}</dt>
  <dd>${value !== null && typeof value === "object" ? html`<code>${text.visible(JSON.stringify(value))}</code>` : text.visible(String(value))}</dd></div>`)}</dl>`;

/** @param {{id: string}} props */
function ModelView({ id }) {
  const found = useReading(`model ${id}`, false, (signal) => request(`models/${segment(id)}`, { signal }));
  const card = found.data;
  if (!card) return html`<${Problem} problem=${found.problem} />`;
  const all = card.evaluation.test?.all ?? {};
  const worth = card.evaluation.left_out_worth_s ?? {};
  return html`<dl class="facts"><${Fact} name="model" value=${text.visible(card.name)} /><${Fact} name="role" value=${card.role || "none"} />
      <${Fact} name="inputs" value=${card.inputs.length} /><${Fact} name="cities" value=${card.cities.length} /></dl>
    <h3>Errors on orders that are later than all it was trained on</h3>
    ${Object.keys(all).length > 0 && html`<div class="scroll" tabindex="0" role="group" aria-label="Errors"><table class="pings"><thead><tr><th>group</th>${SCORES.map(([field, name, meaning]) => html`<th key=${field} class="number" title=${meaning}>${name}</th>`)}</tr></thead>
      <tbody>${Object.entries(all).map(([group, one]) => html`<tr key=${group}><td>${text.words(text.visible(group))}</td>
        ${SCORES.map(([field, , , shown]) => html`<td key=${field} class="number">${shown(/** @type {any} */ (one)[field] ?? null)}</td>`)}</tr>`)}</tbody></table></div>`}
    ${Object.keys(all).length === 0 && html`<p class="quiet">its manifest has no evaluation</p>`}
    ${Object.keys(worth).length > 0 && html`<h3>Importance of inputs: seconds of error more without each</h3><${Values} values=${worth} />`}
    ${card.plots.length > 0 && html`<h3>Plots</h3>${card.plots.map((/** @type {any} */ one) => html`<figure class="plot" key=${one.name}>
      <img src=${`models/${card.digest}/plots/${segment(one.name)}`} alt=${one.title} width="880" height="396" loading="lazy" /><figcaption>${one.title}</figcaption></figure>`)}`}
    <h3>How it was trained</h3><${Values} values=${card.training} />
    <h3>From which data</h3><${Values} values=${card.training_set} />
    <h3>Limits</h3><p class="quiet">Outside these bounds the baseline, a formula that ships with the code, answers.</p>
    <div class="scroll" tabindex="0" role="group" aria-label="Limits"><table class="pings"><thead><tr><th>input</th><th class="number">low</th><th class="number">high</th><th>may be unknown</th></tr></thead>
      <tbody>${Object.entries(card.bounds).map(([name, one]) => html`<tr key=${name}><td>${text.words(name)}</td><td class="number">${one.low}</td><td class="number">${one.high}</td><td>${one.unknown ? "yes" : "no"}</td></tr>`)}</tbody></table></div>`;
}

/** @type {import("./registry.js").Panel} */
export const modelsPanel = { name: "models", title: "Models of the ETA", view: ModelsView, menu: "Models of the ETA", key: "m" };

/** @type {import("./registry.js").Panel} */
export const modelPanel = { name: "model", title: "Model card", view: ModelView, wide: true };
