// A field for a code: words complete themselves, and a slip of the pen is found before it uses the code up.

import { call } from "../app/api.mjs";
import { report } from "../app/store.mjs";
import { t } from "../app/strings.mjs";
import { useId } from "./base.mjs";
import { html, useEffect, useState } from "./view.mjs";

/** @typedef {{position: number, word: string, instead: string[]}} Suggestion */
/** @typedef {{canonical: string|null, suggestions: Suggestion[]}} Check */

const PAUSE_MS = 150;

/** Asks the node whether a code's words are on its list. @param {string} code @returns {Check} */
export function useCodeCheck(code) {
  const [check, setCheck] = useState(/** @type {Check} */ ({ canonical: null, suggestions: [] }));
  useEffect(() => {
    let isCurrent = true;
    setCheck({ canonical: null, suggestions: [] });
    const timer = setTimeout(async () => {
      if (!code.trim()) return;
      try {
        const answer = await call("check-code", { code });
        if (isCurrent) setCheck({ canonical: answer.code, suggestions: answer.suggestions });
      } catch {
        // What is no code yet may become one; sending it says what is wrong.
      }
    }, PAUSE_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [code]);
  return check;
}

/** @param {{code: string, set: (code: string) => void, check: Check}} props */
export function CodeField({ code, set, check }) {
  const id = useId();
  const [words, setWords] = useState({ even: /** @type {string[]} */ ([]), odd: /** @type {string[]} */ ([]) });
  useEffect(() => void call("words").then(setWords, report), []);
  const parts = code.trimStart().toLowerCase().split(/[\s-]+/);
  const begun = parts.at(-1) ?? "";
  const list = parts.length % 2 === 0 ? words.odd : words.even;
  const isWordNext = parts.length >= 2 && begun.length >= 1;
  const fitting = isWordNext ? list.filter((word) => word.startsWith(begun) && word !== begun).slice(0, 6) : [];
  const complete = (/** @type {string} */ word) => set([...parts.slice(0, -1), word].join("-") + (parts.length < 4 ? "-" : ""));
  const replace = (/** @type {number} */ position, /** @type {string} */ word) => {
    set((check.canonical ?? code).split("-").with(position, word).join("-"));
  };
  return html`<div class="field">
    <label for=${id}>${t("code")}</label>
    <input id=${id} type="text" class="code-input" value=${code} data-testid="code-input" autocomplete="off" autocapitalize="off" spellcheck=${false}
      placeholder="4-vocalist-glucose-onlooker" aria-describedby="${id}-hint"
      onInput=${(/** @type {any} */ event) => set(event.target.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Tab" || event.shiftKey || fitting.length !== 1) return;
        event.preventDefault();
        complete(/** @type {string} */ (fitting[0]));
      }} />
    <p class="hint" id="${id}-hint">${t("codeHint")}</p>
    ${fitting.length > 0 && html`<div class="row wrap" aria-label=${t("completions")} role="group">${fitting.map((word) => html`<button type="button" key=${word} class="chip" data-testid="completion" onClick=${() => complete(word)}>${word}</button>`)}</div>`}
    ${check.suggestions.map((one) => html`<div class="problem" role="alert" data-testid="suggestion" key=${one.position}><p>${t("unknownWord", { word: one.word })}</p>
      <div class="row wrap">${!one.instead.length && t("noSuchWord")}${one.instead.map((word) => html`<button type="button" key=${word} class="chip" onClick=${() => replace(one.position, word)}>${word}</button>`)}</div></div>`)}
  </div>`;
}
