// Projections: generations, and rebuild, switch, roll back and drop, each as a task of the server.

import { html, useState } from "../vendor/htm-preact.js";
import { request, send } from "../api.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { useAskTwice } from "./ask_twice.js";
import { Id, Problem } from "./parts.js";
import { STAGE_WORDS } from "../stage_words.js";
import { canStop, leftOf, shareOf, stateOf } from "./projection_text.js";

/** @param {{task: any, onCancel: () => void}} props */
function Task({ task, onCancel }) {
  const open = task.ended_at_ms === null;
  return html`<div class=${`task ${task.state}`} role="status">
    <b>${task.kind} ${task.state}</b> <span>${task.detail}</span>
    ${open && task.events_total > 0 && html`
      <progress max="1" value=${shareOf(task)} aria-label=${`events processed for ${task.kind}`}></progress>
      <span class="quiet">${text.count(task.events_done)} of ${text.count(task.events_total)} events, ${text.rate(task.events_per_s)}${leftOf(task)}</span>`}
    ${canStop(task) && html` <button class="link" onClick=${onCancel}>Stop it</button>`}
    ${task.notes.length > 0 && html`<details><summary>${task.notes.length} lines of its process</summary>
      <ol class="events">${task.notes.map((/** @type {string} */ line, /** @type {number} */ n) => html`<li key=${n}>${text.visible(line)}</li>`)}</ol></details>`}
  </div>`;
}

/** @param {{one: any}} props */
function Differences({ one }) {
  if (!one.differences) return null;
  return html`<details open><summary>${text.count(one.differences)} differences from generation ${one.compared_with}, digest <code>${one.digest}</code></summary>
    <ol class="events">${one.examples.map((/** @type {any} */ each, /** @type {number} */ n) => html`
      <li key=${n}><${Id} id=${each.name} /> <small>shard ${each.shard}</small> ${text.visible(each.words)}</li>`)}
      ${one.differences > one.examples.length && html`<li class="quiet">and ${text.count(one.differences - one.examples.length)} more</li>`}
    </ol></details>`;
}

/** What a person is asked before each action. @param {string} name @param {any} one a generation
 * @param {any} served the generation that readers follow now */
function questions(name, one, served) {
  const number = one.generation;
  const moves = `Readers of ${name} move from generation ${served?.generation} to ${number}.`;
  const kept = "The other one is kept up to date, so that you can go back.";
  return {
    switch: { title: `Switch ${name}`, yes: "Switch", second: moves, verb: "switch", body: { generation: number },
      first: html`<p>Generation ${number} equals the served one. ${kept}</p>` },
    accept: { title: `Switch ${name} in spite of differences`, yes: "Switch", verb: "switch", body: { generation: number, digest: one.digest },
      second: `${moves} ${text.count(one.differences)} keys or rows will read differently.`,
      first: html`<p>Generation ${number} differs from the served one. Switch only if the new code is meant to make these differences, or if <code>verify-parity ${name}</code> has shown that the served one is damaged.</p><${Differences} one=${one} />` },
    "roll-back": { title: `Roll ${name} back`, yes: "Roll back", second: moves, verb: "roll-back", body: { generation: number },
      first: html`<p>Generation ${number} was served before and is kept up to date. ${kept}</p>` },
    drop: { title: `Drop generation ${number} of ${name}`, yes: "Drop", verb: "drop", body: { generation: number },
      second: `Generation ${number} of ${name} will be deleted.`,
      first: html`<p>Its content is deleted. The log has every event, so a rebuild makes it again, as a new generation.</p>` },
  };
}

/** @type {Record<string, string>} */
const BUTTONS = { switch: "Switch …", accept: "Accept and switch …", "roll-back": "Roll back …", drop: "Drop …" };

/** @param {{item: any, command: ReturnType<typeof useAskTwice>}} props */
function Projection({ item, command }) {
  const { projection: name, generations, task } = item;
  const served = generations.find((/** @type {any} */ one) => one.served);
  const path = `projections/${name}`;
  const busy = task !== null && task.ended_at_ms === null;
  return html`<section class="projection" aria-label=${name}>
    <h3>${name} <small>${STAGE_WORDS[name] ? `${STAGE_WORDS[name]}, ` : ""}from events of ${item.stream === "Delivery" ? "orders" : `${item.stream.toLowerCase()}s`}</small></h3>
    ${task && html`<${Task} task=${task} onCancel=${() => command.act(() => send(`${path}/cancel`, { task: task.task }))} />`}
    <ul class="generations">${generations.map((/** @type {any} */ one) => html`<li key=${one.generation} class=${one.served ? "served" : ""}>
      <b>generation ${one.generation}</b> <span class=${`badge ${one.served ? "fresh" : ""}`} title="served: answers come from this one">${stateOf(one)}</span> <small title="fold version: the version of the code that computes this projection from the events">code version ${one.fold_version}</small>
      ${one.actions.map((/** @type {keyof ReturnType<typeof questions>} */ action) => {
        const { verb, body, ...asked } = questions(name, one, served)[action];
        return html` <button key=${action} disabled=${busy} onClick=${() => command.ask({ ...asked, act: () => send(`${path}/${verb}`, body) })}>${BUTTONS[action]}</button>`;
      })}
      <${Differences} one=${one} /></li>`)}
      ${generations.length === 0 && html`<li class="quiet">no generation yet: its process has not run</li>`}
    </ul>
    <button disabled=${busy || !served} onClick=${() => command.act(() => send(`${path}/rebuild`, {}))}>Rebuild ${name}</button>
  </section>`;
}

/** @param {{page: import("./registry.js").PageContext}} props */
function ProjectionsView({ page }) {
  const [turn, setTurn] = useState(0);
  const found = useReading(`projections ${turn}`, true, (signal) => request("projections", { signal }));
  const command = useAskTwice(page.failed, () => setTurn((/** @type {number} */ old) => old + 1));
  const [last, setLast] = useState(/** @type {any} */ (null));
  if (found.data && found.data !== last) setLast(found.data);
  const items = (found.data ?? last)?.items ?? [];
  return html`<p class="quiet">A projection (read model) is what answers are read from: it is computed from the events of the log. A rebuild computes it from all events as a new generation beside the served one, and compares the two. Answers go on; nothing is switched before you ask for it.</p>
    ${command.view}<${Problem} problem=${found.problem} />
    ${items.map((/** @type {any} */ item) => html`<${Projection} key=${item.projection} item=${item} command=${command} />`)}`;
}

/** @type {import("./registry.js").Panel} */
export const projectionsPanel = { name: "projections", title: "Projections", view: ProjectionsView, menu: "Projections", key: "p", wide: true };
