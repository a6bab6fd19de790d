// The rules of the list of panels.

import assert from "node:assert/strict";
import { test } from "node:test";
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

