// The words for the items of a payout.

import assert from "node:assert/strict";
import { test } from "node:test";
import { digitsOf, itemWords, major } from "../../../infrastructure/http/web/panels/statement_text.js";

test("an amount has the digits of its currency", () => {
  assert.equal(major(120, 2), "1.20");
  assert.equal(major(-5, 2), "-0.05");
  assert.equal(major(1500, 0), "1500");
  assert.deepEqual(["1.50", "1500", "-0.125"].map(digitsOf), [2, 0, 3]);
});

test("an item says how much of what is paid at which rate", () => {
  assert.equal(itemWords({ item: "base", quantity: 1, unit: "leg", rate: "1.20" }), "base: 1 leg at 1.20");
  assert.equal(itemWords({ item: "metres", quantity: 2_345_000, unit: "mm", rate: "0.55/km" }), "distance: 2.35 km at 0.55/km");
  assert.equal(itemWords({ item: "night", quantity: 120, unit: "minor", rate: "250/1000" }), "night at 25 %");
  assert.equal(
    itemWords({ item: "waiting", quantity: 0, unit: "ms", rate: "0.18/min", free_ms: 300_000 }),
    "waiting: 0.0 min at 0.18/min, 5.0 min are free",
  );
  assert.equal(itemWords({ item: "no_rates" }), "no rates");
});
