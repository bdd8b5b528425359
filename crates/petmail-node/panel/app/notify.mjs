// Desktop notifications, for those who want them. They name the person; the text is shown only if that was chosen, too.

import { go, route } from "./router.mjs";
import { listen } from "./store.mjs";
import { t } from "./strings.mjs";
import { safeName, safeText, textOf } from "./text.mjs";
import { stored } from "./theme.mjs";

/** Whether a notification says nothing, names who wrote, or shows the text as well. */
export const notifies = stored("petmail-notify", /** @type {"off"|"name"|"text"} */ ("off"), ["off", "name", "text"]);

/** How long it waits whether another tab shows the message, in milliseconds. */
const PATIENCE_MS = 800;

/** Asks the person for the permission, and remembers the choice if it is given. @param {"off"|"name"|"text"} choice */
export async function chooseNotifications(choice) {
  if (choice !== "off" && (await Notification.requestPermission()) !== "granted") return false;
  notifies.value = choice;
  return true;
}

/** Notifies of what comes in from now on, except in the conversation that is being read. */
export function watchMessages() {
  const started = Date.now();
  /** @type {Set<number>} */
  const told = new Set();
  /** @type {Map<number, number>} */
  const timers = new Map();
  listen((event) => {
    // It is being read, here or in another tab.
    if (event.event === "read" && event.direction === "in") clearTimeout(timers.get(event.cid));
    if (event.event !== "message" || event.direction !== "in" || told.has(event.id)) return;
    told.add(event.id);
    const { page, id } = route.value;
    const isRead = !document.hidden && page === "rooms" && Number(id) === event.cid;
    const isOld = new Date(event.when_received).getTime() < started;
    if (notifies.value === "off" || isRead || isOld || Notification.permission !== "granted") return;
    clearTimeout(timers.get(event.cid));
    timers.set(event.cid, setTimeout(() => show(event), PATIENCE_MS));
  });
}

/** @param {import("../types").Message} message */
function show(message) {
  const text = notifies.value === "text" ? textOf(message) : null;
  // Tabs that show the same one replace each other's by its tag.
  const notification = new Notification(safeName(message.petname), {
    body: text === null ? t("newMessage") : safeText(text).slice(0, 200),
    tag: `petmail-${message.cid}`,
  });
  notification.onclick = () => {
    focus();
    go("rooms", message.cid);
  };
}
