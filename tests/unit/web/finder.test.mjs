// Which riders and orders the finder offers, and which of them Enter opens.

import assert from "node:assert/strict";
import { test } from "node:test";
import { matches } from "../../../infrastructure/http/web/finder.js";

const ALL = [["order", "order-10", "placed"], ["rider", "Anna Order-1", ""], ["order", "order-1", "picked up"], ["rider", "ben", ""]];
const ids = (needle) => matches(ALL, needle).map(([, id]) => id);

test("regression: the whole id comes before longer ids that contain it, which Enter opened", () => {
  assert.deepEqual(ids("order-1"), ["order-1", "order-10", "Anna Order-1"]);
});

test("letters are the same in both cases", () => {
  assert.deepEqual(ids("anna"), ["Anna Order-1"]);
});

test("nothing typed offers nothing, and neither does what no id has", () => {
  assert.deepEqual(ids(""), []);
  assert.deepEqual(ids("zoe"), []);
});
