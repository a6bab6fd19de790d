// Reads of several pages: all of them, bounded, and none that is not wanted any more.

import assert from "node:assert/strict";
import { test } from "node:test";
import { allPages, segment } from "../../../infrastructure/http/web/api.js";

/** Pages of one item, named by their cursors. @param {number} count */
function pagesOf(count) {
  const read = /** @type {string[]} */ ([]);
  const page = async (/** @type {string} */ cursor) => {
    read.push(cursor);
    const number = Number(cursor || 0);
    return { items: [number], next: number + 1 < count ? String(number + 1) : null };
  };
  return { read, page };
}

test("every page is read, by the cursor of the one before", async () => {
  const { read, page } = pagesOf(3);
  assert.deepEqual(await allPages(page, 20, () => true), { items: [0, 1, 2], more: false });
  assert.deepEqual(read, ["", "1", "2"]);
});

test("no more pages are read than allowed, and that is said", async () => {
  assert.deepEqual(await allPages(pagesOf(30).page, 20, () => true), { items: [...Array(20).keys()], more: true });
});

test("a read that is not wanted any more ends", async () => {
  const { read, page } = pagesOf(30);
  await allPages(page, 20, () => read.length < 2);
  assert.equal(read.length, 2);
});

test("an id is one part of an address, whatever is in it", () => {
  assert.equal(segment("a/b?c#d e%2F"), "a%2Fb%3Fc%23d%20e%252F");
  assert.equal(segment("x\ud800y\udc00"), "x%EF%BF%BDy%EF%BF%BD");
  assert.equal(decodeURIComponent(segment("𝕏שלום")), "𝕏שלום");
});
