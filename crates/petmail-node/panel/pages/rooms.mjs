// The list of conversations and, beside it, the one that is open.

import { call } from "../app/api.mjs";
import { go, link, route } from "../app/router.mjs";
import { contacts, mailboxes, report, rooms, status } from "../app/store.mjs";
import { said, t } from "../app/strings.mjs";
import { safeText } from "../app/text.mjs";
import { Avatar, Later, Name, fetchLater, shortTime } from "../ui/base.mjs";
import { html, useEffect, useRef, useState } from "../ui/view.mjs";

/** @typedef {import("../types").Room} Room */
/** @typedef {import("../types").Message} Message */

const conversation = () => import("./conversation.mjs");

/** How long a search waits for the next letter. */
const SEARCH_PAUSE_MS = 200;

export function Rooms() {
  const cid = Number(route.value.id) || 0;
  const at = Number(route.value.part) || 0;
  const isFresh = !cid && rooms.value?.length === 0;
  useEffect(() => {
    // Once the list is there, whoever chooses a conversation need not wait for its code.
    if (rooms.value?.length) void fetchLater(conversation).catch(() => {});
  }, [!rooms.value?.length]);
  return html`<div class="split ${cid ? "has-detail" : ""} ${isFresh ? "fresh" : ""}">
    <${List} cid=${cid} />
    ${cid
      ? html`<${Later} key="${cid}/${at}" load=${conversation} cid=${cid} at=${at} />`
      : html`<section class="detail empty"><${Welcome} /></section>`}
  </div>`;
}

/** @param {{cid: number}} props */
function List({ cid }) {
  const [wanted, setWanted] = useState("");
  const search = useRef(/** @type {HTMLInputElement|null} */ (null));
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const onKey = (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k") return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  return html`<section class="list" aria-label=${t("nav.rooms")}>
    <header class="bar">
      <input type="search" ref=${search} value=${wanted} placeholder=${t("search")} aria-label=${t("search")} data-testid="search"
        onInput=${(/** @type {any} */ event) => setWanted(event.target.value)} />
      <a class="button primary" href=${link("people", "add")} data-testid="add-contact" aria-label=${t("addContact")} title=${t("addContact")}>+</a>
    </header>
    ${wanted.trim() ? html`<${Found} wanted=${wanted.trim()} />` : html`<${Entries} rooms=${rooms.value} cid=${cid} />`}
  </section>`;
}

/** @param {{rooms: Room[]|null, cid: number}} props */
function Entries({ rooms, cid }) {
  if (!rooms) return html`<p class="loading" role="status">${t("loading")}</p>`;
  if (!rooms.length) return html`<p class="hint pad">${t("noRooms")}</p>`;
  return html`<ul class="entries" onKeyDown=${arrows}>
    ${rooms.map((room) => html`<li key=${room.cid}><a href=${link("rooms", room.cid)} data-testid="room-${room.cid}" aria-current=${room.cid === cid ? "true" : undefined}>
      <${Avatar} name=${room.petname} cid=${room.cid} />
      <span class="lines">
        <span class="line"><${Name} name=${room.petname} class=${room.unread ? "strong" : ""} />${room.last && html`<time datetime=${room.last.when_received}>${shortTime(room.last.when_received)}</time>`}</span>
        <span class="line"><bdi class="last">${lastLine(room)}</bdi>${room.unread > 0 && html`<span class="badge" data-testid="unread" aria-label=${t("unreadCount", { count: room.unread })}>${room.unread}</span>`}</span>
      </span>
    </a></li>`)}
  </ul>`;
}

/** Moves the focus in a list by arrow keys. @param {KeyboardEvent} event */
function arrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const links = [.../** @type {HTMLElement} */ (event.currentTarget).querySelectorAll("a")];
  const next = links[links.indexOf(/** @type {any} */ (document.activeElement)) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}

/** @param {Room} room */
function lastLine(room) {
  if (room.draft) return html`<em>${t("draft")}</em> ${excerpt(room.draft)}`;
  if (!room.last) return t(room.state === "pending" ? "pendingContact" : "nothingWritten");
  const line = (room.last.direction === "out" ? `${t("you")}: ` : "") + excerpt(said(room.last));
  return room.last.state === "failed" ? html`<strong class="bad">${t("state.failed")}</strong> ${line}` : line;
}

/** @param {string} text */
const excerpt = (text) => safeText(text).slice(0, 120).replace(/\s+/g, " ");

/** What a search finds: people by name, messages by text. @param {{wanted: string}} props */
function Found({ wanted }) {
  const [messages, setMessages] = useState(/** @type {Message[]|null} */ (null));
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(() => {
      call("search", { text: wanted.slice(0, 256) }).then((found) => isCurrent && setMessages(found.messages), report);
    }, SEARCH_PAUSE_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [wanted]);
  const named = (rooms.value ?? []).filter((room) => room.petname.toLowerCase().includes(wanted.toLowerCase()));
  return html`<div class="scroll" role="region" aria-label=${t("found")}>
    ${named.length > 0 && html`<h2 class="pad">${t("nav.people")}</h2><${Entries} rooms=${named} cid=${0} />`}
    <h2 class="pad" role="status">${messages === null ? t("searching") : t("foundCount", { count: messages.length })}</h2>
    <ul class="entries" onKeyDown=${arrows}>
      ${messages?.map((message) => html`<li key=${message.id}><a href=${link("rooms", message.cid, message.id)} data-testid="hit">
        <span class="lines">
          <span class="line"><${Name} name=${message.petname} /><time datetime=${message.when_received}>${shortTime(message.when_received)}</time></span>
          <span class="line"><bdi class="last">${hit(said(message), wanted)}</bdi></span>
        </span>
      </a></li>`)}
    </ul>
  </div>`;
}

/** The part of a text around what was searched for. @param {string} text @param {string} wanted */
function hit(text, wanted) {
  const safe = safeText(text).replace(/\s+/g, " ");
  const at = safe.toLowerCase().indexOf(wanted.toLowerCase());
  if (at < 0) return safe.slice(0, 120);
  const start = Math.max(0, at - 30);
  return html`${start > 0 && "…"}${safe.slice(start, at)}<mark>${safe.slice(at, at + wanted.length)}</mark>${safe.slice(at + wanted.length, at + 120)}`;
}

/** What to do first, as long as there is something to do. */
function Welcome() {
  if (!status.value || !mailboxes.value || !contacts.value) return null;
  const steps = [
    [Boolean(status.value.display_name), t("step.name"), link("settings")],
    [mailboxes.value.some((mailbox) => mailbox.redeemed && !mailbox.leaving && mailbox.quota_bytes > 0), t("step.mailbox"), link("mailboxes")],
    [contacts.value.length > 0, t("step.contact"), link("people", "add")],
  ];
  if (steps.every(([done]) => done)) return html`<p class="hint">${t("chooseRoom")}</p>`;
  return html`<div class="welcome" data-testid="welcome">
    <h1>${t("welcome")}</h1><p>${t("welcomeText")}</p>
    <ol>${steps.map(([done, text, href]) => html`<li class=${done ? "done" : ""}>${done ? html`<span>✓ ${text}</span>` : html`<a href=${href}>${text}</a>`}</li>`)}</ol>
    <p class="hint">${t("step.restore")} <button type="button" class="link" onClick=${() => go("health")}>${t("restoreHow")}</button></p>
  </div>`;
}
