// Whether everything is all right, and if not, what to do: each trouble a sentence with one thing to do. And what protects it.

import { call } from "../app/api.mjs";
import { link } from "../app/router.mjs";
import { askStatus, status } from "../app/store.mjs";
import { issueText, t } from "../app/strings.mjs";
import { safeText } from "../app/text.mjs";
import { Confirm, Page, Trouble, useCommand } from "../ui/base.mjs";
import { html, useEffect, useState } from "../ui/view.mjs";
import { Backup, Passphrase, Restore } from "./protection.mjs";

/** @typedef {import("../types").Issue} Issue */
/** @typedef {import("../types").Check} Check */

export default function Health() {
  useEffect(() => void askStatus(), []);
  const now = status.value;
  if (!now) return html`<${Page} title=${t("nav.health")}><p class="loading" role="status">${t("loading")}</p></${Page}>`;
  const issues = now.issues ?? [];
  return html`<${Page} title=${t("nav.health")} testid="health">
    <section aria-labelledby="issues" role="status">
      <h2 id="issues">${issues.length ? t("thingsToDo") : html`<span class="good">✓ ${t("allIsWell")}</span>`}</h2>
      <ul class="cards">${issues.map((issue) => html`<${Entry} issue=${issue} />`)}</ul>
    </section>
    <section aria-labelledby="counts"><h2 id="counts">${t("messages")}</h2>
      <p>${t("outbox", { waiting: now.outbox.waiting, sent: now.outbox.sent, delivered: now.outbox.delivered })}</p>
    </section>
    <${Doctor} />
    <${Backup} />
    <${Restore} />
    <${Passphrase} />
    <${Panic} />
    <p class="hint small">Petmail ${now.version}</p>
  </${Page}>`;
}

/** Where the one thing to do is done. @param {Issue} issue @returns {[string, string]|null} */
function action(issue) {
  if (issue.code === "no-mailbox") return [link("mailboxes"), t("getMailbox")];
  if (issue.cid !== null) return (issue.code === "messages-waiting" || issue.code === "file-stopped" || issue.code === "file-wanted") ? [link("rooms", issue.cid), t("lookAtThem")] : [link("people", issue.cid), t("lookAtContact")];
  if (issue.mailbox !== null) return [link("mailboxes"), t("lookAtMailboxes")];
  if (issue.code === "rendezvous-away") return [link("people"), t("lookAtInvitations")];
  return null;
}

/** @param {{issue: Issue}} props */
function Entry({ issue }) {
  const act = action(issue);
  return html`<li class="card ${issue.severity}" data-testid="issue" data-code=${issue.code}><p>${issueText(issue)}</p>${act && html`<a class="button" href=${act[0]}>${act[1]}</a>`}</li>`;
}

function Doctor() {
  const [checks, setChecks] = useState(/** @type {Check[]|null} */ (null));
  const command = useCommand();
  const SIGNS = { ok: "✓", warning: "!", problem: "✗" };
  return html`<section aria-labelledby="doctor" class="card"><h2 id="doctor">${t("doctor")}</h2><p class="hint">${t("doctorText")}</p>
    <button type="button" data-testid="doctor" disabled=${command.busy} onClick=${() => command.run(async () => setChecks((await call("doctor")).checks))}>${command.busy ? t("examining") : t("examine")}</button>
    <${Trouble} problem=${command.problem} />
    <ul class="checks" role="status">${checks?.map((check) => html`<li class=${check.state} data-testid="check"><strong><span aria-hidden="true">${SIGNS[check.state]}</span> <bdi>${safeText(check.check)}</bdi></strong>: ${t(/** @type {any} */ (`check.${check.state}`))} — <bdi>${safeText(check.detail)}</bdi>${check.hint && html`<br /><span class="hint">${safeText(check.hint)}</span>`}</li>`)}</ul>
  </section>`;
}

function Panic() {
  const [asks, setAsks] = useState(false);
  const [done, setDone] = useState("");
  const reset = async () => {
    const { contacts, skipped } = await call("reset-keys", { all: true });
    setDone(t("resetDone", { count: contacts.length }) + (skipped.length ? ` ${t("resetSkipped", { count: skipped.length })}` : ""));
  };
  return html`<section aria-labelledby="panic" class="card"><h2 id="panic">${t("panic")}</h2><p>${t("panicText")}</p>
    ${done && html`<p role="status">${done}</p>`}
    <button type="button" class="danger" data-testid="panic" onClick=${() => setAsks(true)}>${t("resetAll")}</button>
    ${asks && html`<${Confirm} title=${t("resetAll")} text=${t("resetText")} yes=${t("resetAll")} close=${() => setAsks(false)} act=${reset} />`}
  </section>`;
}
