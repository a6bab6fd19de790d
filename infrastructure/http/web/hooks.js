// Hooks that several parts of the page use: the colour scheme, work at an interval, reads that the newest wins.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { ApiProblem } from "./api.js";
import { clock } from "./format.js";
import { onWake } from "./wake.js";

const REFRESH_MS = 2000;
/** A read of the past that takes longer is given up for a newer instant. */
const SLOW_MS = 500;
/** What was read before is not shown as the present after a pause. */
const OLD_MS = 2 * REFRESH_MS;

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
    let busy = false;
    const turn = async () => {
      window.clearTimeout(timer);
      if (busy) return;
      busy = true;
      try {
        if (!document.hidden) await work();
      } finally {
        busy = false;
        if (!ended) timer = window.setTimeout(turn, ms);
      }
    };
    turn();
    const endWake = onWake(turn);
    return () => {
      ended = true;
      endWake();
      window.clearTimeout(timer);
    };
  }, [on, ms, ...inputs]);
}

/** `atMs`: when the data came, epoch milliseconds. @typedef {{key: string, data: any, problem: ApiProblem | null, atMs: number}} Reading */

/** A problem of a reading that has an older answer, which is still shown: it must not be taken for the present.
 * @param {ApiProblem} problem @param {Reading} old */
function withAge(problem, old) {
  return new ApiProblem(problem.status, problem.code, `${problem.message} – what is shown is of ${clock(old.atMs)}.`);
}

/** @type {Reading} */
const NOTHING = { key: "", data: null, problem: null, atMs: 0 };

/** @param {unknown} error */
const problemOf = (error) => (error instanceof ApiProblem ? error : new ApiProblem(0, "error", String(error)));

/** Reads again when `key` changes, and every two seconds while it is live and the page is visible. Of the past, one read
 * at a time: while the handle moves, what it passed is shown on the way, and the newest is always read last.
 * @param {string} key @param {boolean} live @param {(signal: AbortSignal) => Promise<any>} read
 * @param {boolean} [on] while false, nothing is read, and what was read stays @returns {Reading} */
export function useReading(key, live, read, on = true) {
  const [state, setState] = useState(NOTHING);
  useLiveReading(on && live, key, read, setState);
  useNewestReading(on && !live, key, read, setState);
  return state;
}

/** @typedef {(next: (old: Reading) => Reading) => void} SetReading */

/** @param {boolean} on @param {string} key @param {(signal: AbortSignal) => Promise<any>} read @param {SetReading} setState */
function useLiveReading(on, key, read, setState) {
  useEffect(() => {
    if (!on) return undefined;
    let abort = new AbortController();
    let timer = 0;
    const turn = async () => {
      const { signal } = abort;
      if (document.hidden) return;
      try {
        const data = await read(signal);
        if (!signal.aborted) setState(() => ({ key, data, problem: null, atMs: Date.now() }));
      } catch (error) {
        if (signal.aborted) return;
        const problem = problemOf(error);
        setState((old) => (old.key === key && old.data ? { ...old, problem: withAge(problem, old) } : { ...NOTHING, key, problem }));
      }
      if (!signal.aborted) timer = window.setTimeout(turn, REFRESH_MS);
    };
    const begin = () => {
      abort.abort();
      window.clearTimeout(timer);
      abort = new AbortController();
      turn();
    };
    const endWake = onWake(() => {
      const paused = new ApiProblem(0, "paused", "this page was paused, and reads again");
      setState((old) => (old.data && Date.now() - old.atMs > OLD_MS ? { ...old, problem: withAge(paused, old) } : old));
      begin();
    });
    timer = window.setTimeout(begin, 0);
    return () => {
      abort.abort();
      endWake();
      window.clearTimeout(timer);
    };
  }, [key, on]);
}

/** @param {boolean} on @param {string} key @param {(signal: AbortSignal) => Promise<any>} read @param {SetReading} setState */
function useNewestReading(on, key, read, setState) {
  const wanted = useRef(/** @type {{key: string, read: (signal: AbortSignal) => Promise<any>} | null} */ (null));
  const reading = useRef(/** @type {{abort: AbortController, sinceMs: number} | null} */ (null));
  const slow = useRef(0);
  const next = async () => {
    for (let asked = null; wanted.current && asked !== wanted.current; ) {
      asked = wanted.current;
      const turn = { abort: new AbortController(), sinceMs: Date.now() };
      reading.current = turn;
      let found;
      try {
        found = { ...NOTHING, key: asked.key, data: await asked.read(turn.abort.signal), atMs: Date.now() };
      } catch (error) {
        found = { ...NOTHING, key: asked.key, problem: problemOf(error) };
      }
      // Another turn has begun, or nothing of the past is wanted any more.
      if (reading.current !== turn) return;
      setState(() => found);
    }
    reading.current = null;
  };
  // With the layout: an effect would come after the next frame, and each instant of the handle a frame later.
  useLayoutEffect(() => {
    wanted.current = on ? { key, read } : null;
    const running = reading.current;
    const begin = () => {
      running?.abort.abort();
      reading.current = null;
      if (on) next();
    };
    window.clearTimeout(slow.current);
    const leftMs = running && on ? running.sinceMs + SLOW_MS - Date.now() : 0;
    // Also the last instant, after which nothing moves, must not wait longer for one that was left.
    if (leftMs > 0) slow.current = window.setTimeout(() => { if (reading.current === running) begin(); }, leftMs);
    else begin();
  }, [key, on]);
  useEffect(() => () => {
    window.clearTimeout(slow.current);
    wanted.current = null;
    reading.current?.abort.abort();
    reading.current = null;
  }, []);
}
