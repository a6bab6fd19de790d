// Hooks that several parts of the page use: the colour scheme, work at an interval, reads that the newest wins.

import { useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { ApiProblem } from "./api.js";

const REFRESH_MS = 2000;
/** While the handle moves, each instant asks once more: a read starts only when it has been still for this long. */
const SETTLE_MS = 60;

/** The colour scheme of the viewer; changes redraw canvas and charts. @returns {"dark" | "light"} */
export function useTheme() {
  const query = useMemo(() => window.matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const on = () => setDark(query.matches);
    query.addEventListener("change", on);
    return () => query.removeEventListener("change", on);
  }, []);
  return dark ? "dark" : "light";
}

/** Calls `work` now and every `ms` while `on` and the page is visible, never twice at once. @param {boolean} on
 * @param {number} ms @param {() => Promise<void>} work @param {any[]} inputs of `work`: a change starts again */
export function useEvery(on, ms, work, inputs) {
  useEffect(() => {
    if (!on) return undefined;
    let timer = 0;
    let ended = false;
    const turn = async () => {
      if (!document.hidden) await work();
      if (!ended) timer = window.setTimeout(turn, ms);
    };
    turn();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [on, ms, ...inputs]);
}

/** Reads again when `key` changes, and every two seconds while it is live. The newest answer wins; an answer to
 * another key is never shown. @param {string} key @param {boolean} live
 * @param {(signal: AbortSignal) => Promise<any>} read @returns {{key: string, data: any, problem: ApiProblem | null}} */
export function useReading(key, live, read) {
  const [state, setState] = useState(/** @type {{key: string, data: any, problem: ApiProblem | null}} */ ({ key: "", data: null, problem: null }));
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const turn = async () => {
      try {
        const data = await read(abort.signal);
        if (!abort.signal.aborted) setState({ key, data, problem: null });
      } catch (error) {
        if (abort.signal.aborted) return;
        const problem = error instanceof ApiProblem ? error : new ApiProblem(0, "error", String(error));
        setState((old) => ({ key, data: old.key === key ? old.data : null, problem }));
      }
      if (live && !abort.signal.aborted) timer = window.setTimeout(turn, REFRESH_MS);
    };
    const first = window.setTimeout(turn, live ? 0 : SETTLE_MS);
    return () => {
      abort.abort();
      window.clearTimeout(first);
      window.clearTimeout(timer);
    };
  }, [key, live]);
  return state;
}
