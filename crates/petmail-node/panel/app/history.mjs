// The part of a conversation that is loaded: messages in order, at either end of which there may be more.

import { call } from "./api.mjs";

/** @typedef {import("../types").Message} Message */

/** How many messages are asked for at a time. */
export const PAGE = 100;

/** How many the node gives at most. */
const LARGEST_PAGE = 500;

/**
 * @typedef {object} History
 * @property {Message[]} messages
 * @property {boolean} hasOlder
 * @property {boolean} hasNewer
 */

/** Reads the end, or what is around a message. @param {number} cid @param {number} [at] @returns {Promise<History>} */
export async function readHistory(cid, at) {
  const { messages } = await call("messages", at ? { cid, around: at, limit: PAGE } : { cid, limit: PAGE });
  return { messages, hasOlder: at ? messages.length > 0 : messages.length === PAGE, hasNewer: Boolean(at) };
}

/** Reads more before what is loaded. @param {number} cid @param {History} history @returns {Promise<Message[]>} */
export async function readOlder(cid, history) {
  return (await call("messages", { cid, before: history.messages[0].id, limit: PAGE })).messages;
}

/** Reads more after what is loaded. @param {number} cid @param {History} history @returns {Promise<Message[]>} */
export async function readNewer(cid, history) {
  return (await call("messages", { cid, after: history.messages[history.messages.length - 1].id, limit: PAGE })).messages;
}

/**
 * Reads what is loaded once more, and what has come after it: where somebody reads stays loaded.
 * @param {number} cid @param {History} history @returns {Promise<History>}
 */
export async function readAgain(cid, history) {
  const [first] = history.messages;
  const last = history.messages[history.messages.length - 1];
  if (!first || !last) return readHistory(cid);
  const { direction, epoch, seqnum } = first;
  const messages = [await call("find-message", { cid, direction, epoch, seqnum })];
  for (;;) {
    const page = (await call("messages", { cid, after: messages[messages.length - 1].id, limit: LARGEST_PAGE })).messages;
    messages.push(...page);
    const hasNewer = page.length === LARGEST_PAGE;
    const isEnough = history.hasNewer && messages[messages.length - 1].id >= last.id;
    if (!hasNewer || isEnough) return { ...history, messages, hasNewer };
  }
}

/** @param {History} history @param {Message[]} older @returns {History} */
export function withOlder(history, older) {
  const known = new Set(history.messages.map((message) => message.id));
  const messages = [...older.filter((message) => !known.has(message.id)), ...history.messages];
  return { ...history, messages, hasOlder: older.length === PAGE };
}

/** @param {History} history @param {Message[]} newer @returns {History} */
export function withNewer(history, newer) {
  const known = new Set(history.messages.map((message) => message.id));
  const messages = [...history.messages, ...newer.filter((message) => !known.has(message.id))];
  return { ...history, messages, hasNewer: newer.length === PAGE };
}

/**
 * Takes in a change of a message, or a new one.
 * @param {History} history @param {Message} message @returns {History}
 */
export function withMessage(history, message) {
  const index = history.messages.findIndex((other) => other.id === message.id);
  if (index >= 0) return { ...history, messages: history.messages.with(index, message) };
  // What comes after a gap is shown when the gap is read.
  return history.hasNewer ? history : { ...history, messages: [...history.messages, message] };
}

/**
 * Takes in how far the file of a message is.
 * @param {History} history @param {import("../types").FileRow} row @returns {History}
 */
export function withFile(history, row) {
  const index = history.messages.findIndex((other) => other.id === row.id);
  if (index < 0) return history;
  return { ...history, messages: history.messages.with(index, { ...history.messages[index], file: row }) };
}

/**
 * Takes in that everything up to a number was read.
 * @param {History} history @param {{direction: string, epoch: number, seqnum: number}} read @returns {History}
 */
export function withRead(history, read) {
  const before = read.direction === "in" ? "received" : "delivered";
  const messages = history.messages.map((message) => {
    const isRead = message.direction === read.direction && message.state === before
      && (message.epoch < read.epoch || (message.epoch === read.epoch && message.seqnum <= read.seqnum));
    return isRead ? { ...message, state: /** @type {"read"} */ ("read") } : message;
  });
  return { ...history, messages };
}

/** How many messages a block has. A block that is far from what is seen is an empty box of its height. */
export const BLOCK = 25;

/**
 * Cuts messages into blocks. A message stays in its block while more are loaded at either end, so that heights stay known.
 * @param {Message[]} messages
 * @returns {{key: string, messages: Message[]}[]}
 */
export function blocks(messages) {
  /** @type {{key: string, messages: Message[]}[]} */
  const cut = [];
  for (const message of messages) {
    const last = cut[cut.length - 1];
    const number = Math.floor(message.id / BLOCK);
    const isFull = !last || last.messages.length >= BLOCK || last.key.split(":")[0] !== String(number);
    if (isFull) cut.push({ key: `${number}:${message.id}`, messages: [message] });
    else last.messages.push(message);
  }
  return cut;
}
