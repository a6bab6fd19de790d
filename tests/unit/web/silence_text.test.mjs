// Is the pipeline late, or is the rider silent? What is said for each of the causes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { othersSending, silenceOf } from "../../../infrastructure/http/web/panels/silence_text.js";

const last = { event_timestamp_ms: 1_000, received_timestamp_ms: 2_000 };
const quiet = { ageMs: 120_000, waiting: 0, more: false, last, others: { all: 9, sending: 7 }, position: 42, advice: "" };
const causeOf = (/** @type {any} */ part) => silenceOf({ ...quiet, ...part })?.cause ?? null;

test("pings that are recorded and not folded are the pipeline's, also while the last ping is young", () => {
  assert.equal(causeOf({ waiting: 1 }), "pipeline");
  assert.equal(causeOf({ waiting: 3, ageMs: 0 }), "pipeline");
  const said = silenceOf({ ...quiet, waiting: 100, more: true, advice: "give it CPU" })?.detail ?? "";
  for (const part of ["100 or more pings", "up to position 42", "give it CPU"]) assert.ok(said.includes(part), part);
});

test("a rider whose pings are all folded is silent", () => {
  assert.equal(causeOf({}), "rider");
  assert.match(silenceOf(quiet)?.detail ?? "", /nothing waits.*7 of 9 others/);
  assert.equal(causeOf({ others: { all: 0, sending: 0 }, last: null }), "rider");
});

test("if no other rider sends either, it is not this phone", () => {
  assert.equal(causeOf({ others: { all: 9, sending: 0 } }), "way");
});

test("a phone that sent late may hold back more", () => {
  assert.equal(causeOf({ last: { event_timestamp_ms: 0, received_timestamp_ms: 90_000 } }), "phone");
  assert.equal(causeOf({ last: { event_timestamp_ms: 0, received_timestamp_ms: null } }), "rider");
});

test("a rider that sends needs no explanation, and an unknown age none either", () => {
  assert.equal(causeOf({ ageMs: 29_999 }), null);
  assert.equal(causeOf({ ageMs: null }), null);
});

test("others are counted without the rider itself", () => {
  const riders = [{ rider_id: "a", event_timestamp_ms: 100_000 }, { rider_id: "b", event_timestamp_ms: 100_000 }, { rider_id: "c", event_timestamp_ms: 0 }];
  assert.deepEqual(othersSending(riders, "a", 100_001), { all: 2, sending: 1 });
});
