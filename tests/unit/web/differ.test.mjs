// What differs between two axes: pure, so tested by Node alone.

import assert from "node:assert/strict";
import test from "node:test";

import { metresBetween, orderDifferences, riderDifferences, sameInstant } from "../../../infrastructure/http/web/lineage/differ.js";

const fix = (rider_id, position, latitude, event_timestamp_ms) => ({ rider_id, position, latitude, longitude: 2, event_timestamp_ms });

test("a degree of latitude is 111 km, and a place is at no distance from itself", () => {
  const here = { latitude: 41, longitude: 2 };
  assert.equal(metresBetween(here, here), 0);
  assert.ok(Math.abs(metresBetween(here, { latitude: 42, longitude: 2 }) - 111_195) < 1);
  assert.ok(Math.abs(metresBetween({ latitude: 0, longitude: 179.9995 }, { latitude: 0, longitude: -179.9995 }) - 111.2) < 0.1);
});

test("riders differ if their latest fix is another event, the farthest first, the missing before", () => {
  const here = [fix("same", 1, 41, 0), fix("near", 2, 41, 5000), fix("far", 3, 41.01, 5000), fix("only here", 4, 41, 0)];
  const there = [fix("same", 1, 41, 0), fix("near", 12, 41.0001, 2000), fix("far", 13, 41, 9000), fix("only there", 5, 41, 0)];
  const found = riderDifferences(here, there);
  assert.deepEqual(found.map((one) => one.id), ["only here", "only there", "far", "near"]);
  assert.deepEqual(found.map((one) => one.seconds), [null, null, -4, 3]);
  assert.equal(found[0].there, null);
  assert.ok(Math.abs(found[2].metres - 1112) < 1);
  assert.deepEqual(riderDifferences(here, here), []);
});

test("orders differ in stage, in rider, or in being open", () => {
  const order = (order_id, status, rider_id = null) => ({ order_id, status, rider_id });
  const here = [order("a", "picked_up", "anna"), order("b", "assigned", "ben"), order("c", "placed"), order("d", "placed")];
  const there = [order("a", "assigned", "anna"), order("b", "assigned", "carl"), order("d", "placed"), order("e", "placed")];
  assert.deepEqual(orderDifferences(here, there).map((one) => [one.id, one.here?.status ?? null, one.there?.status ?? null]), [
    ["a", "picked_up", "assigned"],
    ["b", "assigned", "assigned"],
    ["c", "placed", null],
    ["e", null, "placed"],
  ]);
});

test("the same instant on each axis comes from one answer", () => {
  const answer = { at_ms: 1234, position: 77 };
  assert.equal(sameInstant("known", answer), "at=1234&axis=known");
  assert.equal(sameInstant("event", answer), "at=1234&axis=event");
  assert.equal(sameInstant("position", answer), "position=77");
});
