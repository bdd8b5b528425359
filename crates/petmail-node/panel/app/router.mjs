// Where the person is: `#/PAGE/ID`. The address holds nothing secret.

import { computed, signal } from "../ui/view.mjs";

const hash = signal(location.hash);
addEventListener("hashchange", () => (hash.value = location.hash));

/** The page and what it is about, as `["rooms", "3"]`. */
export const route = computed(() => {
  const parts = hash.value.replace(/^#\/?/, "").split("/");
  return { page: parts[0] || "rooms", id: parts[1] ?? "", part: parts[2] ?? "" };
});

/** @param {...(string|number)} parts */
export const link = (...parts) => `#/${parts.join("/")}`;

/** @param {...(string|number)} parts */
export function go(...parts) {
  location.hash = link(...parts);
}
