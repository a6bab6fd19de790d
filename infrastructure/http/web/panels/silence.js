// In the panel of a rider whose last ping is old: whether the pipeline is late or the rider silent.

import { html } from "../vendor/htm-preact.js";
import { address, request, segment } from "../api.js";
import { useReading } from "../hooks.js";
import { Problem } from "./parts.js";
import { othersSending, QUIET_MS, silenceOf } from "./silence_text.js";

const MAX_WAITING = 100;

/** @param {{id: string, rider: any, last: any, page: import("./registry.js").PageContext}} props `rider`: as its window
 * was answered, now; `last`: the ping of the track that came last */
export function Silence({ id, rider, last, page }) {
  const quiet = rider.age_ms === null || rider.age_ms >= QUIET_MS;
  const log = useReading(`s ${id} ${rider.position} ${quiet}`, quiet, (signal) => (quiet
    ? request(address("events", `after=${rider.position}`, "stream=Rider", `key=${segment(id)}`, "type=GpsPing", `limit=${MAX_WAITING}`), { signal })
    : Promise.resolve(null)));
  if (log.problem) return html`<${Problem} problem=${log.problem} />`;
  if (!log.data) return null;
  const waiting = log.data.items.length;
  const stage = page.pipeline?.stages.find((/** @type {any} */ one) => one.stage === "speed");
  const found = silenceOf({
    ageMs: rider.age_ms, waiting, more: waiting === MAX_WAITING || log.data.next < log.data.head, last, position: rider.position,
    others: othersSending(page.riders, id, Date.now()), advice: stage?.advice ?? "",
  });
  return found && html`<div class=${`silence ${found.cause}`} role="status"><b>${found.title}</b> <span>${found.detail}</span>${" "}
    ${found.cause === "pipeline" && html`<button class="link" onClick=${() => page.open("problems")}>Problems and verdicts</button>`}</div>`;
}
