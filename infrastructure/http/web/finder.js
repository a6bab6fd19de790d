// The field that finds a rider or an order by a part of its id.

import { html, useState } from "./vendor/htm-preact.js";
import * as text from "./format.js";
import { Id } from "./panels/parts.js";

const MAX_FOUND = 30;
/** With fewer matches than this, what was typed may be the whole id of something that is not on the map. */
const FEW = 3;

/** What is not on the map has an id all the same: an order that is over, a rider that has sent nothing for long. Its panel
 * says so if there is none. @param {string} id @returns {string[][]} */
const elsewhere = (id) => [["order", id, ""], ["rider", id, ""]];

/** Those with `needle` in their id, the whole id first: `order-1` is not `order-10`. Pure; unit-tested.
 * @param {string[][]} all kind, id and status @param {string} needle in small letters, trimmed */
export function matches(all, needle) {
  if (!needle) return [];
  const found = all.filter(([, id]) => id.toLowerCase().includes(needle));
  const isWhole = (/** @type {string[]} */ [, id]) => id.toLowerCase() === needle;
  return [...found.filter(isWhole), ...found.filter((one) => !isWhole(one))];
}

/** @param {{riders: any[], orders: any[], onSelect: (kind: string, id: string) => void}} props */
export function Finder({ riders, orders, onSelect }) {
  const [wanted, setWanted] = useState("");
  const needle = wanted.trim().toLowerCase();
  const all = [...riders.map((one) => ["rider", one.rider_id, ""]), ...orders.map((one) => ["order", one.order_id, text.words(one.status)])];
  const found = matches(all, needle);
  const typed = wanted.trim();
  // Also beside a longer id on the map: `order-1` may be over while `order-10` is open.
  const others = needle && found.length < FEW && !found.some((one) => one[1] === typed) ? elsewhere(typed) : [];
  const choose = (/** @type {string[]} */ [kind, id]) => {
    onSelect(kind, id);
    setWanted("");
  };
  return html`<search class="finder">
    <input type="search" placeholder="Find a rider or an order" aria-label="Find a rider or an order" value=${wanted}
      onInput=${(/** @type {any} */ event) => setWanted(event.target.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") setWanted("");
        if (event.key !== "Enter") return;
        // The rest of this press must not reach the button that gets the focus.
        event.preventDefault();
        if (found.length) choose(found[0]);
        // Which kind it is, the viewer says: a map that is still empty must not open an order with the id of a rider.
        else /** @type {any} */ (event.currentTarget).parentElement.querySelector(".elsewhere button")?.focus();
      }} />
    ${needle && html`<ul>${found.slice(0, MAX_FOUND).map((one) => html`
      <li key=${one[0] + one[1]}><button onClick=${() => choose(one)}>
        <span class=${`mark ${one[0]}`} aria-hidden="true"></span><${Id} id=${one[1]} /> <small>${one[2] || one[0]}</small></button></li>`)}
      ${others.length > 0 && html`<li class="quiet">${found.length === 0 ? "nothing on the map has this in its id" : "not on the map"}; by its whole id:</li>`}
      ${others.map((one) => html`<li class="elsewhere" key=${one[0]}><button onClick=${() => choose(one)}>
        <span class=${`mark ${one[0]}`} aria-hidden="true"></span><${Id} id=${one[1]} /> <small>${one[0]}</small></button></li>`)}
      ${found.length > MAX_FOUND && html`<li class="quiet">and ${found.length - MAX_FOUND} more</li>`}
    </ul>`}
  </search>`;
}
