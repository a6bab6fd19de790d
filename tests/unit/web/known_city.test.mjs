// The riders and orders that the live stream has reported, also by a stream that repeats itself, goes back or is broken.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KnownCity, MAX_ENDED, MAX_ORDERS, MAX_RIDERS } from "../../../infrastructure/http/web/known_city.js";

const place = { latitude: 41.39, longitude: 2.17 };
const rider = (/** @type {string} */ id, /** @type {number} */ position) => ({ rider_id: id, position, event_timestamp_ms: position, ...place });
const order = (/** @type {string} */ id, /** @type {number} */ position, status = "placed") =>
  ({ order_id: id, position, status, restaurant: place, customer: place });
const ids = (/** @type {KnownCity} */ city) => [[...city.riders.keys()], [...city.orders.keys()]];

test("changes add to what is known, a snapshot replaces it, and orders that are over go", () => {
  const city = new KnownCity();
  city.take("snapshot", { riders: [rider("a", 1)], orders: [order("1", 1), order("2", 1, "assigned")] });
  city.take("changes", { riders: [rider("b", 2)], orders: [order("1", 2, "completed"), order("2", 2, "cancelled"), order("3", 2)] });
  assert.deepEqual(ids(city), [["a", "b"], ["3"]]);
  city.take("snapshot", { riders: [], orders: [] });
  assert.deepEqual(ids(city), [[], []]);
});

test("the riders that have not moved for the longest go, when there are more than the server holds", () => {
  const city = new KnownCity();
  const all = Array.from({ length: MAX_RIDERS }, (_, index) => rider(`r${index}`, 1));
  assert.deepEqual(city.take("snapshot", { riders: all, orders: [] }).dropped, []);
  assert.deepEqual(city.take("changes", { riders: [rider("r0", 2)], orders: [] }).dropped, []);
  assert.deepEqual(city.take("changes", { riders: [rider("new", 2)], orders: [] }).dropped, ["r1"]);
  assert.deepEqual([city.riders.has("r0"), city.riders.has("r1"), city.riders.size], [true, false, MAX_RIDERS]);
});

test("changes that repeat or go back move nothing", () => {
  const city = new KnownCity();
  city.take("snapshot", { riders: [rider("anna", 10)], orders: [order("o", 10)] });
  const again = city.take("changes", { riders: [rider("anna", 10), rider("anna", 9)], orders: [order("o", 9, "assigned")] });
  assert.deepEqual(again, { riders: [], orders: [], dropped: [] });
  assert.equal(city.riders.get("anna").position, 10);
  assert.equal(city.orders.get("o").status, "placed");
});

test("an order that has ended does not come back by a change of before its end", () => {
  const city = new KnownCity();
  city.take("changes", { riders: [], orders: [order("o", 1), order("o", 5, "completed"), order("o", 3, "picked_up")] });
  assert.deepEqual(ids(city), [[], []]);
  city.take("changes", { riders: [], orders: [order("o", 6, "placed")] });
  assert.deepEqual(ids(city), [[], ["o"]]);
});

test("a snapshot counts as it is: after a restore the positions of a log go back", () => {
  const city = new KnownCity();
  city.take("snapshot", { riders: [rider("anna", 900)], orders: [order("o", 900, "completed")] });
  city.take("snapshot", { riders: [rider("anna", 3)], orders: [order("o", 2)] });
  assert.equal(city.riders.get("anna").position, 3);
  assert.deepEqual(ids(city), [["anna"], ["o"]]);
});

test("what is no rider and no order is left out, and the rest is taken", () => {
  const city = new KnownCity();
  const broken = [null, 7, {}, { rider_id: "x" }, { ...rider("y", 1), latitude: null }, { ...rider("z", 1), position: "1" }];
  city.take("changes", { riders: [...broken, rider("anna", 1)], orders: [null, { order_id: "x", position: 1 }, order("o", 1)] });
  assert.deepEqual(ids(city), [["anna"], ["o"]]);
});

test("ids are no names of the language", () => {
  const city = new KnownCity();
  city.take("changes", { riders: [rider("__proto__", 1), rider("constructor", 1)], orders: [] });
  assert.deepEqual(ids(city)[0], ["__proto__", "constructor"]);
});

test("a stream without an end does not fill the memory", () => {
  const city = new KnownCity();
  const many = Array.from({ length: MAX_RIDERS + 7 }, (_, n) => rider(`r${n}`, n + 1));
  const { dropped } = city.take("changes", { riders: many, orders: [] });
  assert.deepEqual(dropped, ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
  const orders = Array.from({ length: MAX_ORDERS + 3 }, (_, n) => order(`o${n}`, n + 1));
  city.take("changes", { riders: [], orders });
  assert.equal(city.orders.size, MAX_ORDERS);
  const ended = Array.from({ length: MAX_ENDED + 1 }, (_, n) => order(`e${n}`, n + 2, "cancelled"));
  city.take("changes", { riders: [], orders: ended });
  city.take("changes", { riders: [], orders: [order("e0", 1), order(`e${MAX_ENDED}`, 1)] });
  assert.ok(city.orders.has("e0"), "the oldest end is forgotten");
  assert.ok(!city.orders.has(`e${MAX_ENDED}`));
});
