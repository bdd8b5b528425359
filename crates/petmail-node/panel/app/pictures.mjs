// Pictures of people: each is fetched once, when somebody is to be seen.

import { computed, signal } from "../ui/view.mjs";
import { download } from "./api.mjs";
import { contacts } from "./store.mjs";

/** The name of each contact's picture. */
const named = computed(() => new Map(contacts.value?.map((contact) => [contact.cid, contact.picture])));

/** Addresses of pictures by name; none yet while one is fetched. */
const fetched = signal(/** @type {Map<string, string>} */ (new Map()));

/** What is being fetched, or could not be. @type {Set<string>} */
const asked = new Set();

/**
 * The address of a picture, once it is there.
 * @param {string|null|undefined} name @param {number} [cid] whose it is; none is one's own
 */
export function pictureAt(name, cid) {
  if (!name) return undefined;
  if (!asked.has(name)) {
    asked.add(name);
    download("picture", cid === undefined ? {} : { cid }).then((blob) => {
      fetched.value = new Map(fetched.value).set(name, URL.createObjectURL(blob));
    }, () => asked.delete(name));
  }
  return fetched.value.get(name);
}

/** The address of a contact's picture, once it is there. @param {number} cid */
export const pictureOf = (cid) => pictureAt(named.value.get(cid), cid);
