// Where messages for this person wait, and the mailboxes that they give to others.

import { call } from "../app/api.mjs";
import { go, link } from "../app/router.mjs";
import { contacts, invitations, listInvitations, listMailboxes, mailboxes } from "../app/store.mjs";
import { reasonOf, t } from "../app/strings.mjs";
import { safeText } from "../app/text.mjs";
import { Confirm, Field, Name, Page, Trouble, size, timeIn, useCommand } from "../ui/base.mjs";
import { QrPicture } from "../ui/qr.mjs";
import { html, useEffect, useState } from "../ui/view.mjs";

/** @typedef {import("../types").Mailbox} Mailbox */

export default function Mailboxes() {
  useEffect(() => void listMailboxes(), []);
  const list = mailboxes.value;
  const works = list?.filter((one) => one.redeemed && !one.leaving && one.quota_bytes > 0) ?? [];
  const giver = list?.find((one) => one.gives && !one.leaving);
  return html`<${Page} title=${t("nav.mailboxes")} testid="mailboxes">
    <p class="hint">${t("mailboxesWhat")}</p>
    ${list && !works.length && html`<div class="note" role="status"><p><strong>${t("noMailbox")}</strong></p><p>${t("noMailboxHow")}</p></div>`}
    ${works.length > 0 && works.every((one) => one.local) && html`<div class="note"><p><strong>${t("onlyLocal")}</strong></p><p>${t("onlyLocalHow")}</p></div>`}
    <ul class="cards">${list?.map((one) => html`<${Entry} key=${one.id} mailbox=${one} />`)}</ul>
    <${Stored} />
    <${Add} />
    ${giver && html`<${Give} mailbox=${giver} />`}
    <${Given} />
  </${Page}>`;
}

/** @param {{mailbox: Mailbox}} props */
function Entry({ mailbox }) {
  const [asks, setAsks] = useState(false);
  const { id, url, connected, leaving, used_bytes: used, quota_bytes: quota } = mailbox;
  const state = leaving ? "leaving" : mailbox.suspended ? "suspended" : mailbox.refused ? "refused" : !mailbox.redeemed ? "redeeming" : connected ? "connected" : "away";
  return html`<li class="card" data-testid="mailbox" data-connected=${connected}>
    <h2><bdi class="url">${mailbox.local ? t("localMailbox") : url}</bdi></h2>
    <p class=${state === "connected" ? "good" : "bad"}>${t(/** @type {any} */ (`mailbox.${state}`))}${leaving && ` ${timeIn(leaving, { dateStyle: "medium" })}`}</p>
    ${mailbox.reason && html`<p class="hint">${reasonOf(mailbox, "")}</p>`}
    ${mailbox.redeemed && quota === 0 && html`<p>${t("filesAlone")}</p>`}
    ${mailbox.redeemed && quota > 0 && html`<p>${used === null || used === undefined
      ? t("quota", { quota: size(quota) })
      : html`${t("usedOf", { used: size(used), quota: size(quota) })} <meter min="0" max=${quota} high=${quota * 0.9} value=${used} aria-label=${t("used")}></meter>`}
      · ${t("keepsDays", { count: mailbox.retention_days })}</p>`}
    ${mailbox.notices.map((notice) => html`<p class="note">${t("operatorSays")} <bdi>${safeText(notice)}</bdi></p>`)}
    ${!mailbox.local && !leaving && html`<button type="button" class="quiet" data-testid="remove-mailbox" onClick=${() => setAsks(true)}>${t("remove")}</button>`}
    ${asks && html`<${Confirm} title=${t("removeMailbox")} text=${t("removeMailboxText")} yes=${t("remove")} close=${() => setAsks(false)} act=${() => call("mailbox/remove", { id }).then(() => listMailboxes())} />`}
  </li>`;
}

/** What storage servers keep, and the services that were added. */
function Stored() {
  const [{ storage: places, services }, setKept] = useState(/** @type {{storage: import("../types").Storage[], services: import("../types").Service[]}} */ ({ storage: [], services: [] }));
  useEffect(() => void call("storage").then(setKept, () => {}), []);
  if (!places.length && !services.length) return null;
  return html`<section aria-labelledby="storage" data-testid="storage"><h2 id="storage">${t("storage")}</h2><p class="hint">${t("storageWhat")}</p>
    <ul class="cards">${places.map((place) => html`<li key=${place.mailbox} class="card"><h3><bdi class="url">${place.url}</bdi></h3>
      ${place.reason ? html`<p class="bad">${safeText(place.reason)}</p>`
        : html`<p>${t("usedOf", { used: size(place.used_bytes), quota: size(place.quota_bytes) })} <meter min="0" max=${Math.max(place.quota_bytes, 1)} high=${place.quota_bytes * 0.9} value=${place.used_bytes} aria-label=${t("used")}></meter></p>`}</li>`)}
      ${services.map((service) => html`<li key=${`service-${service.id}`} class="card" data-testid="service"><h3><bdi class="url">${safeText(service.address || service.kind)}</bdi></h3>
        ${service.reason ? html`<p class="bad">${safeText(service.reason)}</p>` : html`<p>${t(service.has_links ? "serviceForContacts" : "serviceForYou")}</p>`}</li>`)}</ul></section>`;
}

function Add() {
  const [offer, setOffer] = useState("");
  const command = useCommand();
  const isOffer = offer.trim().startsWith("PETMAIL-OFFER:");
  const accept = (/** @type {Event} */ event) => {
    event.preventDefault();
    void command.run(async () => {
      if (isOffer) {
        await call("accept-mailbox", { offer: offer.trim() });
        await listMailboxes();
        setOffer("");
      } else {
        const made = await call("invite", { code: offer.trim(), wants_mailbox: true });
        await listInvitations();
        go("people", "add", made.id);
      }
    });
  };
  return html`<section aria-labelledby="add-mailbox" class="card"><h2 id="add-mailbox">${t("addMailbox")}</h2>
    <form onSubmit=${accept}>
      <${Field} label=${t("offerOrCode")} hint=${t("offerHint")} value=${offer} set=${setOffer} testid="offer-input" />
      <${QrPicture} found=${setOffer} command=${command} />
      <${Trouble} problem=${command.problem} />
      <button type="submit" class="primary" data-testid="accept-offer" disabled=${command.busy || !offer.trim()}>${command.busy ? t("asking") : t("accept")}</button>
    </form>
  </section>`;
}

const MEGABYTE = 1_000_000;

/** @param {{mailbox: Mailbox}} props */
function Give({ mailbox }) {
  const [petname, setPetname] = useState("");
  const [quota, setQuota] = useState("100");
  const [days, setDays] = useState(String(mailbox.retention_days));
  const command = useCommand();
  const give = (/** @type {Event} */ event) => {
    event.preventDefault();
    void command.run(async () => {
      const made = await call("offer-mailbox", {
        petname: petname.trim(), mailbox_quota: Math.round(Number(quota) * MEGABYTE), retention_days: Number(days),
      });
      await listInvitations();
      go("people", "add", made.id);
    });
  };
  const { total_bytes: total, given_bytes: given } = mailbox.gives ?? { total_bytes: 0, given_bytes: 0 };
  return html`<section aria-labelledby="give" class="card"><h2 id="give">${t("giveMailbox")}</h2>
    <p class="hint">${t("givenOf", { given: size(given), total: size(total) })}</p>
    <form onSubmit=${give}>
      <${Field} label=${t("theirName")} value=${petname} set=${setPetname} max=${100} testid="give-petname" />
      <${Field} label=${t("quotaInMb")} type="number" value=${quota} set=${setQuota} />
      <${Field} label=${t("daysKept")} type="number" value=${days} set=${setDays} />
      <${Trouble} problem=${command.problem} />
      <button type="submit" class="primary" data-testid="give" disabled=${command.busy || !petname.trim()}>${t("makeCode")}</button>
    </form>
  </section>`;
}

/** To whom mailboxes were given. */
function Given() {
  const given = (invitations.value ?? []).filter((one) => one.purpose === "give-mailbox");
  if (!given.length) return null;
  return html`<section aria-labelledby="given"><h2 id="given">${t("customers")}</h2>
    <ul>${given.map((one) => {
      const contact = contacts.value?.find((other) => other.cid === one.cid);
      return html`<li key=${one.id}><a href=${contact ? link("people", contact.cid) : link("people", "add", one.id)}><${Name} name=${contact?.petname ?? one.petname ?? ""} /></a>
        <span class="hint">${t(/** @type {any} */ (`invitation.${one.state}`))}</span></li>`;
    })}</ul>
  </section>`;
}
