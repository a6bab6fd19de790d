// The list of keys, so that the page can be used without a pointer.

import { html } from "../vendor/htm-preact.js";
import { PAGE_KEYS } from "./registry.js";

/** @param {{page: import("./registry.js").PageContext}} props */
function KeysView({ page }) {
  const opened = page.panels.filter((panel) => panel.key && panel !== keysPanel);
  const keys = [...Object.entries(PAGE_KEYS), ...opened.map((panel) => [panel.key, panel.menu ?? panel.title])];
  return html`<dl class="keys">${keys.map(([key, words]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${words}</dd></div>`)}</dl>
    <p>On the map: arrow keys move it, <kbd>+</kbd> and <kbd>-</kbd> zoom, <kbd>0</kbd> shows everything.</p>`;
}

/** @type {import("./registry.js").Panel} */
export const keysPanel = { name: "keys", title: "Keys", view: KeysView, menu: "Keys", key: "?" };
