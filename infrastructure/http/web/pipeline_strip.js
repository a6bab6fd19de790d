// The strip on top: position, rate and age of each stage; a stage that needs the viewer is red, with what to do.

import { html, useRef, useState } from "./vendor/htm-preact.js";
import { request } from "./api.js";
import { useDropDown } from "./drop_down.js";
import * as text from "./format.js";
import { useEvery } from "./hooks.js";
import { linkWords } from "./live_stream.js";
import { memo } from "./memo.js";
import { STAGE_WORDS } from "./stage_words.js";

const PIPELINE_MS = 2000;
/** A measurement that is older says nothing about now: the server measures once a second. */
const OLD_MS = 10_000;

/** Events a second of each stage, from two answers of `GET /pipeline`. @param {any} last @param {any} found
 * @returns {Map<string, number>} */
export function stageRates(last, found) {
  const seconds = (found.at_ms - last.at_ms) / 1000;
  const before = new Map(last.stages.map((/** @type {any} */ stage) => [stage.stage, stage.position]));
  return new Map(found.stages.map((/** @type {any} */ stage) =>
    [stage.stage, Math.max(0, (stage.position ?? 0) - (before.get(stage.stage) ?? stage.position ?? 0)) / seconds]));
}

/** The pipeline as the server measured it last. @param {boolean} on @param {number} session
 * @param {(error: unknown, show: (text: string) => void) => void} failed
 * @returns {{pipeline: any, rates: Map<string, number>, problem: string, measuredMs: number}} `measuredMs`: when a new
 * measurement came, by the clock of this browser */
export function usePipeline(on, session, failed) {
  const [pipeline, setPipeline] = useState(/** @type {any} */ (null));
  const [rates, setRates] = useState(/** @type {() => Map<string, number>} */ (() => new Map()));
  const [problem, setProblem] = useState("");
  const before = useRef(/** @type {any} */ (null));
  const measuredMs = useRef(0);
  useEvery(on, PIPELINE_MS, async () => {
    try {
      const found = await request("pipeline");
      if (before.current && found.at_ms > before.current.at_ms) setRates(stageRates(before.current, found));
      // An answer may repeat an old measurement, as while Postgres hangs.
      if (before.current?.at_ms !== found.at_ms) measuredMs.current = Date.now();
      before.current = found;
      setPipeline(found);
      setProblem("");
    } catch (error) {
      failed(error, setProblem);
    }
  }, [session]);
  return { pipeline, rates, problem, measuredMs: measuredMs.current };
}

/** What the strip says in a word and as a line. @param {any} pipeline @param {string} problem @param {number} oldMs
 * since the last measurement @param {number} measuredMs @returns {["down" | "starts" | "late" | "well", string]} */
export function stripState(pipeline, problem, oldMs, measuredMs) {
  const bad = pipeline?.stages.filter((/** @type {any} */ stage) => stage.advice) ?? [];
  if (problem) return ["down", problem];
  if (!pipeline) return ["starts", "measuring …"];
  if (oldMs > OLD_MS) return ["down", `not measured since ${text.clock(measuredMs)}`];
  if (bad.length) return ["late", `${bad.length} of ${pipeline.stages.length} stages need you`];
  return ["well", "the pipeline is well"];
}

/** @param {{pipeline: any, rates: Map<string, number>, problem: string, measuredMs: number, link: import("./live_stream.js").Link,
 *   pastMs: number | null}} props `pastMs`: the instant that the map shows, null for now */
export function Strip({ pipeline, rates, problem, measuredMs, link, pastMs }) {
  const [, setTurn] = useState(0);
  const { box, onKeyDown } = useDropDown();
  // Also while nothing is answered the words must change: what was measured grows old.
  useEvery(true, 1000, async () => setTurn((/** @type {number} */ old) => old + 1), []);
  const [state, words] = stripState(pipeline, problem, Date.now() - measuredMs, measuredMs);
  const bad = state === "late" ? pipeline.stages.filter((/** @type {any} */ stage) => stage.advice) : [];
  return html`<section class="strip" aria-label="Pipeline">
    <details class=${state} ref=${box} onKeyDown=${onKeyDown}>
      <summary><span class="dot" aria-hidden="true"></span><b role="status">${words}</b>
        ${pipeline && html`<span class="quiet measured" title="number of the newest event in the log">position ${text.count(pipeline.head)}</span> <span class="quiet measured" title="events that are recorded a second">${text.rate(rates.get("log") ?? 0)}</span>`}
        <span class=${`link-state ${pastMs !== null && link.kind === "live" ? "past-shown" : link.kind}`}>${linkWords(link, pastMs)}</span></summary>
      <div class="stages-list" tabindex="0" role="region" aria-label="Stages of the pipeline"><p class="stages-head" aria-hidden="true">
        <span>stage</span><span>up to position</span><span>events/s</span><span>oldest waits</span><span class="state">state</span></p>
      <${SteadyStages} pipeline=${pipeline} rates=${rates} /></div>
    </details>
    ${bad.length > 0 && html`<p class="advice">${bad[0].stage}: ${bad[0].state}. ${bad[0].advice}</p>`}
  </section>`;
}

/** @param {{pipeline: any, rates: Map<string, number>}} props */
function Stages({ pipeline, rates }) {
  return html`<ul>${(pipeline?.stages ?? []).map((/** @type {any} */ stage) => html`
    <li key=${stage.stage} class=${stage.advice ? "bad" : "good"}>
      <b title=${STAGE_WORDS[stage.stage]}>${stage.stage}</b>
      <span title="events of the log up to this one are processed">${stage.position === null ? "–" : text.count(stage.position)}</span>
      <span title="events a second">${text.rate(rates.get(stage.stage) ?? 0)}</span>
      <span title="how long the oldest event waits">${stage.lag_seconds === null ? "" : text.age(stage.lag_seconds)}</span>
      <span class="state">${stage.state}</span>
      ${stage.advice && html`<span class="advice">${stage.advice}</span>`}
    </li>`)}</ul>`;
}

// The words of the strip change at each instant of the past, the list every two seconds.
const SteadyStages = memo(Stages);
