// The field that finds a rider or an order by a part of its id.

import { html, useState } from "./vendor/htm-preact.js";
import * as text from "./format.js";
import { Id } from "./panels/parts.js";

const MAX_FOUND = 30;

/** @param {{riders: any[], orders: any[], onSelect: (kind: string, id: string) => void}} props */
export function Finder({ riders, orders, onSelect }) {
  const [wanted, setWanted] = useState("");
  const needle = wanted.trim().toLowerCase();
  const all = [...riders.map((one) => ["rider", one.rider_id, ""]), ...orders.map((one) => ["order", one.order_id, text.words(one.status)])];
  const found = needle ? all.filter(([, id]) => id.toLowerCase().includes(needle)) : [];
  const choose = (/** @type {string[]} */ [kind, id]) => {
    onSelect(kind, id);
    setWanted("");
  };
  return html`<search class="finder">
    <input type="search" placeholder="Find a rider or an order" aria-label="Find a rider or an order" value=${wanted}
      onInput=${(/** @type {any} */ event) => setWanted(event.target.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") setWanted("");
        if (event.key === "Enter" && found.length) choose(found[0]);
      }} />
    ${needle && html`<ul>${found.slice(0, MAX_FOUND).map((one) => html`
      <li key=${one[0] + one[1]}><button onClick=${() => choose(one)}>
        <span class=${`mark ${one[0]}`} aria-hidden="true"></span><${Id} id=${one[1]} /> <small>${one[2] || one[0]}</small></button></li>`)}
      ${found.length === 0 && html`<li class="quiet">nothing on the map has this in its id</li>`}
      ${found.length > MAX_FOUND && html`<li class="quiet">and ${found.length - MAX_FOUND} more</li>`}
    </ul>`}
  </search>`;
}
