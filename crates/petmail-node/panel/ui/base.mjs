// Small parts that pages are made of.

import { Problem } from "../app/api.mjs";
import { pictureOf } from "../app/pictures.mjs";
import { language, t } from "../app/strings.mjs";
import { safeName } from "../app/text.mjs";
import { html, useEffect, useRef, useState } from "./view.mjs";

/** A name of somebody, safe and on one line. @param {{name: string, class?: string}} props */
export const Name = ({ name, class: kind = "" }) => html`<bdi class="name ${kind}" title=${safeName(name)}>${safeName(name) || t("noName")}</bdi>`;

/** The picture of a contact, or the letter that stands for one. @param {{name: string, cid: number, large?: boolean}} props */
export function Avatar({ name, cid, large = false }) {
  const picture = pictureOf(cid);
  if (picture) return html`<img class="avatar${large ? " large" : ""}" src=${picture} alt="" data-testid="picture" />`;
  const letter = [...safeName(name).trim()][0]?.toUpperCase() ?? "?";
  return html`<span class="avatar tint${cid % 6}${large ? " large" : ""}" aria-hidden="true">${letter}</span>`;
}

/** Says what went wrong and what to do. @param {{problem: unknown}} props */
export function Trouble({ problem }) {
  if (!problem) return null;
  if (!(problem instanceof Problem)) throw problem;
  const [line, hint] = problem.code === "unreachable"
    ? [t("unreachable"), t("unreachableHint")]
    : [problem.message, problem.hint];
  return html`<div class="problem" role="alert" data-testid="problem"><p>${line}</p>${hint && html`<p class="hint">${hint}</p>`}</div>`;
}

/**
 * Runs a command at a time: whether one runs, what it ran into, and how to start one.
 * @returns {{busy: boolean, problem: unknown, run: (work: () => Promise<unknown>) => Promise<boolean>, clear: () => void}}
 */
export function useCommand() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const run = async (/** @type {() => Promise<unknown>} */ work) => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
      return true;
    } catch (error) {
      setProblem(error);
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, problem, run, clear: () => setProblem(null) };
}

/**
 * A labelled field.
 * @param {{label: string, value: string, set: (value: string) => void, hint?: any, testid?: string, type?: string, list?: string, autofocus?: boolean, max?: number, required?: boolean, autocomplete?: string}} props
 */
export function Field({ label, value, set, hint, testid, type = "text", autofocus = false, max, required = false, autocomplete = "off" }) {
  const id = useId();
  const input = useRef(/** @type {HTMLInputElement|null} */ (null));
  useEffect(() => {
    if (autofocus) input.current?.focus();
  }, []);
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} ref=${input} type=${type} value=${value} data-testid=${testid} maxlength=${max} required=${required}
      autocomplete=${autocomplete} autocapitalize="off" spellcheck=${false} dir=${type === "text" ? "auto" : undefined}
      aria-describedby=${hint ? `${id}-hint` : undefined}
      onInput=${(/** @type {any} */ event) => set(event.target.value)} />
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
  </div>`;
}

/** A switch with its label and what it does. @param {{label: string, hint?: any, on: boolean, set: (on: boolean) => void, testid?: string, disabled?: boolean}} props */
export function Switch({ label, hint, on, set, testid, disabled = false }) {
  const id = useId();
  return html`<div class="switch">
    <input type="checkbox" role="switch" id=${id} checked=${on} disabled=${disabled} data-testid=${testid}
      aria-describedby=${hint ? `${id}-hint` : undefined}
      onChange=${(/** @type {any} */ event) => set(event.target.checked)} />
    <div><label for=${id}>${label}</label>${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}</div>
  </div>`;
}

let ids = 0;

/** A name for an element that is in the page only once. */
export const useId = () => useState(() => `e${++ids}`)[0];

/** Copies a text and says so. @param {{text: string, label?: string}} props */
export function Copy({ text, label = t("copy") }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text).catch(() => copyBySelection(text));
    setDone(true);
    setTimeout(() => setDone(false), 2_000);
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${done ? t("copied") : label}</button><span class="sr" role="status">${done && t("copied")}</span>`;
}

/** Where the clipboard is not given to pages. @param {string} text */
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * A window over the page: Esc closes it, the keyboard stays in it.
 * @param {{title: string, close: () => void, children?: any}} props
 */
export function Dialog({ title, close, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement|null} */ (null));
  const id = useId();
  useEffect(() => {
    const before = /** @type {HTMLElement|null} */ (document.activeElement);
    dialog.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby=${id} onClose=${close} onCancel=${close}>
    <header><h2 id=${id}>${title}</h2><button type="button" class="icon" aria-label=${t("close")} onClick=${close}>×</button></header>
    ${children}
  </dialog>`;
}

/**
 * Asks before something that cannot be undone.
 * @param {{title: string, text: any, yes: string, act: () => Promise<unknown>, close: () => void, testid?: string}} props
 */
export function Confirm({ title, text, yes, act, close, testid = "confirm" }) {
  const command = useCommand();
  return html`<${Dialog} title=${title} close=${close}>
    <p>${text}</p>
    <${Trouble} problem=${command.problem} />
    <div class="row end">
      <button type="button" onClick=${close}>${t("cancel")}</button>
      <button type="button" class="danger" data-testid=${testid} disabled=${command.busy}
        onClick=${async () => (await command.run(act)) && close()}>${yes}</button>
    </div>
  </${Dialog}>`;
}

/** A page of its own: its heading takes the focus when it comes. @param {{title: any, back?: string, actions?: any, children?: any, testid?: string}} props */
export function Page({ title, back, actions, children, testid }) {
  const heading = useRef(/** @type {HTMLHeadingElement|null} */ (null));
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return html`<section class="page" data-testid=${testid}>
    <header class="bar">
      ${back && html`<a class="back" href=${back} aria-label=${t("back")}>‹</a>`}
      <h1 ref=${heading} tabindex="-1">${title}</h1>${actions}
    </header>
    <div class="content">${children}</div>
  </section>`;
}

const units = /** @type {const} */ (["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"]);

/** @param {number} bytes */
export function size(bytes) {
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  const digits = { style: "unit", unit: units[step], unitDisplay: "short", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language.value, /** @type {any} */ (digits)).format(bytes / 1_000 ** step);
}

/** Formats are dear to make, and long conversations show many times. @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {string|number|Date} time @param {Intl.DateTimeFormatOptions} options */
export function timeIn(time, options) {
  const key = language.value + JSON.stringify(options);
  const format = formats.get(key) ?? new Intl.DateTimeFormat(language.value, options);
  formats.set(key, format);
  return format.format(new Date(time));
}

/** @param {string} time */
export const clock = (time) => timeIn(time, { hour: "2-digit", minute: "2-digit" });

/** @param {string} time */
export const fullTime = (time) => timeIn(time, { dateStyle: "full", timeStyle: "short" });

/** The day in words: today, yesterday, or its date. @param {string} time @param {Date} [now] */
export function day(time, now = new Date()) {
  const days = Math.round((midnight(now) - midnight(new Date(time))) / 86_400_000);
  if (days === 0 || days === 1) {
    return new Intl.RelativeTimeFormat(language.value, { numeric: "auto" }).format(-days, "day");
  }
  return timeIn(time, { dateStyle: "full" });
}

/** @param {string} one @param {string|Date} other */
export const isSameDay = (one, other) => midnight(new Date(one)) === midnight(new Date(other));

/** The time of today, else the date. @param {string} time */
export function shortTime(time) {
  return isSameDay(time, new Date()) ? clock(time) : timeIn(time, { dateStyle: "short" });
}

/** @param {Date} date */
const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

/** How long from now, in words. @param {string} time */
export function fromNow(time) {
  const seconds = (new Date(time).getTime() - Date.now()) / 1_000;
  const [unit, length] = Math.abs(seconds) < 3_600 ? ["minute", 60] : Math.abs(seconds) < 86_400 * 2 ? ["hour", 3_600] : ["day", 86_400];
  const format = new Intl.RelativeTimeFormat(language.value, { numeric: "auto" });
  return format.format(Math.trunc(seconds / Number(length)), /** @type {any} */ (unit));
}

/** What was loaded already, by what loads it. @type {Map<() => Promise<any>, any>} */
const loaded = new Map();

/**
 * A part of the page that is loaded when it is wanted: what a module exports by default, with the other properties.
 * @param {{load: () => Promise<any>, [name: string]: any}} props
 */
export function Later({ load, ...props }) {
  const [isThere, setThere] = useState(loaded.has(load));
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    if (!isThere) fetchLater(load).then(() => setThere(true), () => setFailed(true));
  }, []);
  if (failed) return html`<${Page} title=${t("unreachable")}><p>${t("unreachableHint")}</p><button type="button" onClick=${() => location.reload()}>${t("reload")}</button></${Page}>`;
  return isThere ? html`<${loaded.get(load)} ...${props} />` : html`<p class="loading" role="status">${t("loading")}</p>`;
}

/** Loads what will be wanted. @param {() => Promise<any>} load */
export async function fetchLater(load) {
  loaded.set(load, (await load()).default);
}
