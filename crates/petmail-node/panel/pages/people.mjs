// The address book: the list, how somebody is added, and one contact.

import { link, route } from "../app/router.mjs";
import { contacts, invitations } from "../app/store.mjs";
import { t } from "../app/strings.mjs";
import { Avatar, Name, Page } from "../ui/base.mjs";
import { html, useState } from "../ui/view.mjs";
import { Compare, ContactPage } from "./contact.mjs";
import { AddContact, InvitationEntry } from "./invite.mjs";

export default function People() {
  const { id, part } = route.value;
  if (id === "add") return html`<${AddContact} way=${part} />`;
  const contact = contacts.value?.find((one) => one.cid === Number(id));
  if (id && contacts.value && !contact) {
    return html`<${Page} title=${t("nav.people")} back=${link("people")}><p>${t("noSuchContact")}</p></${Page}>`;
  }
  if (contact && part === "compare") return html`<${Compare} key=${id} contact=${contact} />`;
  if (contact) return html`<${ContactPage} key=${id} contact=${contact} />`;
  return html`<${AddressBook} />`;
}

function AddressBook() {
  const [wanted, setWanted] = useState("");
  const open = (invitations.value ?? []).filter((one) => one.state !== "confirmed" && one.state !== "cancelled");
  const named = (contacts.value ?? []).filter((one) => (
    `${one.petname} ${one.display_name}`.toLowerCase().includes(wanted.trim().toLowerCase())
  ));
  named.sort((one, other) => one.petname.localeCompare(other.petname));
  const add = html`<a class="button primary" href=${link("people", "add")} data-testid="add-contact">${t("addContact")}</a>`;
  return html`<${Page} title=${t("nav.people")} actions=${add} testid="people">
    ${open.length > 0 && html`<section aria-labelledby="open-invitations"><h2 id="open-invitations">${t("invitations")}</h2>
      <ul class="cards">${open.toReversed().map((one) => html`<${InvitationEntry} key=${one.id} invitation=${one} />`)}</ul></section>`}
    ${(contacts.value?.length ?? 0) > 7 && html`<input type="search" value=${wanted} placeholder=${t("searchPeople")} aria-label=${t("searchPeople")} onInput=${(/** @type {any} */ event) => setWanted(event.target.value)} />`}
    ${contacts.value?.length === 0 && html`<p>${t("nobodyYet")}</p>`}
    <ul class="entries plain">
      ${named.map((one) => html`<li key=${one.cid}><a href=${link("people", one.cid)} data-testid="contact">
        <${Avatar} name=${one.petname} cid=${one.cid} />
        <span class="lines"><span class="line"><${Name} name=${one.petname} /></span>
        <span class="line"><span class="hint">${t(/** @type {any} */ (`contact.${one.state}`))}</span></span></span>
      </a></li>`)}
    </ul>
  </${Page}>`;
}
