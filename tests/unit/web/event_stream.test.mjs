// The stream of Server-Sent Events as it may arrive: cut anywhere, with any line end, repeated, endless, and unknown.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser } from "../../../infrastructure/http/web/event_stream.js";

const STREAM = "\ufeffretry: 1000\n\n: a comment\n\nevent: snapshot\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nid: 7\rdata:x\r\revent: unknown\ndata: שלום 𝕏\n\nevent: cut\ndata: no end";
const MESSAGES = [
  { type: "snapshot", data: '{"a":\n1}' },
  { type: "message", data: "x" },
  { type: "unknown", data: "שלום 𝕏" },
];

test("a message is the same wherever the stream is cut, and one without its blank line is none", () => {
  assert.deepEqual(new EventParser().push(STREAM), MESSAGES);
  for (let at = 0; at <= STREAM.length; at += 1) {
    const parser = new EventParser();
    assert.deepEqual([...parser.push(STREAM.slice(0, at)), ...parser.push(STREAM.slice(at))], MESSAGES, `cut at ${at}`);
  }
  const one = new EventParser();
  assert.deepEqual([...STREAM].flatMap((piece) => one.push(piece)), MESSAGES);
});

test("comments, fields that are not known, and messages without data say nothing", () => {
  assert.deepEqual(new EventParser().push(": \n\nid\n\nevent: changes\n\nfoo: bar\n\ndata\n\n"), [{ type: "message", data: "" }]);
});

test("a message that has no end is refused at its bound, in one line or in many", () => {
  const line = new EventParser(1000);
  line.push(`data: ${"x".repeat(900)}`);
  assert.throws(() => line.push("x".repeat(200)), RangeError);
  const lines = new EventParser(1000);
  assert.throws(() => { for (let n = 0; n < 2000; n += 1) lines.push("data: x\n"); }, RangeError);
});

test("what is kept of a stream does not grow with its messages", () => {
  const parser = new EventParser(1000);
  for (let n = 0; n < 500; n += 1) assert.equal(parser.push(`event: changes\ndata: ${"y".repeat(100)}\n\n`).length, 1);
});
