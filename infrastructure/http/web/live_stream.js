// Follows `GET /live`: connects again whenever the stream ends, stops, or sends what cannot be read.

import { ApiProblem, readBody, request } from "./api.js";
import { EventParser } from "./event_stream.js";
import { clock } from "./format.js";
import { onWake } from "./wake.js";

/** The server sends a comment after so long without news. */
const HEARTBEAT_MS = 15_000;
/** A stream without a byte for longer has stopped, although its connection may stay open for hours. */
const SILENT_MS = 20_000;
const WATCH_MS = 1000;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 15_000;
/** A browser opens six connections to a server, and a stream takes one: tabs that are not seen give theirs back. */
const HIDDEN_MS = 30_000;
export const LIVE = "live";

/** @param {any} found of a message, or of a read of the whole map @returns {any} @throws {SyntaxError} if it is neither */
function checked(found) {
  if (!Array.isArray(found?.riders) || !Array.isArray(found.orders)) throw new SyntaxError("no riders or no orders");
  return found;
}

/** @typedef {{onData: (kind: string, data: any) => void, onState: (state: string) => void, onDenied: () => void}} Listener */

export class LiveStream {
  /** @type {AbortController | null} */
  #reading = null;
  #retry = 0;
  #hiddenTimer = 0;
  #watch = 0;
  #failures = 0;
  #byteMs = 0;
  #dataMs = 0;
  #closed = false;
  /** @type {() => void} */
  #endWake;

  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    this.#endWake = onWake(() => this.#resume());
    document.addEventListener("visibilitychange", this.#onVisibility);
    this.#watch = window.setInterval(() => this.#check(), WATCH_MS);
    if (document.hidden) this.#pause();
    else this.#connect();
  }

  close() {
    this.#closed = true;
    this.#endWake();
    document.removeEventListener("visibilitychange", this.#onVisibility);
    window.clearInterval(this.#watch);
    this.#stop();
  }

  #stop() {
    window.clearTimeout(this.#retry);
    window.clearTimeout(this.#hiddenTimer);
    this.#reading?.abort();
    this.#reading = null;
  }

  #onVisibility = () => {
    window.clearTimeout(this.#hiddenTimer);
    if (document.hidden) this.#hiddenTimer = window.setTimeout(() => this.#pause(), HIDDEN_MS);
  };

  #pause() {
    this.#stop();
    this.#say("paused");
  }

  /** After a pause: a stream without a byte for as long as a comment takes may be of before it. */
  #resume() {
    if (!this.#reading || Date.now() - this.#byteMs > HEARTBEAT_MS) this.#connect();
  }

  #check() {
    if (this.#reading && Date.now() - this.#byteMs > SILENT_MS) this.#again(`no data for ${SILENT_MS / 1000} s, connecting again`);
  }

  /** Reports a state that is not live, with the time of what the map shows. @param {string} state */
  #say(state) {
    this.listener.onState(this.#dataMs ? `${state}; the map is of ${clock(this.#dataMs)}` : state);
  }

  /** Ends what is open, and connects after a pause that grows with each failure. @param {string} why */
  #again(why) {
    this.#stop();
    if (this.#closed) return;
    this.#say(why);
    const wait = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#retry = window.setTimeout(() => this.#connect(), wait);
  }

  async #connect() {
    this.#stop();
    const reading = new AbortController();
    this.#reading = reading;
    this.#byteMs = Date.now();
    this.#say(this.#dataMs ? "reconnecting" : "connecting …");
    try {
      await this.#read(reading.signal);
      if (this.#reading === reading) this.#again("reconnecting");
    } catch (error) {
      if (this.#reading !== reading) return;
      await this.#failed(error);
    }
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    const answer = await fetch("live", { headers: { Accept: "text/event-stream" }, cache: "no-store", credentials: "same-origin", signal });
    if (!answer.ok) return readBody(answer);
    if (!answer.body || !answer.headers.get("content-type")?.startsWith("text/event-stream")) throw new TypeError("no stream");
    const [reader, decoder, parser] = [answer.body.getReader(), new TextDecoder(), new EventParser()];
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return undefined;
      this.#byteMs = Date.now();
      for (const message of parser.push(decoder.decode(value, { stream: true }))) this.#take(message);
    }
  }

  /** @param {import("./event_stream.js").Message} message */
  #take({ type, data }) {
    if (type !== "snapshot" && type !== "changes") return;
    const found = checked(JSON.parse(data));
    try {
      this.listener.onData(type, found);
    } catch (error) {
      // A fault of the page must be seen: it is no fault of the stream, which is read again all the same.
      reportError(error);
      throw error;
    }
    this.#dataMs = Date.now();
    if (type === "snapshot") {
      this.#failures = 0;
      this.listener.onState(LIVE);
    }
  }

  /** @param {unknown} error */
  async #failed(error) {
    const problem = error instanceof ApiProblem ? error : null;
    if (problem && [401, 403].includes(problem.status)) {
      this.close();
      return this.listener.onDenied();
    }
    this.#stop();
    // Without a stream the map is read as a whole, now and at each attempt.
    if (problem?.code === "too_many_streams") await this.#readOnce();
    const unreadable = error instanceof SyntaxError || error instanceof RangeError;
    return this.#again(problem?.message ?? (unreadable ? "the stream cannot be read, connecting again" : "reconnecting"));
  }

  async #readOnce() {
    try {
      const found = checked(await request("live"));
      if (this.#closed) return;
      this.listener.onData("snapshot", found);
      this.#dataMs = Date.now();
    } catch (error) {
      // The stream is asked for again all the same; what is shown has its time beside it.
      if (!(error instanceof ApiProblem || error instanceof SyntaxError)) reportError(error);
    }
  }
}
