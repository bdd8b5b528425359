// Light or dark. The choice is this browser's, so it is kept here and not in the node.

import { effect, signal } from "../ui/view.mjs";

/** @typedef {"system"|"light"|"dark"} Theme */

export const theme = stored("petmail-theme", /** @type {Theme} */ ("system"), ["system", "light", "dark"]);

/** Has the page look as it was chosen, now and later. */
export function applyTheme() {
  effect(() => {
    if (theme.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
  });
}

/**
 * A choice that this browser remembers.
 * @template {string} T
 * @param {string} key @param {T} usual @param {readonly T[]} choices
 */
export function stored(key, usual, choices) {
  const kept = /** @type {T|null} */ (localStorage.getItem(key));
  const choice = signal(kept && choices.includes(kept) ? kept : usual);
  effect(() => localStorage.setItem(key, choice.value));
  // Another tab chooses for all of them.
  globalThis.addEventListener?.("storage", ({ key: changed, newValue }) => {
    if (changed === key && choices.includes(/** @type {T} */ (newValue))) choice.value = /** @type {T} */ (newValue);
  });
  return choice;
}
