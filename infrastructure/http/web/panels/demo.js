// Break it, in a demo only: kill or cut a part, watch it come back, and see that nothing is lost and nothing double.

import { html, useState } from "../vendor/htm-preact.js";
import { request, send } from "../api.js";
import * as text from "../format.js";
import { useReading } from "../hooks.js";
import { Fact, Problem } from "./parts.js";

/** @type {Record<string, string>} */
const WORDS = { kill: "kill", cut: "cut for 10 s" };
const MAX_SHOWN_BREAKS = 20;

/** How a break ended. @param {{back_after_s: number | null, problem: string}} one */
export function ending(one) {
  if (one.problem) return one.problem;
  return one.back_after_s === null ? "not well yet" : `all was well again after ${one.back_after_s.toFixed(1)} s`;
}

/** @param {{page: import("./registry.js").PageContext}} props */
function DemoView({ page }) {
  const [turn, setTurn] = useState(0);
  const [last, setLast] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState("");
  const found = useReading(`demo ${turn}`, true, (signal) => request("demo", { signal }));
  if (found.data && found.data !== last) setLast(found.data);
  const demo = found.data ?? last;
  if (found.problem?.status === 404) return html`<p>This server is no demo, so nothing can be broken here. Start one: <code>make demo</code></p>`;
  if (!demo) return html`<${Problem} problem=${found.problem} />`;
  const breaking = async (/** @type {string} */ target, /** @type {string} */ how) => {
    setProblem("");
    try {
      await send("demo/break", { target, how });
    } catch (error) {
      page.failed(error, setProblem);
    }
    setTurn((/** @type {number} */ old) => old + 1);
  };
  const { books, breaks } = demo;
  const open = breaks.some((/** @type {any} */ one) => one.back_after_s === null && !one.problem);
  return html`<p class="quiet">The simulator keeps books of every ping and command that the server has acknowledged, and looks for each in the log.</p>
    <dl class="facts books">
      <${Fact} name="lost" value=${html`<span class=${`badge ${books.lost ? "stale" : "fresh"}`}>${text.count(books.lost)}</span>`} title="acknowledged, and not in the log" />
      <${Fact} name="double" value=${html`<span class=${`badge ${books.doubled ? "stale" : "fresh"}`}>${text.count(books.doubled)}</span>`} title="in the log more than once" />
      <${Fact} name="acknowledged" value=${text.count(books.acknowledged)} /><${Fact} name="in the log" value=${text.count(books.recorded)} />
      <${Fact} name="not checked yet" value=${text.count(books.waiting)} /><${Fact} name="position" value=${text.count(books.position)} />
    </dl>
    <${Problem} problem=${found.problem} />
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <h3>Parts that run</h3>
    <ul class="problems targets">${demo.targets.map((/** @type {any} */ one) => html`<li key=${one.name}><b>${one.name}</b>
      ${one.hows.map((/** @type {string} */ how) => html` <button key=${how} disabled=${open} onClick=${() => breaking(one.name, how)}>${WORDS[how]}<span class="visually-hidden"> ${one.name}</span></button>`)}</li>`)}</ul>
    <h3>What was broken</h3>
    <ol class="events breaks" role="status">${breaks.toReversed().slice(0, MAX_SHOWN_BREAKS).map((/** @type {any} */ one) => html`
      <li key=${one.at_ms}><time>${text.clock(one.at_ms)}</time> <b>${one.target}</b> ${one.how}: ${ending(one)}</li>`)}
      ${breaks.length === 0 && html`<li class="quiet">nothing yet</li>`}</ol>`;
}

/** @type {import("./registry.js").Panel} */
export const demoPanel = { name: "demo", title: "Break it", view: DemoView, menu: "Break the demo", demoOnly: true };
