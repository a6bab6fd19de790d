import assert from "node:assert/strict";
import { test } from "node:test";
import { asOf, convert, parsePlace, placeQuery, played } from "../../../infrastructure/http/web/when.js";

const NOW = { axis: "event", at: null, panel: null };
const PANELS = ["rider", "order", "keys"];

test("a place comes back from its address, whatever its ids are", () => {
  const places = [
    NOW,
    { ...NOW, at: 1_790_000_000_000, axis: "known", panel: { name: "rider", id: "<svg onload=alert(1)>" } },
    { ...NOW, at: 81273, axis: "position", panel: { name: "order", id: "a&b=c#d?e %2F+" } },
    { ...NOW, panel: { name: "rider", id: "שלום 🚲" } },
    { ...NOW, panel: { name: "keys", id: "" } },
  ];
  for (const place of places) assert.deepEqual(parsePlace(placeQuery(place), PANELS), place);
  assert.equal(placeQuery(NOW), "");
});

test("an address that means nothing shows now", () => {
  for (const search of ["?at=-1", "?at=1e9", "?at=x", "?axis=other&at=5", "?at=99999999999999999999"]) {
    assert.equal(parsePlace(search, PANELS).at, null, search);
  }
});

test("reads name the instant and the axis, or nothing for now", () => {
  assert.equal(asOf(NOW), "");
  assert.equal(asOf({ ...NOW, at: 5.4 }), "at=5&axis=event");
  assert.equal(asOf({ ...NOW, at: 7, axis: "position" }), "position=7");
});

test("an address with a panel that there is not, or with two, has none or the first that is listed", () => {
  assert.equal(parsePlace("?other=1", PANELS).panel, null);
  assert.deepEqual(parsePlace("?order=1&rider=2", PANELS).panel, { name: "rider", id: "2" });
});

test("a replay moves an instant by its rate and a position by events, and ends at now", () => {
  assert.deepEqual(played({ ...NOW, at: 1000 }, 250, 0, 9000), { ...NOW, at: 1250 });
  assert.deepEqual(played({ ...NOW, axis: "position", at: 10 }, 250, 90, 9000), { ...NOW, axis: "position", at: 60 });
  assert.equal(played({ ...NOW, axis: "position", at: 60 }, 250, 90, 9000).at, null);
  assert.equal(played({ ...NOW, at: 7999 }, 250, 0, 9000).at, null);
  assert.equal(played(NOW, 250, 0, 9000), NOW);
});

test("an instant keeps its moment on another axis", () => {
  const shown = { ms: 5000, position: 42 };
  assert.deepEqual(convert({ ...NOW, at: 5000 }, "position", shown, 90), { axis: "position", at: 42 });
  assert.deepEqual(convert({ ...NOW, at: 5000 }, "position", { ms: 5000, position: null }, 90), { axis: "position", at: 90 });
  assert.deepEqual(convert({ ...NOW, axis: "position", at: 42 }, "known", shown, 90), { axis: "known", at: 5000 });
  assert.deepEqual(convert(NOW, "known", shown, 90), { axis: "known" });
});
