// What the strip says of the stream, now and while the map is in the past.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clock } from "../../../infrastructure/http/web/format.js";
import { linkWords } from "../../../infrastructure/http/web/live_stream.js";

const THEN = Date.UTC(2026, 10, 30, 12, 40, 1);
const BEFORE = THEN - 60_000;

test("now, a stream is live, and one that is not says of when the map is", () => {
  assert.equal(linkWords({ kind: "live", state: "live", dataMs: 0 }, null), "live");
  assert.equal(linkWords({ kind: "fault", state: "reconnecting", dataMs: BEFORE }, null), `reconnecting; the map is of ${clock(BEFORE)}`);
  assert.equal(linkWords({ kind: "notice", state: "connecting …", dataMs: 0 }, null), "connecting …");
});

test("while the past is shown, nothing is called live, and the map is of the instant that is shown", () => {
  assert.equal(linkWords({ kind: "live", state: "live", dataMs: 0 }, THEN), `the map is of ${clock(THEN)}, this line is of now`);
  assert.equal(linkWords({ kind: "fault", state: "reconnecting", dataMs: BEFORE }, THEN), `the map is of ${clock(THEN)}, this line is of now: reconnecting`);
});
