// The rules of the list of panels, and what the live stream leaves known.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KnownCity, MAX_RIDERS } from "../../../infrastructure/http/web/known_city.js";
import { checked, inMenu } from "../../../infrastructure/http/web/panels/registry.js";

const panel = (/** @type {object} */ part) => ({ name: "one", title: "One", view: () => null, ...part });

test("panels have names and keys of their own, and none that the page uses itself", () => {
  const good = [panel({ name: "one", key: "o", menu: "One" }), panel({ name: "two", key: "t" })];
  assert.equal(checked(good), good);
  assert.deepEqual(inMenu(good, false), [good[0]]);
  for (const [first, second] of [
    [{ name: "at" }, {}],
    [{ name: "One" }, {}],
    [{ name: "two" }, { name: "two" }],
    [{ key: "n" }, {}],
    [{ key: "?" }, {}],
    [{ key: "ab" }, {}],
    [{ key: "x" }, { name: "two", key: "x" }],
  ]) assert.throws(() => checked([panel(first), panel({ name: "other", ...second })]), /panel/);
});

test("a panel of a demo is in the menu of a demo alone", () => {
  const panels = [panel({ menu: "One" }), panel({ name: "demo", menu: "Break it", demoOnly: true })];
  assert.deepEqual(inMenu(panels, false), [panels[0]]);
  assert.deepEqual(inMenu(panels, true), panels);
});

const at = (/** @type {string} */ rider_id) => ({ rider_id });
const order = (/** @type {string} */ order_id, /** @type {string} */ status) => ({ order_id, status });

test("changes add to what is known, a snapshot replaces it, and orders that are over go", () => {
  const city = new KnownCity();
  city.take("snapshot", { riders: [at("a")], orders: [order("1", "placed"), order("2", "assigned")] });
  city.take("changes", { riders: [at("b")], orders: [order("1", "completed"), order("2", "cancelled"), order("3", "placed")] });
  assert.deepEqual([[...city.riders.keys()], [...city.orders.keys()]], [["a", "b"], ["3"]]);
  city.take("snapshot", { riders: [], orders: [] });
  assert.deepEqual([city.riders.size, city.orders.size], [0, 0]);
});

test("the riders that have not moved for the longest go, when there are more than the server holds", () => {
  const city = new KnownCity();
  const ids = Array.from({ length: MAX_RIDERS }, (_, index) => `r${index}`);
  assert.deepEqual(city.take("snapshot", { riders: ids.map(at), orders: [] }), []);
  assert.deepEqual(city.take("changes", { riders: [at("r0")], orders: [] }), []);
  assert.deepEqual(city.take("changes", { riders: [at("new")], orders: [] }), ["r1"]);
  assert.deepEqual([city.riders.has("r0"), city.riders.has("r1"), city.riders.size], [true, false, MAX_RIDERS]);
});
