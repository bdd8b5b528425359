// One contact: who they are, whether it is really them, and what can be done.

import { call } from "../app/api.mjs";
import { go, link } from "../app/router.mjs";
import { listContacts } from "../app/store.mjs";
import { reasonOf, t } from "../app/strings.mjs";
import { safeName } from "../app/text.mjs";
import { Avatar, Confirm, Field, Name, Page, Trouble, fromNow, fullTime, size, timeIn, useCommand } from "../ui/base.mjs";
import { html, useState } from "../ui/view.mjs";

/** @typedef {import("../types").Contact} Contact */

/** @param {{contact: Contact}} props */
export function ContactPage({ contact }) {
  const { cid, petname, state } = contact;
  const [asks, setAsks] = useState("");
  const close = () => setAsks("");
  const name = safeName(petname);
  return html`<${Page} title=${html`<${Name} name=${petname} />`} back=${link("people")} testid="contact-page"
    actions=${html`<a class="button primary" href=${link("rooms", cid)}>${t("write")}</a>`}>
    <div class="person">
      <${Avatar} name=${petname} cid=${cid} large=${true} />
      <div>
        <p><strong>${t(/** @type {any} */ (`contact.${state}`))}</strong></p>
        ${contact.reason && html`<p>${reasonOf(contact, name)}</p>`}
        <p class="hint">${t("callsThemselves")} ${contact.display_name ? html`<${Name} name=${contact.display_name} />` : t("nothing")}</p>
        <p class="hint">${t("contactSince", { when: timeIn(contact.since, { dateStyle: "long" }) })}</p>
        ${contact.last_heard && html`<p class="hint" title=${fullTime(contact.last_heard)}>${t("lastHeard", { when: fromNow(contact.last_heard) })}</p>`}
      </div>
    </div>
    ${contact.offered_mailbox && html`<section aria-labelledby="offered" class="card"><h2 id="offered">${t("offersMailbox")}</h2>
      <p><bdi>${contact.offered_mailbox}</bdi></p><p class="hint">${t("offersMailboxText", { name })}</p>
      <${Act} command="contact/accept-mailbox" cid=${cid} label=${t("accept")} testid="accept-offered" /></section>`}
    <${Petname} contact=${contact} />
    <${Words} contact=${contact} />
    <section aria-labelledby="reach"><h2 id="reach">${t("reachedAt")}</h2>
      ${contact.transports.length
        ? html`<ul>${contact.transports.map((one) => html`<li><bdi>${one.url}</bdi> <span class="hint">${t("keepsDays", { count: one.retention_days })}</span></li>`)}</ul>`
        : html`<p>${t(contact.can_send ? "reachable" : "notReachable")}</p>`}
    </section>
    <${FetchLimit} contact=${contact} />
    <section aria-labelledby="careful"><h2 id="careful">${t("careful")}</h2>
      <div class="row wrap">
        ${state === "blocked"
          ? html`<${Act} command="contact/unblock" cid=${cid} label=${t("unblock")} testid="unblock" />`
          : html`<button type="button" data-testid="block" onClick=${() => setAsks("block")}>${t("block")}</button>`}
        <button type="button" onClick=${() => setAsks("reset")}>${t("resetKeys")}</button>
        <button type="button" class="danger" data-testid="remove" onClick=${() => setAsks("remove")}>${t("remove")}</button>
      </div>
    </section>
    ${asks === "block" && html`<${Confirm} title=${t("blockTitle", { name })} text=${t("blockText")} yes=${t("block")} close=${close} act=${() => call("contact/block", { cid }).then(listContacts)} />`}
    ${asks === "reset" && html`<${Confirm} title=${t("resetTitle", { name })} text=${t("resetText")} yes=${t("resetKeys")} close=${close} act=${() => call("reset-keys", { cid }).then(listContacts)} />`}
    ${asks === "remove" && html`<${Confirm} title=${t("removeTitle", { name })} text=${t("removeText")} yes=${t("remove")} close=${close} act=${() => call("contact/remove", { cid }).then(() => go("people"))} />`}
  </${Page}>`;
}

/** @param {{contact: Contact}} props */
function Petname({ contact }) {
  const [petname, setPetname] = useState(contact.petname);
  const command = useCommand();
  const isChanged = petname.trim() && petname !== contact.petname;
  return html`<form class="inline" onSubmit=${(/** @type {Event} */ event) => {
    event.preventDefault();
    void command.run(() => call("contact/rename", { cid: contact.cid, petname }).then(listContacts));
  }}>
    <${Field} label=${t("yourNameForThem")} hint=${t("onlyYouSee")} value=${petname} set=${setPetname} testid="rename-input" max=${100} />
    <button type="submit" disabled=${!isChanged || command.busy}>${t("save")}</button>
    <${Trouble} problem=${command.problem} />
  </form>`;
}

/** Up to which sizes files can be fetched by themselves, in bytes. */
const LIMITS = [0, 1_000_000, 20_000_000, 200_000_000, 2_000_000_000];

/** @param {{contact: Contact}} props */
function FetchLimit({ contact }) {
  const { cid, fetch_limit_bytes: limit } = contact;
  const command = useCommand();
  const choose = (/** @type {number} */ bytes) => command.run(() => call("contact/fetch-limit", { cid, bytes }).then(listContacts));
  const choices = LIMITS.includes(limit) ? LIMITS : [...LIMITS, limit];
  return html`<section class="field"><label for="fetch-limit">${t("fetchLimit")}</label>
    <select id="fetch-limit" data-testid="fetch-limit" disabled=${command.busy} value=${limit} onChange=${(/** @type {any} */ event) => choose(Number(event.target.value))}>
      ${choices.map((bytes) => html`<option key=${bytes} value=${bytes}>${bytes ? t("upTo", { size: size(bytes) }) : t("onlyWhenAsked")}</option>`)}</select>
    <p class="hint">${t("fetchLimitHint")}</p><${Trouble} problem=${command.problem} /></section>`;
}

/** @param {{contact: Contact}} props */
function Words({ contact }) {
  const isVerified = contact.state === "verified";
  // Once keys were replaced there are digits instead.
  const kind = /^\d/.test(contact.safety_words) ? "safetyDigits" : "safetyWords";
  return html`<section aria-labelledby="words"><h2 id="words">${t(kind)} ${isVerified && html`<span class="good">✓ ${t("contact.verified")}</span>`}</h2>
    <p class="words" data-testid="safety-words">${contact.safety_words}</p>
    <p class="hint">${t(isVerified ? "wordsCompared" : "wordsWhy")}</p>
    ${!isVerified && html`<a class="button" href=${link("people", contact.cid, "compare")}>${t("compareWords")}</a>`}
  </section>`;
}

/** The safety words, large, to be read aloud on both sides. @param {{contact: Contact}} props */
export function Compare({ contact }) {
  const { cid, petname, safety_words: words } = contact;
  const [differ, setDiffer] = useState(false);
  const command = useCommand();
  const name = safeName(petname);
  const verify = () => command.run(async () => {
    await call("contact/verify", { cid });
    await listContacts();
    go("people", cid);
  });
  return html`<${Page} title=${t("compareWords")} back=${link("people", cid)}>
    <p>${t("compareHow", { name })}</p>
    <ol class="compare">${words.split(/[\s-]+/).map((word) => html`<li>${word}</li>`)}</ol>
    <${Trouble} problem=${command.problem} />
    ${differ
      ? html`<div class="problem" role="alert"><p>${t("wordsDiffer", { name })}</p></div><a class="button" href=${link("people", cid)}>${t("back")}</a>`
      : html`<div class="row wrap">
        <button type="button" class="primary" data-testid="verify" disabled=${command.busy} onClick=${verify}>${t("theyMatch")}</button>
        <button type="button" onClick=${() => setDiffer(true)}>${t("theyDiffer")}</button></div>`}
  </${Page}>`;
}

/** @param {{command: string, cid: number, label: string, testid: string}} props */
function Act({ command: name, cid, label, testid }) {
  const command = useCommand();
  return html`<button type="button" data-testid=${testid} disabled=${command.busy} onClick=${() => command.run(() => call(name, { cid }).then(listContacts))}>${label}</button><${Trouble} problem=${command.problem} />`;
}
