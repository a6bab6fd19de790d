// Small parts that panels are made of.

import { html, useEffect, useRef } from "../vendor/htm-preact.js";
import * as text from "../format.js";

/** An id that other people chose: as text, in its own direction, with its hidden characters shown. */
export const Id = (/** @type {{id: string}} */ { id }) => html`<bdi class="id">${text.visible(id)}</bdi>`;

/** A named value in a list of facts. */
export const Fact = (/** @type {{name: string, value: any, title?: string}} */ { name, value, title }) =>
  html`<div class="fact" title=${title}><dt>${name}</dt><dd>${value}</dd></div>`;

/** What went wrong and what to do, as the server says it. */
export const Problem = (/** @type {{problem: import("../api.js").ApiProblem | null}} */ { problem }) =>
  problem && html`<p class="problem" role="status">${text.visible(problem.message)}</p>`;

/** A question before something that changes the service. The browser's own dialog keeps the focus in it, and Escape
 * leaves it. @param {{title: string, children: any, yes: string, onYes: () => void, onNo: () => void}} props */
export function Confirm({ title, children, yes, onYes, onNo }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    dialog.current?.showModal();
    return () => dialog.current?.close();
  }, []);
  return html`<dialog ref=${dialog} class="confirm" aria-label=${title} onCancel=${(/** @type {Event} */ event) => { event.preventDefault(); onNo(); }}
    onKeyDown=${(/** @type {Event} */ event) => event.stopPropagation()}>
    <h2>${title}</h2>
    ${children}
    <p class="choices"><button autofocus onClick=${onNo}>Cancel</button> <button class="primary" onClick=${onYes}>${yes}</button></p>
  </dialog>`;
}
