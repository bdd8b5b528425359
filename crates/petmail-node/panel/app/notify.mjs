// Desktop notifications, for those who want them. They name the person; the text is shown only if that was chosen, too.

import { go, route } from "./router.mjs";
import { listen } from "./store.mjs";
import { t } from "./strings.mjs";
import { safeName, safeText, textOf } from "./text.mjs";
import { stored } from "./theme.mjs";

/** Whether a notification says nothing, names who wrote, or shows the text as well. */
export const notifies = stored("petmail-notify", /** @type {"off"|"name"|"text"} */ ("off"), ["off", "name", "text"]);

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
  listen((event) => {
    if (event.event !== "message" || event.direction !== "in" || told.has(event.id)) return;
    told.add(event.id);
    const { page, id } = route.value;
    const isRead = !document.hidden && page === "rooms" && Number(id) === event.cid;
    const isOld = new Date(event.when_received).getTime() < started;
    if (notifies.value === "off" || isRead || isOld || Notification.permission !== "granted") return;
    const text = notifies.value === "text" ? textOf(event) : null;
    const notification = new Notification(safeName(event.petname), {
      body: text === null ? t("newMessage") : safeText(text).slice(0, 200),
      tag: `petmail-${event.cid}`,
    });
    notification.onclick = () => {
      focus();
      go("rooms", event.cid);
    };
  });
}
