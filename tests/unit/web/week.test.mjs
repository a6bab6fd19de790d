// ISO weeks: those of 1 January and of leap years are not what the calendar year says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { weekOf, weeksUntil } from "../../../infrastructure/http/web/panels/week.js";

const at = (/** @type {string} */ day) => Date.parse(`${day}T12:00:00Z`);

test("a week belongs to the year of its Thursday", () => {
  assert.equal(weekOf(at("2026-11-30")), "2026-W49");
  assert.equal(weekOf(at("2024-12-30")), "2025-W01");
  assert.equal(weekOf(at("2021-01-03")), "2020-W53");
  assert.equal(weekOf(at("2021-01-04")), "2021-W01");
  assert.equal(weekOf(at("2027-01-01")), "2026-W53");
});

test("the weeks go back one by one, over the end of a year", () => {
  assert.deepEqual(weeksUntil(at("2021-01-12"), 3), ["2021-W02", "2021-W01", "2020-W53"]);
});
