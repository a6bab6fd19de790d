import assert from "node:assert/strict";
import { test } from "node:test";
import { stagesOf } from "../../../infrastructure/http/web/panels/order_stages.js";

const NONE = { placed_at_ms: null, assigned_at_ms: null, picked_up_at_ms: null, arrived_at_ms: null, completed_at_ms: null, cancelled_at_ms: null };
const NOW = { ...NONE, placed_at_ms: 10, assigned_at_ms: 20, picked_up_at_ms: 30, completed_at_ms: 50 };
const shown = (/** @type {any} */ then) => stagesOf(NOW, then).map(({ name, ms, isDone }) => [name, ms, isDone]);

test("a step that was reported later is no stage of then, though its time is before the instant", () => {
  const then = { ...NONE, placed_at_ms: 10, assigned_at_ms: 20 };
  assert.deepEqual(shown(then), [["placed", 10, true], ["assigned", 20, true], ["picked up", 30, false], ["completed", 50, false]]);
});

test("a stage of then has its time of then, and is shown though it was undone", () => {
  const then = { ...NONE, placed_at_ms: 10, assigned_at_ms: 15, arrived_at_ms: 40 };
  assert.deepEqual(shown(then), [["placed", 10, true], ["assigned", 15, true], ["picked up", 30, false], ["arrived", 40, true], ["completed", 50, false]]);
});

test("of an order that was not placed then, every stage is later", () => {
  assert.deepEqual(shown(null).map(([, , isDone]) => isDone), [false, false, false, false]);
});
