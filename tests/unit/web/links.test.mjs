// Causes and effects as text, and the largest moves of an ETA: pure, so tested by Node alone.

import assert from "node:assert/strict";
import test from "node:test";

import * as links from "../../../infrastructure/http/web/lineage/links.js";

test("a hostile id stays one segment of the route", () => {
  assert.equal(links.routeOf("command", "../x?y#z"), "lineage/commands/..%2Fx%3Fy%23z");
  assert.equal(links.routeOf("evidence", "7"), "lineage/alerts/7");
});

test("the largest moves come first, and small ones are left out", () => {
  const at = (id, atMs, handOverMs) => ({ id, at_ms: atMs, hand_over_ms: handOverMs, because: [] });
  const items = [at(3, 3000, 140_000), at(1, 1000, 100_000), at(2, 2000, 101_000), at(4, 4000, 60_000)];
  const found = links.jumps(items, 5, 30);
  assert.deepEqual(found.map((one) => [one.id, one.moved_seconds]), [[4, -80], [3, 39]]);
  assert.equal(links.jumps(items, 1, 30).length, 1);
  assert.deepEqual(links.jumps([], 5, 30), []);
});

test("a verdict says why, and lateness which clock was wrong", () => {
  assert.equal(links.verdictWords({ verdict: "rejected", reason: "inaccurate" }), "rejected: inaccurate");
  assert.equal(links.verdictWords({ verdict: "accepted", weight: 0.25 }), "accepted, weight 0.25");
  assert.match(links.verdictWords({ verdict: "too_late" }), /too late/);
  assert.equal(links.lateness(250), "0.3 s");
  assert.equal(links.lateness(200_000), "3:20 min");
  assert.match(links.lateness(-4000), /clock is ahead/);
  assert.equal(links.lateness(null), "unknown");
});

test("types of events are words", () => {
  assert.equal(links.eventWords("GpsPing"), "ping");
  assert.equal(links.eventWords("DeliveryPickedUp"), "delivery picked up");
  assert.equal(links.moved(-80), "−1:20 min");
  assert.equal(links.moved(0), "0 s");
  assert.deepEqual([0, 1, 1200].map((n) => links.counted(n, "rider")), ["0 riders", "1 rider", "1,200 riders"]);
});

test("a feature has its unit beside its value, and not as a letter at the end of its name", () => {
  const shown = [["rider_speed_mps", 2.341], ["rider_to_customer_m", 796.3], ["elapsed_in_leg_s", 5], ["rider_pace_s_per_km", 180],
    ["local_time_of_day_h", 0.5], ["traffic_index", 0.93], ["leg", "to_customer"], ["recent_duration_s", null]]
    .map(([feature, value]) => `${links.featureName(feature)}: ${links.featureText(feature, value)}`);
  assert.deepEqual(shown, ["rider speed: 2.34 m/s", "rider to customer: 796.3 m", "elapsed in leg: 5 s", "rider pace: 180 s/km",
    "local time of day: 0.5 h", "traffic index: 0.93", "leg: to customer", "recent duration: unknown"]);
});
