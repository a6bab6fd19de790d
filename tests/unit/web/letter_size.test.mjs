// How much marks on a canvas grow with the letters of the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { growthOf } from "../../../infrastructure/http/web/letter_size.js";

test("marks grow with the letters of the page, within bounds", () => {
  assert.equal(growthOf(15), 1);
  assert.equal(growthOf(24), 1.6);
  assert.equal(growthOf(300), 2);
});

test("marks are never smaller than on a common screen", () => {
  assert.equal(growthOf(9), 1);
  assert.equal(growthOf(Number.NaN), 1);
});
