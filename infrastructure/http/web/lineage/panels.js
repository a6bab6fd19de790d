// The panels of causes and effects: one answer of `/lineage` each, in which everything that it names is a link.

import { html } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { useReading } from "../hooks.js";
import { Problem } from "../panels/parts.js";
import { EventView } from "./event.js";
import { AlertView, CommandView, EtaView, PayoutView } from "./findings.js";
import { routeOf } from "./links.js";

/** @typedef {import("../panels/registry.js").Panel} Panel */

/** @param {string} name @param {string} title @param {(props: {data: any, page: any}) => any} View @returns {Panel} */
function lineagePanel(name, title, View) {
  /** @param {{id: string, page: import("../panels/registry.js").PageContext}} props */
  function LineageView({ id, page }) {
    const route = routeOf(name, id);
    const found = useReading(route, false, (signal) => request(route, { signal }));
    if (found.problem) return html`<${Problem} problem=${found.problem} />`;
    if (found.key !== route || !found.data) return html`<p class="quiet" role="status">reading …</p>`;
    return html`<div class="lineage"><${View} data=${found.data} page=${page} />
      <p class="evidence"><a href=${route} target="_blank" rel="noopener">this as JSON</a></p></div>`;
  }
  return { name, title, view: LineageView };
}

/** @type {Panel[]} */
export const lineagePanels = [
  lineagePanel("event", "event", EventView),
  lineagePanel("eta", "ETA", EtaView),
  lineagePanel("evidence", "alert", AlertView),
  lineagePanel("payout", "payout", PayoutView),
  lineagePanel("command", "command", CommandView),
];
