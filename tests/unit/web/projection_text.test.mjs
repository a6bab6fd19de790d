// The words for generations and tasks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { canStop, leftOf, shareOf, stateOf } from "../../../infrastructure/http/web/panels/projection_text.js";

test("a share is from 0 to 1, also before anything is known", () => {
  assert.equal(shareOf({ events_done: 0, events_total: 0 }), 0);
  assert.equal(shareOf({ events_done: 5, events_total: 20 }), 0.25);
  assert.equal(shareOf({ events_done: 30, events_total: 20 }), 1);
});

test("only a rebuild or a task that has not started can be stopped", () => {
  assert.equal(canStop({ kind: "rebuild", state: "running", ended_at_ms: null }), true);
  assert.equal(canStop({ kind: "rebuild", state: "done", ended_at_ms: 5 }), false);
  assert.equal(canStop({ kind: "switch", state: "requested", ended_at_ms: null }), true);
  assert.equal(canStop({ kind: "switch", state: "running", ended_at_ms: null }), false);
});

test("the time left is said once it is known", () => {
  assert.equal(leftOf({ seconds_left: null }), "");
  assert.equal(leftOf({ seconds_left: 90 }), ", 1:30 min left");
});

test("a generation is served, kept, of other code, or equal to the served one", () => {
  const one = { served: false, ours: true, state: "ready", compared_with: 1, differences: 0 };
  assert.equal(stateOf(one), "ready, equal to 1");
  assert.equal(stateOf({ ...one, served: true, state: "following" }), "served");
  assert.equal(stateOf({ ...one, state: "following", ours: false, differences: null }), "kept up to date, computed by other code");
  assert.equal(stateOf({ ...one, state: "compared", differences: 3 }), "compared");
});
