// What needs a person: stages, failed tasks, parked keys with their reason and retry, and the verdicts of the audits.

import { html, useState } from "../vendor/htm-preact.js";
import { request, segment, send } from "../api.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { VERDICT_WORDS } from "../stage_words.js";
import { Id, Problem } from "./parts.js";

/** What a retry did, in words. @param {{generation: number, verdict: string, events: number, reason: string | null}} one */
export function retried(one) {
  const folded = `${text.count(one.events)} ${one.events === 1 ? "event" : "events"} processed`;
  if (one.verdict === "unparked") return `generation ${one.generation}: it goes on, ${folded}`;
  return `generation ${one.generation}: ${one.verdict === "part" ? `${folded}, then ` : "still "}held back: ${text.visible(one.reason ?? "")}`;
}

/** @param {{page: import("./registry.js").PageContext}} props */
function Needing({ page }) {
  const pipeline = useReading("pipeline", true, (signal) => request("pipeline", { signal }));
  const projections = useReading("projections", true, (signal) => request("projections", { signal }));
  const stages = (pipeline.data?.stages ?? []).filter((/** @type {any} */ one) => one.advice);
  const tasks = (projections.data?.items ?? []).filter((/** @type {any} */ one) => one.task?.state === "failed");
  return html`<h3>Stages of the pipeline, and tasks of projections</h3>
    ${pipeline.data?.demo && html`<p><button onClick=${() => page.open("demo")}>Break the demo …</button></p>`}
    <${Problem} problem=${pipeline.problem} />
    <ul class="problems">${stages.map((/** @type {any} */ one) => html`<li key=${one.stage} class="bad"><b>${one.stage}</b> ${one.state} <span class="advice">${one.advice}</span></li>`)}
      ${tasks.map((/** @type {any} */ one) => html`<li key=${one.projection} class="bad"><b>${one.task.kind} of ${one.projection}</b> failed <span class="advice">${one.task.detail}</span>
        <button class="link" onClick=${() => page.open("projections")}>Projections</button></li>`)}
      ${pipeline.data && stages.length + tasks.length === 0 && html`<li class="quiet">each stage is well, and no task has failed</li>`}
    </ul>`;
}

/** @param {{page: import("./registry.js").PageContext}} props */
function Parked({ page }) {
  const [turn, setTurn] = useState(0);
  const [last, setLast] = useState(/** @type {any} */ (null));
  const [said, setSaid] = useState(/** @type {string[]} */ ([]));
  const [busy, setBusy] = useState(false);
  const found = useReading(`parked ${turn}`, true, (signal) => request("parked", { signal }));
  if (found.data && found.data !== last) setLast(found.data);
  const shown = found.data ?? last;
  const retry = async (/** @type {any} */ one) => {
    setBusy(true);
    try {
      const answer = await send(`parked/${segment(one.projection)}/retry`, { key: one.key });
      setSaid(answer.items.map(retried));
    } catch (error) {
      page.failed(error, (problem) => setSaid([problem]));
    }
    setBusy(false);
    setTurn((/** @type {number} */ old) => old + 1);
  };
  return html`<h3>Parked keys${shown && html` <small>${text.count(shown.total)}</small>`}</h3>
    <p class="quiet">A parked key is a rider or an order that is held back at one event that cannot be processed. What was known of it before that is served, and all others go on. Repair the cause, then retry.</p>
    <div role="status">${said.map((line) => html`<p key=${line} class="said">${line}</p>`)}</div>
    <${Problem} problem=${found.problem} />
    <ul class="problems">${(shown?.items ?? []).map((/** @type {any} */ one) => html`
      <li key=${`${one.projection} ${one.generation} ${one.key}`} class=${one.served ? "bad" : ""}>
        <b>${one.projection}</b> <small>generation ${one.generation}${one.served ? ", served" : ""}</small> <${Id} id=${one.key} />
        <p>${one.event_type} at position ${text.count(one.position)}, version ${text.count(one.version)}, since ${text.day(one.parked_at_ms)} ${text.clock(one.parked_at_ms)}: ${" "}
          <span class="advice">${text.words(one.kind)}: <bdi>${text.visible(one.reason)}</bdi></span></p>
        ${one.retriable
          ? html`<button disabled=${busy} onClick=${() => retry(one)}>Retry<span class="visually-hidden"> ${text.visible(one.key)} of ${one.projection}</span></button>`
          : html`<small>computed by other code: retry with that</small>`}
      </li>`)}
      ${shown?.total === 0 && html`<li class="quiet">no key is parked</li>`}
      ${shown && shown.total > shown.items.length && html`<li class="quiet">and ${text.count(shown.total - shown.items.length)} more: <code>parked list</code> shows all</li>`}
    </ul>`;
}

function Verdicts() {
  const found = useReading("verdicts", true, (signal) => request("verdicts", { signal }));
  return html`<h3>Verdicts: whether answers are right</h3>
    <${Problem} problem=${found.problem} />
    <ul class="problems verdicts">${(found.data?.items ?? []).map((/** @type {any} */ one) => html`
      <li key=${one.verdict} class=${one.advice ? "bad" : ""}><b>${one.verdict}</b> <small>${VERDICT_WORDS[one.verdict]}</small>
        <p>${one.state} ${one.advice && html`<span class="advice">${one.advice}</span>`}</p></li>`)}
    </ul>`;
}

/** @param {{page: import("./registry.js").PageContext}} props */
function ProblemsView({ page }) {
  return html`<${Needing} page=${page} /><${Parked} page=${page} /><${Verdicts} />`;
}

/** @type {import("./registry.js").Panel} */
export const problemsPanel = { name: "problems", title: "Problems and verdicts", view: ProblemsView, menu: "Problems and verdicts", key: "e", wide: true };
