// The answers on record along an order's life: read in pages, and the largest moves of the foreseen hand-over.

import { html } from "../vendor/htm-preact.js";
import { address, allPages, request, segment } from "../api.js";
import { clock, count, words } from "../format.js";
import { counted, jumps, moved } from "./links.js";

const PAGE_ANSWERS = 1000;
const MAX_PAGES = 10;
const SHOWN_JUMPS = 6;
const LEAST_JUMP_S = 30;

/** All answers of an order that are on record, at most the first PAGE_ANSWERS × MAX_PAGES.
 * @param {string} id @param {AbortSignal} signal @returns {Promise<{items: any[], more: boolean}>} */
export function answersOnRecord(id, signal) {
  const read = (/** @type {string} */ cursor) =>
    request(address(`deliveries/${segment(id)}/etas`, `limit=${PAGE_ANSWERS}`, cursor && `cursor=${encodeURIComponent(cursor)}`), { signal });
  return allPages(read, MAX_PAGES, () => !signal.aborted);
}

/** `firsts`: how many first answers of a leg are in the log. @param {{answers: any[], firsts: number, more: boolean, page: import("../panels/registry.js").PageContext}} props */
export function Answers({ answers, firsts, more, page }) {
  if (!answers.length) {
    return html`<p class="quiet">${firsts > 0
      ? "No ETA of this order is on record any more: the chart has the first on the way to the restaurant, and the first on the way to the customer."
      : "No ETA of this order is on record."}</p>`;
  }
  const found = jumps(answers, SHOWN_JUMPS, LEAST_JUMP_S);
  const newest = answers.at(-1);
  return html`<h3>Why did the ETA jump?</h3>
    <p class="quiet">${more ? `${count(answers.length)}+ ETAs` : counted(answers.length, "ETA")} on record.${" "}
      <button class="link" onClick=${() => page.open("eta", String(newest.id))}>The newest, ${clock(newest.at_ms)}</button></p>
    ${found.length === 0
      ? html`<p class="quiet">None moved the hand-over by ${LEAST_JUMP_S} s or more.</p>`
      : html`<ul class="links jumps">${found.map((one) => html`<li key=${one.id}>
          <button class="link" onClick=${() => page.open("eta", String(one.id))}>${clock(one.at_ms)}: hand-over ${moved(one.moved_seconds)}</button>
          <small> ${one.because.map((/** @type {string} */ code) => words(code)).join(", ")}</small></li>`)}</ul>`}`;
}
