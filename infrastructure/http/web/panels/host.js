// Shows the panel that is open, moves the focus into it and back, and shows the menu of those that can be opened.

import { html, useEffect, useErrorBoundary, useRef, useState } from "../vendor/htm-preact.js";
import { useDropDown } from "../drop_down.js";
import * as text from "../format.js";
import { PANELS } from "./all.js";
import { Id } from "./parts.js";
import { inMenu } from "./registry.js";

/** @typedef {import("./registry.js").PageContext} PageContext */

/** @param {{page: PageContext, session: number}} props */
export function PanelHost({ page, session }) {
  const { panel: open } = page.place;
  const panel = open && PANELS.find((one) => one.name === open.name);
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  const key = open && `${open.name} ${open.id}`;
  const shown = useRef(key);
  const opener = useRef(/** @type {Element | null} */ (null));
  // For which panel: another one that is opened shows its body.
  const [folded, setFolded] = useState(/** @type {string | null} */ (null));
  useEffect(() => {
    if (shown.current === key) return;
    setFolded(null);
    const before = document.activeElement;
    // On the map the arrow keys go on moving it, and a page that was opened with a panel starts at its top.
    if (!(before instanceof HTMLCanvasElement) && key !== null) {
      if (shown.current === null) opener.current = before;
      heading.current?.focus();
    }
    if (key === null && opener.current instanceof HTMLElement && before === document.body) opener.current.focus();
    if (key === null) opener.current = null;
    shown.current = key;
  }, [key]);
  if (!open || !panel) return null;
  const { actions: Actions } = panel;
  const isFolded = folded === key;
  return html`<aside class=${`panel${panel.wide ? " wide" : ""}${isFolded ? " folded" : ""}`} aria-label=${`${panel.title} ${text.visible(open.id)}`.trim()}>
    <div class="panel-head">
      <h2 ref=${heading} tabindex="-1">${open.id ? html`<small>${panel.title}</small> <${Id} id=${open.id} />` : panel.title}</h2>
      ${Actions && html`<${Actions} id=${open.id} page=${page} />`}
      <button class="icon fold" aria-label="Details of the panel" aria-expanded=${!isFolded} aria-controls="panel-body" onClick=${() => setFolded(isFolded ? null : key)}>${isFolded ? "▴" : "▾"}</button>
      <button class="icon" aria-label="Close" onClick=${page.close}>✕</button>
    </div>
    <div id="panel-body"><${PanelBody} key=${`${session} ${key}`} view=${panel.view} id=${open.id} page=${page} /></div>
  </aside>`;
}

/** A fault of one panel must not take the map with it. @param {{view: import("./registry.js").Panel["view"], id: string,
 *   page: PageContext}} props */
function PanelBody({ view: View, id, page }) {
  const [fault] = useErrorBoundary(reportError);
  if (fault) return html`<p class="problem" role="alert">This panel cannot be shown: ${text.visible(String(fault))}. Close it; the map goes on.</p>`;
  return html`<${View} id=${id} page=${page} />`;
}

/** @param {{page: PageContext}} props */
export function PanelMenu({ page }) {
  const { box, onKeyDown, close } = useDropDown();
  const choose = (/** @type {string} */ name) => {
    close();
    page.open(name);
  };
  return html`<details class="menu" ref=${box} onKeyDown=${onKeyDown}>
    <summary aria-label="Menu">☰</summary>
    <ul>${inMenu(PANELS, page.demo).map((panel) => html`
      <li key=${panel.name}><button aria-current=${page.place.panel?.name === panel.name} onClick=${() => choose(panel.name)}>
        ${panel.menu} ${panel.key && html`<kbd aria-hidden="true">${panel.key}</kbd>`}</button></li>`)}
    </ul>
  </details>`;
}
