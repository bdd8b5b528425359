// What the node has said: lists that every page shows, kept up to date by the stream of changes.

import { batch, computed, signal } from "../ui/view.mjs";
import { call, Problem } from "./api.mjs";
import { connection, follow } from "./events.mjs";

/** @typedef {import("../types").Room} Room */
/** @typedef {import("../types").Message} Message */
/** @typedef {import("../types").Contact} Contact */
/** @typedef {import("../types").Invitation} Invitation */
/** @typedef {import("../types").Mailbox} Mailbox */
/** @typedef {import("../types").Status} Status */

export const rooms = signal(/** @type {Room[]|null} */ (null));
export const contacts = signal(/** @type {Contact[]|null} */ (null));
export const invitations = signal(/** @type {Invitation[]|null} */ (null));
export const mailboxes = signal(/** @type {Mailbox[]|null} */ (null));
export const status = signal(/** @type {Status|null} */ (null));
/** What the last command that nobody waits for ran into. */
export const trouble = signal(/** @type {Problem|null} */ (null));

/** The codes of a node that cannot be asked now; the page says so elsewhere. */
const ABSENT = new Set(["unreachable", "locked", "busy"]);

/** How many messages are not read. */
export const unread = computed(() => (rooms.value ?? []).reduce((sum, room) => sum + room.unread, 0));

/** @type {Set<(event: any) => void>} */
const listeners = new Set();

/**
 * Has `listener` told of every change until the function that this returns is called.
 * @param {(event: any) => void} listener
 */
export function listen(listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** @template T @param {string} command @param {string} field @param {{value: T}} target */
const lister = (command, field, target) => latest(async () => {
  const answer = await call(command);
  target.value = field ? answer[field] : answer;
});

export const listRooms = lister("rooms", "rooms", rooms);
export const listContacts = lister("addressbook", "contacts", contacts);
export const listInvitations = lister("invitations", "invitations", invitations);
export const listMailboxes = lister("mailboxes", "mailboxes", mailboxes);
export const askStatus = lister("status", "", status);

/** Lists everything anew. */
export function listAll() {
  for (const list of [listRooms, listContacts, listInvitations, listMailboxes, askStatus]) list();
}

/** Begins to follow the node. */
export function start() {
  listAll();
  follow((event) => {
    batch(() => take(event));
    for (const listener of listeners) listener(event);
  });
}

/**
 * Shows a change at once, and lists anew: a list that was under way when the change came about may be older than it.
 * @param {any} event
 */
function take(event) {
  switch (event.event) {
    case "message":
      noteMessage(event);
      listRooms();
      if (event.direction === "out") askStatus();
      break;
    case "read":
      listRooms();
      break;
    case "draft":
      noteDraft(event.cid, event.text);
      break;
    case "contact":
      contacts.value = replaced(contacts.value, "cid", event);
      listContacts();
      listRooms();
      askStatus();
      break;
    case "contactremoved":
      contacts.value = contacts.value?.filter((contact) => contact.cid !== event.cid) ?? null;
      rooms.value = rooms.value?.filter((room) => room.cid !== event.cid) ?? null;
      askStatus();
      break;
    case "invitation":
      invitations.value = replaced(invitations.value, "id", event);
      listInvitations();
      askStatus();
      break;
    case "invitationremoved":
      invitations.value = invitations.value?.filter((one) => one.id !== event.id) ?? null;
      break;
    case "mailbox":
      mailboxes.value = replaced(mailboxes.value, "id", event);
      listMailboxes();
      askStatus();
      break;
    case "lagged":
      listAll();
      break;
    default:
  }
}

/** Shows a text that is being written. @param {number} cid @param {string} draft */
export function noteDraft(cid, draft) {
  rooms.value = rooms.value?.map((room) => (room.cid === cid ? { ...room, draft } : room)) ?? null;
}

/** Shows a change of a conversation's last message at once; the list that follows counts what is unread. @param {Message} message */
function noteMessage(message) {
  rooms.value = rooms.value?.map((room) => (
    room.cid === message.cid && (room.last?.id ?? -1) <= message.id ? { ...room, last: message } : room
  )) ?? null;
}

/**
 * @template {Record<string, any>} T
 * @param {T[]|null} list @param {string} key @param {T} item
 */
function replaced(list, key, item) {
  if (!list) return null;
  const index = list.findIndex((other) => other[key] === item[key]);
  return index < 0 ? [...list, item] : list.with(index, item);
}

/**
 * Makes of `work` a function that runs it once however often it is called meanwhile, and once more if it was called then.
 * @param {() => Promise<void>} work
 */
function latest(work) {
  let runs = false;
  let again = false;
  return async function run() {
    again = true;
    if (runs) return;
    runs = true;
    while (again) {
      again = false;
      try {
        await work();
      } catch (error) {
        // The banner says that the node is away; the stream's return lists anew.
        if (error instanceof Problem && ABSENT.has(error.code)) break;
        report(error);
      }
    }
    runs = false;
  };
}

/** Shows what nobody waits for. @param {unknown} error */
export function report(error) {
  if (!(error instanceof Problem)) throw error;
  if (ABSENT.has(error.code) && connection.value === "lost") return;
  if (error.code !== "unauthorized") trouble.value = error;
}
