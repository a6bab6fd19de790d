import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_STREAMS, StreamSeat } from "../../../infrastructure/http/web/stream_seats.js";

/** The locks of one browser, as navigator.locks of all of its windows. */
class Locks {
  /** @type {Set<string>} */
  held = new Set();

  /** @param {string} name @param {LockOptions} _options @param {(lock: any) => any} work */
  async request(name, _options, work) {
    await null;
    if (this.held.has(name)) return work(null);
    this.held.add(name);
    return Promise.resolve(work({ name })).finally(() => this.held.delete(name));
  }
}

const settled = () => new Promise((resolve) => { setImmediate(resolve); });

/** @param {Locks} locks @param {number} count */
const windowsOf = (locks, count) => Array.from({ length: count }, () => new StreamSeat(/** @type {any} */ (locks)));

test("as many windows get a seat as there are, also if all ask at once, and each has one", async () => {
  const locks = new Locks();
  const seats = windowsOf(locks, 7);
  const got = await Promise.all(seats.map((seat) => seat.take()));
  assert.equal(got.filter(Boolean).length, MAX_STREAMS);
  assert.equal(locks.held.size, MAX_STREAMS);
  assert.deepEqual(await Promise.all(seats.map((seat) => seat.take())), got, "a seat is kept");
  assert.equal(locks.held.size, MAX_STREAMS);
});

test("a seat that is left is free for another window", async () => {
  const seats = windowsOf(new Locks(), MAX_STREAMS + 1);
  for (const seat of seats.slice(0, MAX_STREAMS)) assert.equal(await seat.take(), true);
  assert.equal(await seats[MAX_STREAMS].take(), false);
  seats[1].leave();
  await settled();
  assert.equal(await seats[MAX_STREAMS].take(), true);
  assert.equal(await seats[1].take(), false);
});

test("a seat that is left while it is being taken is kept from no window", async () => {
  const locks = new Locks();
  const [seat] = windowsOf(locks, 1);
  const taking = seat.take();
  seat.leave();
  assert.equal(await taking, false);
  await settled();
  assert.equal(locks.held.size, 0);
  const first = seat.take();
  seat.leave();
  assert.deepEqual(await Promise.all([first, seat.take()]), [true, true]);
  assert.equal(locks.held.size, 1);
});

test("where a browser has no locks, or blocks them, every window has a seat", async () => {
  assert.equal(await new StreamSeat(undefined).take(), true);
  const blocked = { request: async () => { throw new DOMException("storage is blocked", "SecurityError"); } };
  assert.equal(await new StreamSeat(/** @type {any} */ (blocked)).take(), true);
  const broken = { request: async () => { throw new TypeError("broken"); } };
  await assert.rejects(new StreamSeat(/** @type {any} */ (broken)).take(), TypeError);
});
