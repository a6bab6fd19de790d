// Follows `GET /live`: connects again whenever the stream ends, stops, or sends what cannot be read. A window without a
// seat reads the map as a whole instead, every few seconds, and has a stream as soon as a seat is free.

import { ApiProblem, readBody, request } from "./api.js";
import { EventParser } from "./event_stream.js";
import { clock } from "./format.js";
import { isDenial, retryMs } from "./retry.js";
import { MAX_STREAMS, StreamSeat } from "./stream_seats.js";
import { onWake } from "./wake.js";

/** The server sends a comment after so long without news. */
const HEARTBEAT_MS = 15_000;
/** A stream without a byte for longer has stopped, although its connection may stay open for hours. */
const SILENT_MS = 20_000;
const WATCH_MS = 1000;
/** A stream is for those who look: tabs that are not seen give theirs back. */
const HIDDEN_MS = 30_000;
/** How often a window without a seat reads the map. */
const SEATLESS_MS = 3000;
const SEATLESS = `read every ${SEATLESS_MS / 1000} s, since ${MAX_STREAMS} other windows have a stream: close one of them to have it here`;

/** `fault`: the map of now is not as new as it should be. `notice`: it is read in another way, as it should be here.
 * `dataMs`: when its data came, where they are not of now; 0 before the first.
 * @typedef {{kind: "live" | "notice" | "fault", state: string, dataMs: number}} Link */
/** @type {Link} */
const LIVE = { kind: "live", state: "live", dataMs: 0 };
/** @type {Link} */
export const CONNECTING = { kind: "notice", state: "connecting …", dataMs: 0 };

/** What the strip says of the map. While the past is shown, the stream is of another instant than the map: "live" beside a
 * map of yesterday would be wrong. Pure; unit-tested. @param {Link} link @param {number | null} pastMs the instant that
 * the map shows, null for now */
export function linkWords({ kind, state, dataMs }, pastMs) {
  if (pastMs !== null) {
    const words = `the map is of ${clock(pastMs)}, this line is of now`;
    return kind === "live" ? words : `${words}: ${state}`;
  }
  return dataMs ? `${state}; the map is of ${clock(dataMs)}` : state;
}

/** @param {any} found of a message, or of a read of the whole map @returns {any} @throws {SyntaxError} if it is neither */
function checked(found) {
  if (!Array.isArray(found?.riders) || !Array.isArray(found.orders)) throw new SyntaxError("no riders or no orders");
  return found;
}

/** @typedef {{onData: (kind: string, data: any) => void, onState: (link: Link) => void, onDenied: () => void}} Listener */

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
  #seat = new StreamSeat(navigator.locks);
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
    this.#seat.leave();
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
    this.#seat.leave();
    this.#say("paused", "notice");
  }

  /** After a pause: a stream without a byte for as long as a comment takes may be of before it. */
  #resume() {
    if (!this.#reading || Date.now() - this.#byteMs > HEARTBEAT_MS) this.#connect();
  }

  #check() {
    if (this.#reading && Date.now() - this.#byteMs > SILENT_MS) this.#again(`no data for ${SILENT_MS / 1000} s, connecting again`);
  }

  /** Reports a state that is not live, with the time of what the map shows. @param {string} state
   * @param {"notice" | "fault"} kind */
  #say(state, kind) {
    this.listener.onState({ kind, state, dataMs: this.#dataMs });
  }

  /** Ends what is open, and connects after a pause that grows with each failure. @param {string} why */
  #again(why) {
    this.#later(why, "fault", retryMs(this.#failures));
    this.#failures += 1;
  }

  /** Ends what is open, and connects after `ms`. @param {string} why @param {"notice" | "fault"} kind @param {number} ms */
  #later(why, kind, ms) {
    this.#stop();
    if (this.#closed) return;
    this.#say(why, kind);
    this.#retry = window.setTimeout(() => this.#connect(), ms);
  }

  async #connect() {
    this.#stop();
    const reading = new AbortController();
    this.#reading = reading;
    this.#byteMs = Date.now();
    try {
      const hasSeat = await this.#seat.take();
      if (this.#reading !== reading) return;
      if (!hasSeat) return await this.#readInstead(reading);
      if (this.#dataMs) this.#say("reconnecting", "fault");
      else this.listener.onState(CONNECTING);
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
    this.#show(type, checked(JSON.parse(data)));
    if (type === "snapshot") {
      this.#failures = 0;
      this.listener.onState(LIVE);
    }
  }

  /** @param {string} kind @param {any} found */
  #show(kind, found) {
    try {
      this.listener.onData(kind, found);
    } catch (error) {
      // A fault of the page must be seen: it is no fault of the stream, which is read again all the same.
      reportError(error);
      throw error;
    }
    this.#dataMs = Date.now();
  }

  /** @param {unknown} error */
  async #failed(error) {
    if (isDenial(error)) {
      this.close();
      return this.listener.onDenied();
    }
    const problem = error instanceof ApiProblem ? error : null;
    this.#stop();
    // Without a stream the map is read as a whole, now and at each attempt.
    if (problem?.code === "too_many_streams") await this.#readOnce();
    const unreadable = error instanceof SyntaxError || error instanceof RangeError;
    return this.#again(problem?.message ?? (unreadable ? "the stream cannot be read, connecting again" : "reconnecting"));
  }

  /** @param {AbortController} reading */
  async #readInstead(reading) {
    const found = checked(await request("live", { signal: reading.signal }));
    if (this.#reading !== reading) return;
    this.#show("snapshot", found);
    this.#failures = 0;
    this.#later(SEATLESS, "notice", SEATLESS_MS);
  }

  async #readOnce() {
    try {
      const found = checked(await request("live"));
      if (!this.#closed) this.#show("snapshot", found);
    } catch {
      // The stream is asked for again all the same; what is shown has its time beside it, and `#show` reports a fault.
    }
  }
}
