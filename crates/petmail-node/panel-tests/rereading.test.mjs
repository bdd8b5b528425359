// A conversation that was away for a while: what is loaded is read again, and nothing is missed or shown twice.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

/** @type {{id: number, direction: string, cid: number, epoch: number, seqnum: number}[]} */
let stored = [];
/** @type {{path: string, body: any}[]} */
let asked = [];

const message = (id, state = "sent") => ({ id, direction: "out", cid: 1, epoch: 0, seqnum: id, state });
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** A node that has `stored`. */
function answer(path, body) {
  if (path.endsWith("/find-message")) return stored.find((one) => one.seqnum === body.seqnum);
  const all = body.after ? stored.filter((one) => one.id > body.after) : stored;
  return { messages: body.after ? all.slice(0, body.limit) : all.slice(-body.limit) };
}

Object.assign(globalThis, {
  sessionStorage: { getItem: () => "token" },
  location: { hash: "" },
  fetch: async (path, { body }) => {
    asked.push({ path, body: JSON.parse(body) });
    return new Response(JSON.stringify(answer(path, JSON.parse(body))));
  },
});
const { readAgain } = await import("../panel/app/history.mjs");

beforeEach(() => {
  stored = [];
  asked = [];
});

test("what was loaded stays loaded, with new states, and what came after it follows", async () => {
  stored = numbers(1, 700).map((id) => message(id, "delivered"));
  const loaded = { messages: numbers(10, 200).map((id) => message(id)), hasOlder: true, hasNewer: false };
  const history = await readAgain(1, loaded);
  assert.deepEqual(history.messages.map(({ id }) => id), numbers(10, 700));
  assert.ok(history.messages.every(({ state }) => state === "delivered"));
  assert.equal(history.hasOlder, true);
  assert.equal(history.hasNewer, false);
});

test("a part in the middle does not grow to the end", async () => {
  stored = numbers(1, 3_000).map((id) => message(id));
  const loaded = { messages: numbers(10, 110).map((id) => message(id)), hasOlder: true, hasNewer: true };
  const history = await readAgain(1, loaded);
  assert.deepEqual(history.messages.map(({ id }) => id), numbers(10, 510));
  assert.equal(history.hasNewer, true);
  assert.equal(asked.length, 2);
});

test("an empty conversation is read from its end", async () => {
  stored = [message(1)];
  const history = await readAgain(1, { messages: [], hasOlder: false, hasNewer: false });
  assert.deepEqual(history.messages.map(({ id }) => id), [1]);
});
