import assert from "node:assert/strict";
import { test } from "node:test";
import { asOf, parsePlace, placeQuery, statusAt } from "../../../infrastructure/http/web/when.js";

const NOW = { axis: "event", at: null, rider: null, order: null };

test("a place comes back from its address, whatever its ids are", () => {
  const places = [
    NOW,
    { ...NOW, at: 1_790_000_000_000, axis: "known", rider: "<svg onload=alert(1)>" },
    { ...NOW, at: 81273, axis: "position", order: "a&b=c#d?e %2F+" },
    { ...NOW, rider: "שלום 🚲" },
  ];
  for (const place of places) assert.deepEqual(parsePlace(placeQuery(place)), place);
  assert.equal(placeQuery(NOW), "");
});

test("an address that means nothing shows now", () => {
  for (const search of ["?at=-1", "?at=1e9", "?at=x", "?axis=other&at=5", "?at=99999999999999999999"]) {
    assert.equal(parsePlace(search).at, null, search);
  }
});

test("reads name the instant and the axis, or nothing for now", () => {
  assert.equal(asOf(NOW), "");
  assert.equal(asOf({ ...NOW, at: 5.4 }), "at=5&axis=event");
  assert.equal(asOf({ ...NOW, at: 7, axis: "position" }), "position=7");
});

test("an order has the status of its latest stage at that instant, and is gone before and after its life", () => {
  const order = { placed_at_ms: 10, assigned_at_ms: 20, picked_up_at_ms: 30, arrived_at_ms: null, completed_at_ms: 50, cancelled_at_ms: null };
  assert.deepEqual([9, 10, 25, 30, 49, 50].map((ms) => statusAt(order, ms)), [null, "placed", "assigned", "picked_up", "picked_up", null]);
});
