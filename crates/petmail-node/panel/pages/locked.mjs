// The node runs, and waits for its passphrase.

import { call } from "../app/api.mjs";
import { t } from "../app/strings.mjs";
import { Field, Trouble, useCommand } from "../ui/base.mjs";
import { html, useState } from "../ui/view.mjs";

export default function Locked() {
  const [passphrase, setPassphrase] = useState("");
  const command = useCommand();
  /** The page goes on as soon as the stream of changes is open; beginning anew opens it at once. @param {Event} event */
  const unlock = async (event) => {
    event.preventDefault();
    if (await command.run(() => call("unlock", { passphrase }))) location.reload();
    setPassphrase("");
  };
  return html`<main class="alone" data-testid="locked"><h1>${t("locked")}</h1><p>${t("lockedHow")}</p>
    <form onSubmit=${unlock}>
      <${Field} label=${t("passphrase")} type="password" autocomplete="current-password" autofocus value=${passphrase} set=${setPassphrase} testid="unlock-passphrase" />
      <${Trouble} problem=${command.problem} />
      <button type="submit" class="primary" data-testid="unlock" disabled=${command.busy || !passphrase}>${command.busy ? t("unlocking") : t("unlock")}</button>
    </form>
  </main>`;
}
