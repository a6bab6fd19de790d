// Asks twice before something that changes what all readers see, and shows what the server answered.

import { html, useState } from "../vendor/htm-preact.js";
import { Confirm } from "./parts.js";

/** @typedef {{title: string, first: any, second: any, yes: string, act: () => Promise<any>}} Asked */

/** A command with its two questions. `ask` opens the first; `view` is to be shown somewhere in the panel.
 * @param {(error: unknown, show: (text: string) => void) => void} failed
 * @param {() => void} onDone called after the server has answered, also after a refusal */
export function useAskTwice(failed, onDone) {
  const [asked, setAsked] = useState(/** @type {Asked | null} */ (null));
  const [isSecond, setSecond] = useState(false);
  const [problem, setProblem] = useState("");
  const ask = (/** @type {Asked} */ next) => {
    setProblem("");
    setSecond(false);
    setAsked(next);
  };
  const act = async (/** @type {() => Promise<any>} */ command) => {
    setAsked(null);
    setProblem("");
    try {
      await command();
    } catch (error) {
      failed(error, setProblem);
    }
    onDone();
  };
  const view = html`${problem && html`<p class="problem" role="alert">${problem}</p>`}
    ${asked && html`<${Confirm} key=${String(isSecond)} title=${asked.title} yes=${isSecond ? asked.yes : "Go on"}
      onNo=${() => setAsked(null)} onYes=${() => (isSecond ? act(asked.act) : setSecond(true))}>
      ${isSecond ? html`<p><b>${asked.second}</b></p>` : asked.first}<//>`}`;
  return { ask, act, view };
}
