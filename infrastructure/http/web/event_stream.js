// Reads Server-Sent Events from text that arrives in pieces. Pure; unit-tested.
// The browser's own EventSource shows neither comments nor the status of a refusal: a stream that has stopped would look
// like one without news, and a full server like one that is down.

/** A longer message is no message of this server: its largest has 5,000 riders and 2,000 orders, about 8 million characters. */
export const MAX_MESSAGE_CHARS = 32_000_000;

/** @typedef {{type: string, data: string}} Message */

export class EventParser {
  #rest = "";
  #searched = 0;
  #started = false;
  #type = "";
  /** @type {string[]} */
  #data = [];
  #size = 0;
  #max;

  /** @param {number} [max] characters of a message */
  constructor(max = MAX_MESSAGE_CHARS) {
    this.#max = max;
  }

  /** Takes over the next piece. What has no blank line after it yet is kept; at the end of a stream it is no message.
   * @param {string} piece @returns {Message[]} @throws {RangeError} if a message is too long */
  push(piece) {
    this.#rest += piece;
    if (!this.#started && this.#rest) {
      this.#started = true;
      if (this.#rest.startsWith("\ufeff")) this.#rest = this.#rest.slice(1);
    }
    const found = [];
    let from = 0;
    for (;;) {
      const end = this.#endOfLine(Math.max(from, this.#searched));
      if (end === null) break;
      const message = this.#line(this.#rest.slice(from, end.at));
      if (message) found.push(message);
      from = end.next;
      this.#searched = from;
    }
    this.#rest = this.#rest.slice(from);
    // A CR at the end is looked at again: an LF may follow it.
    this.#searched = Math.max(0, this.#rest.length - 1);
    if (this.#rest.length + this.#size > this.#max) throw new RangeError("a message of the stream is too long");
    return found;
  }

  /** @param {number} from @returns {{at: number, next: number} | null} where a line ends and the next begins */
  #endOfLine(from) {
    const text = this.#rest;
    for (let at = from; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 10) return { at, next: at + 1 };
      if (code !== 13) continue;
      if (at + 1 === text.length) return null;
      return { at, next: text.charCodeAt(at + 1) === 10 ? at + 2 : at + 1 };
    }
    return null;
  }

  /** @param {string} line @returns {Message | null} */
  #line(line) {
    if (line === "") {
      const message = this.#data.length ? { type: this.#type || "message", data: this.#data.join("\n") } : null;
      [this.#type, this.#data, this.#size] = ["", [], 0];
      return message;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "event") this.#type = value;
    else if (field === "data") {
      this.#data.push(value);
      this.#size += value.length;
    }
    return null;
  }
}
