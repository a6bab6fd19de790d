import assert from "node:assert/strict";
import { test } from "node:test";
import { age, clock, coordinates, day, duration, speed, visible, words } from "../../../infrastructure/http/web/format.js";

test("hidden characters of an id are shown by their code point, and letters of any script stay", () => {
  assert.equal(visible("anna"), "anna");
  assert.equal(visible("a\u202Eb\u0000c"), "a⟨U+202E⟩b⟨U+0000⟩c");
  assert.equal(visible("שלום 🚲 <b>"), "שלום 🚲 <b>");
  for (const hidden of ["\u200B", "\u2066", "\uFEFF", "\u007F", "\u009F"]) assert.ok(!visible(hidden).includes(hidden));
});

test("what shows nothing or piles up is shown, in every plane of Unicode, and never half a character", () => {
  for (const hidden of ["\u{E0041}", "\u{1D173}", "\u3164", "\u115F", "\u2800", "\u00A0", "\u3000", "\uFE0F", "\uE000", "\uD800", "\u2028"]) {
    assert.equal(visible(`a${hidden}b`), `a⟨U+${/** @type {number} */ (hidden.codePointAt(0)).toString(16).toUpperCase().padStart(4, "0")}⟩b`);
  }
  assert.equal(visible("𝕏".repeat(128)), "𝕏".repeat(128));
  assert.equal(visible(`a${"\u0300".repeat(127)}`), `a${"\u0300".repeat(4)}⟨+123 marks⟩`);
  for (const word of ["é", "किं", "ทั้ง", "שָׁלוֹם", "ngữ"]) assert.equal(visible(word), word);
});

test("durations and ages keep their unit", () => {
  assert.deepEqual([0, 59, 60, 3599, 3600, -61].map(duration), ["0 s", "59 s", "1:00 min", "59:59 min", "1 h 0 min", "−1:01 min"]);
  assert.equal(duration(null), "–");
  assert.equal(age(0.24), "0.2 s");
  assert.equal(age(undefined), "–");
});

test("speeds are in km/h, and unknown is a dash and never 0", () => {
  assert.equal(speed(10), "36.0 km/h");
  assert.equal(speed(0), "0.0 km/h");
  assert.equal(speed(null), "–");
});

test("a place has five decimals, about a metre", () => {
  assert.equal(coordinates({ latitude: 41.3947149, longitude: -2.1 }), "41.39471, -2.10000");
});

test("a clock is in the zone that is named, and in the viewer's for one that the browser does not know", () => {
  assert.equal(clock(0, "Asia/Tokyo"), "09:00:00");
  assert.match(clock(0, "No/Where"), /^\d\d:\d\d:\d\d$/);
  assert.equal(words("too_inaccurate"), "too inaccurate");
});

test("a day has its year where it is another one", () => {
  const now = Date.UTC(2026, 5, 15);
  assert.equal(day(Date.UTC(2026, 10, 30, 12), now), "30 Nov");
  assert.equal(day(Date.UTC(2001, 10, 30, 12), now), "30 Nov 2001");
});
