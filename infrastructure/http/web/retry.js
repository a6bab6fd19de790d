// Asks again after a failure, ever less often. Pure but for the clock; unit-tested.

import { ApiProblem } from "./api.js";

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 15_000;

/** @param {number} failures so far, without a success between them @returns {number} milliseconds until the next attempt */
export const retryMs = (failures) => Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** failures);

/** Whether the server says who may not ask: the same request would be refused again. @param {unknown} error */
export const isDenial = (error) => error instanceof ApiProblem && [401, 403].includes(error.status);

/** Asks until there is an answer, or a denial: what is read once must not be missing for ever because the server was
 * starting at that moment. @param {(signal: AbortSignal) => Promise<any>} read @param {(found: any) => void} onFound
 * @returns {() => void} ends the attempts */
export function askUntilAnswered(read, onFound) {
  const abort = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const ask = async (/** @type {number} */ failures) => {
    const [found, error] = await read(abort.signal).then((one) => [one, null], (one) => [null, one]);
    if (abort.signal.aborted || isDenial(error)) return;
    if (error) timer = setTimeout(ask, retryMs(failures), failures + 1);
    else onFound(found);
  };
  ask(0);
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}
