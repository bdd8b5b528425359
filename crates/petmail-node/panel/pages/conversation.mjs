// One conversation: its history, of which only what is near the eye is in the page, and the text that is being written.

import { call } from "../app/api.mjs";
import { connection } from "../app/events.mjs";
import { blocks, readAgain, readHistory, readNewer, readOlder, withFile, withMessage, withNewer, withOlder, withRead } from "../app/history.mjs";
import { go, link } from "../app/router.mjs";
import { contacts, listen, report, rooms } from "../app/store.mjs";
import { reasonOf, said, t } from "../app/strings.mjs";
import { linked, safeText, textOf } from "../app/text.mjs";
import { Avatar, Name, clock, day, fullTime, isSameDay } from "../ui/base.mjs";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../ui/view.mjs";
import { chosen } from "./chosen.mjs";
import { Composer } from "./composer.mjs";
import { FileCard } from "./files.mjs";
import { Uploads } from "./transfers.mjs";

/** @typedef {import("../types").Message} Message */
/** @typedef {import("../app/history.mjs").History} History */

/** How near the end counts as at the end, in pixels. */
const NEAR = 60;

/** How often it is looked why messages wait. */
const LOOK_MS = 3_000;

/** @param {{cid: number, at: number}} props */
export default function Conversation({ cid, at }) {
  const [history, setHistory] = useState(/** @type {History|null} */ (null));
  const [answered, setAnswered] = useState(/** @type {Message|null} */ (null));
  const [files, setFiles] = useState(/** @type {import("./chosen.mjs").Chosen[]} */ ([]));
  const drop = useDrop((/** @type {DataTransfer} */ data) => chosen(data, data.files).then((more) => setFiles((old) => [...old, ...more]), report));
  const current = useRef(history);
  current.current = history;
  const toEnd = useRef(() => {});
  const contact = contacts.value?.find((one) => one.cid === cid);
  const room = rooms.value?.find((one) => one.cid === cid);
  const name = contact?.petname ?? room?.petname ?? "";

  useEffect(() => {
    let isShown = true;
    const take = (/** @type {History} */ read) => void (isShown && setHistory(current.current = read));
    const read = () => {
      const loaded = current.current;
      const read = loaded ? readAgain(cid, loaded).catch(() => readHistory(cid, at)) : readHistory(cid, at);
      return read.then(take, report);
    };
    // First the changes, then the list: none is missed.
    const forget = listen((event) => {
      if (event.event === "lagged") void read();
      else if (event.cid !== cid) return;
      else if (event.event === "message") setHistory((old) => old && withMessage(old, event));
      else if (event.event === "file") setHistory((old) => old && withFile(old, event));
      else if (event.event === "read") setHistory((old) => old && withRead(old, event));
    });
    void read();
    return () => {
      isShown = false;
      forget();
    };
  }, [cid, at]);

  // Why a message waits may change without a change of the message itself.
  const waits = history?.messages.some((message) => message.state === "waiting") ?? false;
  useEffect(() => {
    if (!waits) return undefined;
    const look = async () => {
      const recent = await readHistory(cid);
      setHistory((old) => old && recent.messages.reduce((changed, message) => (
        changed.messages.some((known) => known.id === message.id) ? withMessage(changed, message) : changed
      ), old));
    };
    // While the node is away the banner says so.
    const timer = setInterval(() => void look().catch(() => {}), LOOK_MS);
    return () => clearInterval(timer);
  }, [cid, waits]);

  if (contacts.value && !contact) return html`<section class="detail empty"><p>${t("noSuchContact")}</p></section>`;
  return html`<section class="detail conversation ${drop.isOver ? "drop" : ""}" data-testid="conversation" data-drop=${t("dropHere")} aria-label=${t("conversationWith", { name })} ...${drop.handlers}>
    <header class="bar">
      <a class="back" href=${link("rooms")} aria-label=${t("back")}>‹</a>
      <a class="who" href=${link("people", cid)}><${Avatar} name=${name} cid=${cid} /><h1><${Name} name=${name} /></h1></a>
      ${contact && html`<span class="hint state">${t(/** @type {any} */ (`contact.${contact.state}`))}</span>`}
    </header>
    ${contact?.reason && html`<p class="note">${reasonOf(contact, name)} <a href=${link("people", cid)}>${t("details")}</a></p>`}
    ${history
      ? html`<${Messages} cid=${cid} at=${at} history=${history} setHistory=${setHistory} answer=${setAnswered} unread=${room?.unread ?? 0} end=${toEnd} />`
      : html`<p class="loading scroll" role="status">${t("loading")}</p>`}
    <${Uploads} cid=${cid} />
    ${contact && room && html`<${Composer} key=${cid} contact=${contact} draft=${room.draft} answered=${answered} setAnswered=${setAnswered} files=${files} setFiles=${setFiles} sent=${() => toEnd.current()} />`}
  </section>`;
}

/** Takes files that are dropped on an element. @param {(data: DataTransfer) => void} take */
function useDrop(take) {
  const [isOver, setOver] = useState(false);
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  return {
    isOver,
    handlers: {
      onDragOver: (/** @type {DragEvent} */ event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setOver(true);
      },
      onDragLeave: (/** @type {DragEvent} */ event) => {
        const { currentTarget: element, relatedTarget: to } = event;
        if (!(element instanceof Node && to instanceof Node && element.contains(to))) setOver(false);
      },
      onDrop: (/** @type {DragEvent} */ event) => {
        if (!hasFiles(event) || !event.dataTransfer) return;
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer);
      },
    },
  };
}

/** @param {{cid: number, at: number, history: History, setHistory: (change: (old: History|null) => History|null) => void, answer: (message: Message) => void, unread: number, end: {current: () => void}}} props */
function Messages({ cid, at, history, setHistory, answer, unread, end }) {
  const box = useRef(/** @type {HTMLDivElement|null} */ (null));
  const place = useRef({ isAtEnd: !at, height: 0, top: 0, first: 0, loads: false });
  const [isAway, setAway] = useState(false);
  const { messages } = history;
  const last = messages[messages.length - 1];
  const now = place.current;

  // What stood under the eye stays there when older messages come in above; at the end, the end stays in sight.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    if (now.isAtEnd) element.scrollTop = element.scrollHeight;
    else if (now.first && messages[0] && now.first !== messages[0].id) element.scrollTop = now.top + element.scrollHeight - now.height;
    now.first = messages[0]?.id ?? 0;
    now.height = element.scrollHeight;
    now.top = element.scrollTop;
  }, [messages]);

  useLayoutEffect(() => {
    if (at) box.current?.querySelector(`[data-id="${at}"]`)?.scrollIntoView({ block: "center" });
  }, []);

  // Blocks grow when they come into sight, windows change their size: the end stays in sight.
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => {
      if (now.isAtEnd) element.scrollTop = element.scrollHeight;
      now.height = element.scrollHeight;
    });
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    return () => observer.disconnect();
  }, []);

  useMarkRead(cid, messages, !isAway && !history.hasNewer);

  const load = async (/** @type {"older"|"newer"} */ which) => {
    if (now.loads) return;
    now.loads = true;
    try {
      const more = await (which === "older" ? readOlder : readNewer)(cid, history);
      setHistory((old) => old && (which === "older" ? withOlder : withNewer)(old, more));
    } catch (error) {
      report(error);
    }
    now.loads = false;
  };
  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    const below = element.scrollHeight - element.scrollTop - element.clientHeight;
    now.isAtEnd = below < NEAR && !history.hasNewer;
    now.top = element.scrollTop;
    now.height = element.scrollHeight;
    setAway(below >= NEAR);
    if (element.scrollTop < 600 && history.hasOlder) void load("older");
    if (below < 600 && history.hasNewer) void load("newer");
  };
  const toEnd = () => {
    if (history.hasNewer) return go("rooms", cid);
    now.isAtEnd = true;
    setAway(false);
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  };
  end.current = toEnd;
  // What is loaded may be shorter than the window: nobody can scroll then.
  useEffect(onScroll, [messages]);
  const cut = useMemo(() => blocks(messages), [messages]);
  return html`<div class="scroll messages" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-label=${t("messages")} aria-live="off">
      <div class="sheet">
        ${!messages.length && html`<p class="hint pad">${t("nothingWrittenYet")}</p>`}
        ${history.hasOlder && html`<p class="hint pad">${t("loadingOlder")}</p>`}
        ${cut.map((block, index) => html`<${Block} key=${block.key} root=${box} messages=${block.messages} before=${cut[index - 1]?.messages.at(-1) ?? null} at=${at} answer=${answer} isLast=${index >= cut.length - 2} />`)}
      </div>
    </div>
    <div class="sr" role="status" aria-live="polite">${last?.direction === "in" && !at && `${safeText(last.petname)}: ${safeText(said(last)).slice(0, 300)}`}</div>
    ${(isAway || history.hasNewer) && html`<button type="button" class="to-end" data-testid="to-end" onClick=${toEnd}>${unread ? t("unreadCount", { count: unread }) : t("toEnd")} ↓</button>`}`;
}

/** Tells the node what was read: what stands at the end, while the page is looked at. @param {number} cid @param {Message[]} messages @param {boolean} isSeen */
function useMarkRead(cid, messages, isSeen) {
  const [isVisible, setVisible] = useState(!document.hidden && document.hasFocus());
  useEffect(() => {
    const look = () => setVisible(!document.hidden && document.hasFocus());
    const kinds = ["visibilitychange", "focus", "blur"];
    for (const kind of kinds) addEventListener(kind, look);
    return () => {
      for (const kind of kinds) removeEventListener(kind, look);
    };
  }, []);
  const newest = messages.findLast((message) => message.direction === "in");
  const id = newest?.state === "received" ? newest.id : 0;
  const isConnected = connection.value === "connected";
  useEffect(() => {
    if (id && isSeen && isVisible && isConnected) call("mark-read", { id }).catch(report);
  }, [id, isSeen, isVisible, isConnected]);
}

/** @typedef {{root: {current: HTMLElement|null}, messages: Message[], before: Message|null, at: number, answer: (message: Message) => void, isLast: boolean}} BlockProps */

/** Some messages in a row; an empty box of their height while they are far from what is seen. @param {BlockProps} props */
function Block({ root, messages, before, at, answer, isLast }) {
  const element = useRef(/** @type {HTMLDivElement|null} */ (null));
  const height = useRef(0);
  const [isNear, setNear] = useState(true);
  useEffect(() => {
    const block = element.current;
    if (!block) return undefined;
    const observer = new IntersectionObserver(([entry]) => {
      if (!entry) return;
      if (!entry.isIntersecting) height.current = entry.boundingClientRect.height || height.current;
      setNear(entry.isIntersecting);
    }, { root: root.current, rootMargin: "1500px 0px" });
    observer.observe(block);
    return () => observer.disconnect();
  }, []);
  if (!isNear && !isLast && height.current) {
    return html`<div ref=${element} style=${{ height: `${height.current}px` }}></div>`;
  }
  return html`<div ref=${element}>
    ${messages.map((message, index) => html`<${Entry} key=${message.id} message=${message} before=${messages[index - 1] ?? before} isAt=${message.id === at} answer=${answer} />`)}
  </div>`;
}

/** @param {{message: Message, before: Message|null, isAt: boolean, answer: (message: Message) => void}} props */
function Entry({ message, before, isAt, answer }) {
  const text = textOf(message);
  const own = message.direction === "out";
  const isNewDay = !before || !isSameDay(before.when_received, message.when_received);
  const follows = !isNewDay && before?.direction === message.direction;
  return html`
    ${isNewDay && html`<h2 class="day"><span>${day(message.when_received)}</span></h2>`}
    <article class="message ${own ? "own" : "theirs"} ${follows ? "follows" : ""} ${isAt ? "at" : ""}" data-testid="message" data-id=${message.id} data-state=${message.state}
      aria-label=${own ? t("youWrote") : t("theyWrote", { name: safeText(message.petname) })}>
      <div class="bubble">
        ${message.reply_to && html`<${Quote} cid=${message.cid} reply=${message.reply_to} />`}
        ${message.file && html`<${FileCard} message=${message} />`}
        ${(text !== null || !message.file) && html`<div class="text" dir="auto">${text === null ? html`<em>${t("notUnderstoodLong")}</em>` : html`<${Text} text=${text} />`}</div>`}
        <footer>
          <time datetime=${message.when_received} title=${fullTime(message.when_received)}>${clock(message.when_received)}</time>
          ${own && html`<${State} message=${message} />`}
        </footer>
      </div>
      <button type="button" class="icon reply" aria-label=${t("reply")} title=${t("reply")} onClick=${() => answer(message)}>↩</button>
    </article>`;
}

/** A long text is folded: whoever wants it unfolds it. */
const FOLD = 3_000;

/** @param {{text: string}} props */
function Text({ text }) {
  const [isWhole, setWhole] = useState(text.length <= FOLD);
  const shown = useMemo(() => linked(safeText(isWhole ? text : text.slice(0, FOLD))), [text, isWhole]);
  return html`${shown.map((part) => (part.href
    ? html`<a href=${part.href} target="_blank" rel="noopener noreferrer nofollow">${part.text}</a>`
    : part.text))}${!isWhole && html`… <button type="button" class="link" onClick=${() => setWhole(true)}>${t("showAll")}</button>`}`;
}

const SIGNS = { waiting: "○", sent: "✓", delivered: "✓✓", read: "✓✓", failed: "!", received: "" };

/** Where an own message is, in words, and what can be done. @param {{message: Message}} props */
function State({ message }) {
  const [busy, setBusy] = useState(false);
  const act = async (/** @type {string} */ command) => {
    setBusy(true);
    await call(command, { id: message.id }).catch(report);
    setBusy(false);
  };
  const { state } = message;
  return html`<span class="state ${state}"><span aria-hidden="true">${SIGNS[state]}</span> ${t(/** @type {any} */ (`state.${state}`))}</span>
    ${message.reason && html`<span class="reason">${reasonOf(message, message.petname)}</span>`}
    ${(state === "failed" || state === "waiting") && html`<button type="button" class="link" data-testid="retry" disabled=${busy} onClick=${() => act("retry")}>${t(state === "failed" ? "sendAgain" : "tryNow")}</button>`}
    ${state === "waiting" && html`<button type="button" class="link" data-testid="cancel" disabled=${busy} onClick=${() => act("cancel")}>${t("cancelMessage")}</button>`}`;
}

/** Messages that were answered: a block that comes back into sight has its height at once. @type {Map<string, Message>} */
const quoted = new Map();
const MOST_QUOTED = 1_000;

/** The message that another one answers. @param {{cid: number, reply: import("../types").Reply}} props */
function Quote({ cid, reply }) {
  const { direction, epoch, seqnum } = reply;
  const key = [cid, direction, epoch, seqnum].join();
  const [message, setMessage] = useState(/** @type {Message|null|undefined} */ (quoted.get(key)));
  useEffect(() => {
    if (message) return;
    call("find-message", { cid, direction, epoch, seqnum }).then((found) => {
      if (quoted.size >= MOST_QUOTED) quoted.clear();
      quoted.set(key, found);
      setMessage(found);
    }, () => setMessage(null));
  }, []);
  if (message === undefined) return html`<blockquote class="quote">…</blockquote>`;
  if (message === null) return html`<blockquote class="quote"><em>${t("answeredGone")}</em></blockquote>`;
  const text = safeText(said(message)).slice(0, 160);
  return html`<blockquote class="quote"><a href=${link("rooms", cid, message.id)} data-testid="quote">
    <strong>${message.direction === "out" ? t("you") : html`<${Name} name=${message.petname} />`}</strong> <bdi>${text}</bdi>
  </a></blockquote>`;
}
