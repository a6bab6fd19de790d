// Which windows of a browser have a stream. It opens six HTTP/1.1 connections to a server, and a stream keeps one: with
// six streams every other request of the page would wait for ever. So a stream needs one of three seats.

/** Leaves three connections of six for everything else. */
export const MAX_STREAMS = 3;

/** A seat of this window. The browser frees it when the window closes or crashes. */
export class StreamSeat {
  /** @type {(() => void) | null} */
  #release = null;
  /** @type {Promise<boolean> | null} */
  #taking = null;
  #isWanted = false;
  #locks;

  /** @param {LockManager | undefined} locks of the browser; undefined: the page came by HTTP from another machine, where
   * browsers have none, and every window gets a seat */
  constructor(locks) {
    this.#locks = locks;
  }

  /** Takes a seat, if one is free. It is kept until `leave`. @returns {Promise<boolean>} whether this window has one */
  take() {
    this.#isWanted = true;
    this.#taking ??= this.#take().finally(() => { this.#taking = null; });
    return this.#taking;
  }

  leave() {
    this.#isWanted = false;
    this.#release?.();
    this.#release = null;
  }

  async #take() {
    if (!this.#locks) return true;
    try {
      for (let seat = 0; this.#isWanted && !this.#release && seat < MAX_STREAMS; seat += 1) {
        const release = await heldLock(this.#locks, `ridelog-stream-${seat}`);
        // It may have been left meanwhile, and would be kept from the other windows for ever.
        if (this.#isWanted) this.#release = release;
        else release?.();
      }
    } catch (error) {
      // A browser that blocks the site's storage blocks its locks too.
      if (/** @type {Error} */ (error).name !== "SecurityError") throw error;
      this.#locks = undefined;
      return true;
    }
    return this.#release !== null;
  }
}

/** @param {LockManager} locks @param {string} name @returns {Promise<(() => void) | null>} ends the lock; null if another
 * window has it */
function heldLock(locks, name) {
  return new Promise((resolve, reject) => {
    const ended = locks.request(name, { ifAvailable: true }, (lock) => {
      if (!lock) return resolve(null);
      return new Promise((release) => { resolve(() => release(undefined)); });
    });
    ended.catch(reject);
  });
}
