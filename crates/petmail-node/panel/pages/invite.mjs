// How somebody is added: a code that one makes and the other types.

import { call } from "../app/api.mjs";
import { go, link } from "../app/router.mjs";
import { contacts, invitations, listInvitations } from "../app/store.mjs";
import { reasonOf, t } from "../app/strings.mjs";
import { CodeField, useCodeCheck } from "../ui/code.mjs";
import { Copy, Field, Name, Page, Trouble, fromNow, useCommand } from "../ui/base.mjs";
import { Qr, QrPicture } from "../ui/qr.mjs";
import { html, useEffect, useState } from "../ui/view.mjs";

/** @typedef {import("../types").Invitation} Invitation */

/** @param {{way: string}} props */
export function AddContact({ way }) {
  if (way === "make") return html`<${MakeCode} />`;
  if (way === "enter") return html`<${EnterCode} />`;
  const shown = invitations.value?.find((one) => one.id === Number(way));
  if (way && shown) return html`<${Progress} key=${way} invitation=${shown} />`;
  return html`<${Page} title=${t("addContact")} back=${link("people")}>
    <p>${t("addHow")}</p>
    <div class="choices">
      <a class="card choice" href=${link("people", "add", "make")} data-testid="make-code"><strong>${t("makeCode")}</strong><span class="hint">${t("makeCodeHint")}</span></a>
      <a class="card choice" href=${link("people", "add", "enter")} data-testid="enter-code"><strong>${t("enterCode")}</strong><span class="hint">${t("enterCodeHint")}</span></a>
    </div>
  </${Page}>`;
}

function MakeCode() {
  const [petname, setPetname] = useState("");
  const command = useCommand();
  const make = (/** @type {Event} */ event) => {
    event.preventDefault();
    void command.run(async () => {
      const made = await call("invite", petname.trim() ? { petname: petname.trim() } : {});
      await listInvitations();
      go("people", "add", made.id);
    });
  };
  return html`<${Page} title=${t("makeCode")} back=${link("people", "add")}>
    <form onSubmit=${make}>
      <${Field} label=${t("theirName")} hint=${t("theirNameHint")} value=${petname} set=${setPetname} testid="petname-input" max=${100} autofocus=${true} />
      <${Trouble} problem=${command.problem} />
      <button type="submit" class="primary" data-testid="submit-code" disabled=${command.busy}>${command.busy ? t("makingCode") : t("makeCode")}</button>
    </form>
  </${Page}>`;
}

function EnterCode() {
  const [petname, setPetname] = useState("");
  const [code, setCode] = useState("");
  const [wantsMailbox, setWantsMailbox] = useState(false);
  const [asItIs, setAsItIs] = useState("");
  const command = useCommand();
  const check = useCodeCheck(code);
  const enter = (/** @type {Event} */ event) => {
    event.preventDefault();
    void command.run(async () => {
      const body = { code: check.canonical ?? code, ...(petname.trim() && { petname: petname.trim() }), ...(wantsMailbox && { wants_mailbox: true }) };
      const made = await call("invite", body);
      await listInvitations();
      go("people", "add", made.id);
    });
  };
  return html`<${Page} title=${t("enterCode")} back=${link("people", "add")}>
    <form onSubmit=${enter}>
      <${CodeField} code=${code} set=${setCode} check=${check} />
      <${QrPicture} found=${setCode} command=${command} />
      ${check.suggestions.length > 0 && html`<label class="check"><input type="checkbox" checked=${asItIs === code} onChange=${(/** @type {any} */ event) => setAsItIs(event.target.checked ? code : "")} /> ${t("asItIs")}</label>`}
      <${Field} label=${t("theirName")} hint=${t("theirNameHint")} value=${petname} set=${setPetname} testid="petname-input" max=${100} />
      <label class="check"><input type="checkbox" checked=${wantsMailbox} onChange=${(/** @type {any} */ event) => setWantsMailbox(event.target.checked)} /> ${t("givesMeMailbox")}</label>
      <${Trouble} problem=${command.problem} />
      <button type="submit" class="primary" data-testid="submit-code" disabled=${command.busy || !code.trim() || (check.suggestions.length > 0 && asItIs !== code)}>${t("connect")}</button>
    </form>
  </${Page}>`;
}

/** How far an invitation is, in plain words. @param {{invitation: Invitation}} props */
function Progress({ invitation }) {
  const { code, state, petname, cid } = invitation;
  const contact = contacts.value?.find((one) => one.cid === cid);
  useEffect(() => {
    if (state === "confirmed" && contact && !petname) go("people", contact.cid);
  }, [state]);
  return html`<${Page} title=${code ? t("tellCode") : t("connecting")} back=${link("people")}>
    <div data-testid="invitation" data-state=${state}>
      ${code && state === "waiting" && html`
        <p>${petname ? t("tellCodeTo", { name: petname }) : t("tellCodeToThem")}</p>
        <p class="code" data-testid="code">${code}</p>
        <div class="row"><${Copy} text=${code} label=${t("copyCode")} /></div>
        <${Qr} text=${code} />`}
      <${Steps} invitation=${invitation} />
      ${contact && html`<p class="row"><a class="button primary" href=${link("rooms", contact.cid)}>${t("writeTo", { name: contact.petname })}</a>
        <a class="button" href=${link("people", contact.cid, "compare")}>${t("compareWords")}</a></p>`}
      ${!isOver(state) && html`<${Cancel} id=${invitation.id} />`}
      ${(state === "failed" || state === "expired") && html`<p class="row"><a class="button primary" href=${link("people", "add", "make")}>${t("makeNewCode")}</a><a class="button" href=${link("people", "add", "enter")}>${t("enterCode")}</a></p>`}
    </div>
  </${Page}>`;
}

/** @param {string} state */
const isOver = (state) => ["confirmed", "failed", "expired", "cancelled"].includes(state);

/** @param {{invitation: Invitation}} props */
function Steps({ invitation }) {
  const { state, expires } = invitation;
  return html`<div role="status" aria-live="polite" class="steps ${state}">
    <p><strong>${t(/** @type {any} */ (`invitation.${state}`))}</strong></p>
    ${invitation.reason && html`<p>${reasonOf(invitation, invitation.petname ?? "")}</p>`}
    ${state === "waiting" && html`<p class="hint">${t("expires", { when: fromNow(expires) })}</p>`}
  </div>`;
}

/** @param {{id: number}} props */
function Cancel({ id }) {
  const command = useCommand();
  return html`<${Trouble} problem=${command.problem} /><button type="button" class="quiet" data-testid="cancel-invitation" disabled=${command.busy}
    onClick=${() => command.run(() => call("cancel-invitation", { id }).then(() => listInvitations()))}>${t("cancelInvitation")}</button>`;
}

/** @param {{id: number}} props */
function Dismiss({ id }) {
  const command = useCommand();
  return html`<${Trouble} problem=${command.problem} /><button type="button" class="quiet" data-testid="dismiss-invitation" disabled=${command.busy}
    onClick=${() => command.run(() => call("forget-invitation", { id }).then(() => listInvitations()))}>${t("dismiss")}</button>`;
}

/** An invitation in a list. @param {{invitation: Invitation}} props */
export function InvitationEntry({ invitation }) {
  const { id, petname, state, code } = invitation;
  return html`<li class="card" data-testid="invitation" data-state=${state}>
    <a href=${link("people", "add", id)}><strong>${petname ? html`<${Name} name=${petname} />` : t("somebody")}</strong></a>
    <p>${t(/** @type {any} */ (`invitation.${state}`))}${code && state === "waiting" && html`: <code>${code}</code>`}</p>
    ${invitation.reason && isOver(state) && html`<p class="hint">${reasonOf(invitation, petname ?? "")}</p>`}
    ${isOver(state) ? html`<${Dismiss} id=${id} />` : html`<${Cancel} id=${id} />`}
  </li>`;
}

