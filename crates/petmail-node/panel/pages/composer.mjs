// The text that is being written: kept in the node while it grows, sent by Enter.

import { call, callLasting } from "../app/api.mjs";
import { connection } from "../app/events.mjs";
import { listen, noteDraft, report } from "../app/store.mjs";
import { said, t } from "../app/strings.mjs";
import { safeText } from "../app/text.mjs";
import { Name, Trouble, useCommand } from "../ui/base.mjs";
import { html, useEffect, useRef, useState } from "../ui/view.mjs";
import { ToSend, chosen, chosenFolder, send as sendChosen } from "./chosen.mjs";

/** @typedef {import("../types").Message} Message */
/** @typedef {import("../types").Contact} Contact */
/** @typedef {import("./chosen.mjs").Chosen} Chosen */

/** How long the text rests before it is kept. */
const REST_MS = 400;

/** The longest text, in bytes of UTF-8. */
const MAX_BYTES = 65_536;

const EMOJI = [..."😀😂🙂😉😍😘😎🤔😐🙄😴😢😭😡😱🥳🤗🙏👍👎👏👋💪🤝❤️💔🔥⭐🎉🎂☕🍕🍺🌞🌧️🐶🐱🐾🌷✅❌❓❗".matchAll(/\p{Extended_Pictographic}\ufe0f?/gu)].map(([sign]) => sign);

/** @param {{contact: Contact, draft: string, answered: Message|null, setAnswered: (message: Message|null) => void, files: Chosen[], setFiles: (change: (old: Chosen[]) => Chosen[]) => void, sent: () => void}} props */
export function Composer({ contact, draft, answered, setAnswered, files, setFiles, sent }) {
  const { cid } = contact;
  const [text, setText] = useState(draft);
  const [shows, setShows] = useState(false);
  const area = useRef(/** @type {HTMLTextAreaElement|null} */ (null));
  const kept = useKeptDraft(cid, text, draft, setText);
  const command = useCommand();
  const isClosed = contact.state === "blocked" || contact.state === "disputed";
  const length = new TextEncoder().encode(text).length;
  const canSend = length <= MAX_BYTES && (text.trim() || files.length > 0) && files.every((one) => !one.problem);
  const chooser = useRef(/** @type {HTMLInputElement|null} */ (null));
  const folderChooser = useRef(/** @type {HTMLInputElement|null} */ (null));
  const add = (/** @type {Chosen[]} */ more) => setFiles((old) => [...old, ...more]);

  useEffect(() => {
    if (answered) area.current?.focus();
  }, [answered]);
  useEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight + 2, 240)}px`;
  }, [text]);
  useEffect(() => {
    // On a screen with a keyboard one writes at once.
    if (matchMedia("(pointer: fine)").matches) area.current?.focus({ preventScroll: true });
  }, []);

  const send = async () => {
    if (command.busy || !canSend) return;
    const isSent = await command.run(async () => {
      if (text.trim()) {
        await call("send-basic", answered ? { cid, text, reply_to: answered.id } : { cid, text });
        setText(kept.without(text));
        setAnswered(null);
      }
      // What is sent is no longer to be sent, should the next one fail.
      for (const one of files) {
        await sendChosen(cid, one);
        setFiles((old) => old.filter((other) => other !== one));
      }
    });
    if (!isSent) return;
    sent();
    area.current?.focus();
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape" && answered) setAnswered(null);
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void send();
  };
  const onPaste = (/** @type {ClipboardEvent} */ event) => {
    const data = event.clipboardData;
    if (!data?.files.length) return;
    event.preventDefault();
    void chosen(data, data.files).then(add, report);
  };
  const insert = (/** @type {string} */ sign) => {
    const element = area.current;
    const [start, end] = element ? [element.selectionStart, element.selectionEnd] : [text.length, text.length];
    setText(text.slice(0, start) + sign + text.slice(end));
    setShows(false);
    requestAnimationFrame(() => {
      element?.focus();
      element?.setSelectionRange(start + sign.length, start + sign.length);
    });
  };

  if (isClosed) return html`<p class="composer closed hint">${t(contact.state === "blocked" ? "blockedCannotWrite" : "disputedCannotWrite")}</p>`;
  return html`<div class="composer">
    ${answered && html`<div class="answering"><span>${t("replyingTo")} <${Name} name=${answered.direction === "out" ? t("you") : answered.petname} />: <bdi>${safeText(said(answered)).slice(0, 100)}</bdi></span>
      <button type="button" class="icon" aria-label=${t("noReply")} onClick=${() => setAnswered(null)}>×</button></div>`}
    <${ToSend} chosen=${files} remove=${(/** @type {Chosen} */ one) => setFiles((old) => old.filter((other) => other !== one))} />
    <${Trouble} problem=${command.problem} />
    ${length > MAX_BYTES && html`<p class="problem" role="alert">${t("tooLong", { count: length - MAX_BYTES })}</p>`}
    ${shows && html`<div class="emoji" role="group" aria-label=${t("emoji")} onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Escape" && (setShows(false), area.current?.focus())}>
      ${EMOJI.map((sign) => html`<button type="button" key=${sign} onClick=${() => insert(sign)}>${sign}</button>`)}</div>`}
    <form onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); void send(); }}>
      <input type="file" multiple hidden ref=${chooser} data-testid="choose-files" onChange=${(/** @type {any} */ event) => { void chosen(null, event.target.files).then(add, report); event.target.value = ""; area.current?.focus(); }} />
      <input type="file" webkitdirectory hidden ref=${folderChooser} data-testid="choose-folder" onChange=${(/** @type {any} */ event) => { add(chosenFolder(event.target.files)); event.target.value = ""; area.current?.focus(); }} />
      <button type="button" class="icon" data-testid="attach" aria-label=${t("attach")} title=${t("attach")} onClick=${() => chooser.current?.click()}>📎</button>
      <button type="button" class="icon" data-testid="attach-folder" aria-label=${t("attachFolder")} title=${t("attachFolder")} onClick=${() => folderChooser.current?.click()}>📁</button>
      <button type="button" class="icon" aria-label=${t("emoji")} aria-expanded=${shows} onClick=${() => setShows(!shows)}>☺</button>
      <textarea ref=${area} rows="1" dir="auto" data-testid="composer" value=${text} placeholder=${t("write")} aria-label=${t("write")}
        onInput=${(/** @type {any} */ event) => setText(event.target.value)} onKeyDown=${onKey} onPaste=${onPaste}></textarea>
      <button type="submit" class="primary" data-testid="send" disabled=${command.busy || !canSend}>${t("send")}</button>
    </form>
    <p class="hint small">${connection.value === "lost" ? t("notSentWhileAway") : contact.can_send ? t("enterSends") : t("waitsForMailbox")}</p>
  </div>`;
}

/**
 * Keeps the text in the node once it rests, and takes over what another tab keeps.
 * @param {number} cid @param {string} text @param {string} draft @param {(text: string) => void} setText
 */
function useKeptDraft(cid, text, draft, setText) {
  const kept = useRef(/** @type {string|null} */ (draft));
  const newest = useRef(text);
  newest.current = text;
  const keep = () => {
    if (kept.current === newest.current) return;
    const text = newest.current;
    kept.current = text;
    noteDraft(cid, text);
    callLasting("draft", { cid, text }).catch((error) => {
      // It is kept once the node is back.
      if (kept.current === text) kept.current = null;
      report(error);
    });
  };
  useEffect(() => {
    const timer = setTimeout(keep, REST_MS);
    return () => clearTimeout(timer);
  }, [text]);
  useEffect(() => {
    const forget = listen((event) => {
      if (event.event === "lagged" && kept.current === null) keep();
      if (event.event !== "draft" || event.cid !== cid || event.text === kept.current) return;
      // Whoever writes here goes on writing; else the other tab's text is shown.
      const isWriting = newest.current !== kept.current;
      kept.current = event.text;
      if (!isWriting) setText(event.text);
    });
    addEventListener("pagehide", keep);
    return () => {
      forget();
      removeEventListener("pagehide", keep);
      keep();
    };
  }, []);
  return {
    /** What was written while a text was being sent stays. @param {string} sent */
    without(sent) {
      const rest = newest.current.startsWith(sent) ? newest.current.slice(sent.length) : newest.current;
      newest.current = rest;
      keep();
      return rest;
    },
  };
}
