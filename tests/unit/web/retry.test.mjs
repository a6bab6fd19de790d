import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ApiProblem } from "../../../infrastructure/http/web/api.js";
import { askUntilAnswered, retryMs } from "../../../infrastructure/http/web/retry.js";

const settled = () => new Promise((resolve) => { setImmediate(resolve); });

/** A server that answers with these, one after the other, and its clock. @param {any[]} outcomes */
function server(outcomes) {
  mock.timers.enable({ apis: ["setTimeout"] });
  const asked = { count: 0, found: /** @type {any[]} */ ([]) };
  const read = async () => {
    const outcome = outcomes[asked.count];
    asked.count += 1;
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  const end = askUntilAnswered(read, (found) => asked.found.push(found));
  const pass = async (/** @type {number} */ ms) => {
    mock.timers.tick(ms);
    await settled();
  };
  return { asked, end, pass };
}

test("the pause between two attempts grows to a bound", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 50].map(retryMs), [1000, 2000, 4000, 8000, 15_000, 15_000]);
});

test("what cannot be had is asked for again, ever less often, until it is there", async (t) => {
  t.after(() => mock.timers.reset());
  const { asked, pass } = server([new ApiProblem(503, "stops", ""), new ApiProblem(0, "unreachable", ""), "tiles"]);
  await settled();
  assert.equal(asked.count, 1);
  await pass(999);
  assert.equal(asked.count, 1);
  await pass(1);
  assert.equal(asked.count, 2);
  await pass(1999);
  assert.deepEqual(asked, { count: 2, found: [] });
  await pass(1);
  await pass(100_000);
  assert.deepEqual(asked, { count: 3, found: ["tiles"] });
});

test("a denial ends the attempts: a sign-in begins them again", async (t) => {
  t.after(() => mock.timers.reset());
  const { asked, pass } = server([new ApiProblem(401, "unauthorized", ""), "tiles"]);
  await settled();
  await pass(100_000);
  assert.deepEqual(asked, { count: 1, found: [] });
});

test("attempts that are not wanted any more end, and their answer counts no more", async (t) => {
  t.after(() => mock.timers.reset());
  const waiting = server([new ApiProblem(503, "stops", ""), "tiles"]);
  await settled();
  waiting.end();
  await waiting.pass(100_000);
  assert.equal(waiting.asked.count, 1);
  mock.timers.reset();
  const running = server(["tiles"]);
  running.end();
  await settled();
  assert.deepEqual(running.asked, { count: 1, found: [] });
});
