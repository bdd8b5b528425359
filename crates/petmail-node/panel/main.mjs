// The control panel: opens its session, follows the node, shows the page that the address names.

import { openSession, session } from "./app/api.mjs";
import { connection } from "./app/events.mjs";
import { watchMessages } from "./app/notify.mjs";
import { go, link, route } from "./app/router.mjs";
import { start, status, trouble, unread } from "./app/store.mjs";
import { language, t } from "./app/strings.mjs";
import { applyTheme } from "./app/theme.mjs";
import { Rooms } from "./pages/rooms.mjs";
import { Later, Trouble } from "./ui/base.mjs";
import { effect, html, render } from "./ui/view.mjs";

/** The pages that are not there from the beginning. */
const PAGES = {
  people: () => import("./pages/people.mjs"),
  mailboxes: () => import("./pages/mailboxes.mjs"),
  health: () => import("./pages/health.mjs"),
  settings: () => import("./pages/settings.mjs"),
};

const NAVIGATION = /** @type {const} */ ([
  ["rooms", "M4 5h16v11H9l-5 4z"],
  ["people", "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zm-8 8c0-4 4-6 8-6s8 2 8 6z"],
  ["mailboxes", "M3 6h18v12H3zm0 1l9 7 9-7"],
  ["health", "M3 12h4l3-7 4 14 3-7h4"],
  ["settings", "M4 7h10m4 0h2M4 17h2m4 0h10M16 4.5v5M8 14.5v5"],
]);

function App() {
  if (session.value === "expired") return html`<${Expired} />`;
  if (session.value === "locked") return html`<${Later} key="locked" load=${() => import("./pages/locked.mjs")} />`;
  const { page } = route.value;
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <${Navigation} page=${page} />
    <div class="stage">
      <${Banner} />
      <main id="main" tabindex="-1">
        ${page in PAGES ? html`<${Later} key=${page} load=${/** @type {any} */ (PAGES)[page]} />` : html`<${Rooms} />`}
      </main>
    </div>`;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** @param {{page: string}} props */
function Navigation({ page }) {
  const problems = status.value?.problems.length ?? 0;
  /** @param {string} name */
  const badge = (name) => {
    if (name === "rooms" && unread.value) return html`<span class="badge" aria-label=${t("unreadCount", { count: unread.value })}>${unread.value > 99 ? "99+" : unread.value}</span>`;
    if (name === "health" && problems) return html`<span class="badge warn" aria-label=${t("problemCount", { count: problems })}>${problems}</span>`;
    return null;
  };
  return html`<nav aria-label=${t("navigation")}>
    ${NAVIGATION.map(([name, path]) => html`<a href=${link(name)} data-testid="nav-${name}" aria-current=${page === name ? "page" : undefined}>
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${path} /></svg><span>${t(/** @type {any} */ (`nav.${name}`))}</span>${badge(name)}
    </a>`)}
  </nav>`;
}

/** Says how the page stands to its node, and what went wrong that nobody waits for. */
function Banner() {
  const lost = connection.value === "lost";
  return html`<div role="status" aria-live="polite">
    ${lost && html`<p class="banner" data-testid="banner">${t("reconnecting")}</p>`}
  </div>
  ${trouble.value && html`<div class="banner bad"><${Trouble} problem=${trouble.value} />
    <button type="button" class="icon" aria-label=${t("close")} onClick=${() => (trouble.value = null)}>×</button></div>`}`;
}

function Expired() {
  return html`<main class="alone" data-testid="expired">
    <h1>${t("expired")}</h1>
    <p>${t("expiredWhy")}</p>
    <p>${t("expiredHow")}</p>
    <p><code>petmail-node open</code></p>
  </main>`;
}

effect(() => {
  document.title = unread.value ? `(${unread.value}) Petmail` : "Petmail";
});
effect(() => {
  document.documentElement.lang = language.value;
});
// An address of the panel that is put into an open page leads to the same page: it begins anew.
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#open=")) location.reload();
});
applyTheme();
await openSession();
if (session.value === "open") {
  if (!location.hash) go("rooms");
  start();
  watchMessages();
}
const root = document.getElementById("app");
if (root) render(html`<${App} />`, root);
