// The pictures that contacts have sent of themselves, read once each.

import { call } from "../app/api.mjs";
import { contacts } from "../app/store.mjs";
import { signal } from "./view.mjs";

/** @type {Map<string, ReturnType<typeof signal<string|null>>>} */
const known = new Map();

/** Returns a contact's picture as an address of data, once it is there. @param {number} cid @returns {string|null} */
export function pictureOf(cid) {
  const hash = contacts.value?.find((contact) => contact.cid === cid)?.picture;
  if (!hash) return null;
  const key = `${cid}/${hash}`;
  const read = known.get(key);
  if (read) return read.value;
  const picture = signal(/** @type {string|null} */ (null));
  known.set(key, picture);
  call("contact/picture", { cid }).then(
    (answer) => (picture.value = answer.picture),
    // A person without a picture has a letter.
    () => known.delete(key),
  );
  return picture.value;
}
