// What protects the node: its passphrase, a backup, and how a backup comes back.

import { call, download, upload } from "../app/api.mjs";
import { contacts, listAll, mailboxes, report } from "../app/store.mjs";
import { t } from "../app/strings.mjs";
import { Field, Trouble, timeIn, useCommand, useId } from "../ui/base.mjs";
import { html, useEffect, useState } from "../ui/view.mjs";

/** Shorter ones are guessed too quickly by whoever finds the file. */
const GOOD_LENGTH = 16;

/**
 * A new passphrase, typed twice.
 * @param {{label: string, hint: string, testid: string, button: string, waiting: string, busy: boolean, act: (passphrase: string) => Promise<boolean>, before?: any, ready?: boolean, children?: any}} props
 */
function NewPassphrase({ label, hint, testid, button, waiting, busy, act, before, ready = true, children }) {
  const [passphrase, setPassphrase] = useState("");
  const [again, setAgain] = useState("");
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!(await act(passphrase))) return;
    setPassphrase("");
    setAgain("");
  };
  const differs = Boolean(again) && again !== passphrase;
  return html`<form onSubmit=${submit}>
    ${before}
    <${Field} label=${label} type="password" autocomplete="new-password" value=${passphrase} set=${setPassphrase} testid="${testid}-passphrase"
      hint=${passphrase && passphrase.length < GOOD_LENGTH ? t("weak") : hint} />
    <${Field} label=${t("onceMore")} type="password" autocomplete="new-password" value=${again} set=${setAgain} testid="${testid}-again" />
    ${differs && html`<p class="problem" role="alert">${t("passphrasesDiffer")}</p>`}
    ${children}
    <button type="submit" class="primary" data-testid=${testid} disabled=${busy || !ready || !passphrase || again !== passphrase}>${busy ? waiting : button}</button>
  </form>`;
}

export function Backup() {
  const [done, setDone] = useState(false);
  const command = useCommand();
  const save = (/** @type {string} */ passphrase) => command.run(async () => {
    const file = await download("backup", { passphrase });
    const address = URL.createObjectURL(file);
    const anchor = document.createElement("a");
    anchor.href = address;
    anchor.download = `petmail-${timeIn(new Date(), { dateStyle: "short" }).replace(/\D+/g, "-")}.backup`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    setDone(true);
  });
  return html`<section aria-labelledby="backup" class="card"><h2 id="backup">${t("backup")}</h2><p>${t("backupText")}</p>
    <${NewPassphrase} label=${t("backupPassphrase")} hint=${t("passphraseHint")} testid="backup" button=${t("saveBackup")} waiting=${t("saving")} busy=${command.busy} act=${save}>
      <${Trouble} problem=${command.problem} />
      ${done && html`<p class="good" role="status" data-testid="backup-done">✓ ${t("backupDone")}</p>`}
    </${NewPassphrase}>
  </section>`;
}

export function Passphrase() {
  const [encrypted, setEncrypted] = useState(/** @type {boolean|null} */ (null));
  const [now, setNow] = useState("");
  const [done, setDone] = useState("");
  const command = useCommand();
  useEffect(() => void call("settings").then((settings) => setEncrypted(settings.encrypted), report), []);
  if (encrypted === null) return null;
  /** @param {() => Promise<any>} work @param {boolean} protects @param {string} said */
  const change = async (work, protects, said) => {
    setDone("");
    if (!(await command.run(work))) return false;
    setNow("");
    setEncrypted(protects);
    setDone(said);
    return true;
  };
  const set = (/** @type {string} */ passphrase) =>
    change(() => call("passphrase/set", { passphrase: encrypted ? now : null, new_passphrase: passphrase }), true, t("passphraseHolds"));
  const remove = () => change(() => call("passphrase/remove", { passphrase: now }), false, t("passphraseGone"));
  return html`<section aria-labelledby="passphrase" class="card"><h2 id="passphrase">${t("passphrase")}</h2>
    <p>${t("passphraseText")}</p>
    <${NewPassphrase} label=${t("newPassphrase")} hint=${t("passphraseLost")} testid="set" busy=${command.busy} waiting=${t("encrypting")} act=${set} ready=${!encrypted || Boolean(now)}
      button=${encrypted ? t("changePassphrase") : t("setPassphrase")}
      before=${encrypted && html`<${Field} label=${t("presentPassphrase")} type="password" autocomplete="current-password" value=${now} set=${setNow} testid="present-passphrase" />`}>
      <${Trouble} problem=${command.problem} />
      <p class="good" role="status" data-testid="passphrase-done">${done && `✓ ${done}`}</p>
    </${NewPassphrase}>
    ${encrypted && html`<button type="button" class="danger" data-testid="remove-passphrase" disabled=${command.busy || !now} onClick=${remove}>${t("removePassphrase")}</button>`}
  </section>`;
}

export function Restore() {
  const [file, setFile] = useState(/** @type {File|null} */ (null));
  const [passphrase, setPassphrase] = useState("");
  const [done, setDone] = useState(false);
  const command = useCommand();
  const id = useId();
  const restore = (/** @type {Event} */ event) => {
    event.preventDefault();
    void command.run(async () => {
      if (!file) return;
      await upload("restore/upload", file);
      await call("restore", { passphrase });
      setPassphrase("");
      setDone(true);
      listAll();
    });
  };
  const isBlank = contacts.value?.length === 0 && mailboxes.value?.length === 0;
  return html`<section aria-labelledby="restore" class="card" id="restoring"><h2 id="restore">${t("restore")}</h2>
    <p>${t("restoreText")}</p>
    ${done && html`<p class="good" role="status" data-testid="restore-done">✓ ${t("restoreDone")}</p>`}
    ${!done && !isBlank && html`<p>${t("restoreElsewhere")}</p><p><code>petmail-node -d FOLDER restore FILE</code></p>`}
    ${!done && isBlank && html`<form onSubmit=${restore}>
      <div class="field"><label for=${id}>${t("backupFile")}</label>
        <input id=${id} type="file" data-testid="restore-file" onChange=${(/** @type {any} */ event) => setFile(event.target.files[0] ?? null)} /></div>
      <${Field} label=${t("backupPassphrase")} type="password" autocomplete="off" value=${passphrase} set=${setPassphrase} testid="restore-passphrase" />
      <${Trouble} problem=${command.problem} />
      <button type="submit" class="primary" data-testid="restore" disabled=${command.busy || !file || !passphrase}>${command.busy ? t("restoring") : t("restore")}</button>
    </form>`}
  </section>`;
}
