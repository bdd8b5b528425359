// What this person has chosen: in the node, or for this browser only.

import { call, Problem } from "../app/api.mjs";
import { drawn } from "../app/draw.mjs";
import { chooseNotifications, notifies } from "../app/notify.mjs";
import { pictureAt } from "../app/pictures.mjs";
import { askStatus, listen, report } from "../app/store.mjs";
import { language, languages, t } from "../app/strings.mjs";
import { theme } from "../app/theme.mjs";
import { Field, Page, Switch, Trouble, useCommand, useId } from "../ui/base.mjs";
import { html, useEffect, useState } from "../ui/view.mjs";

/** @typedef {import("../types").Settings} Chosen */

export default function Settings() {
  const [settings, setSettings] = useState(/** @type {Chosen|null} */ (null));
  useEffect(() => {
    const forget = listen((event) => event.event === "settings" && setSettings(event));
    call("settings").then(setSettings, report);
    return forget;
  }, []);
  if (!settings) return html`<${Page} title=${t("nav.settings")}><p class="loading" role="status">${t("loading")}</p></${Page}>`;
  return html`<${Page} title=${t("nav.settings")} testid="settings">
    <${Profile} settings=${settings} set=${setSettings} />
    <${Privacy} settings=${settings} set=${setSettings} />
    <${Browser} />
    <section aria-labelledby="about"><h2 id="about">${t("about")}</h2>
      <dl><dt>${t("version")}</dt><dd>${settings.version}</dd><dt>${t("folder")}</dt><dd><bdi>${settings.basedir}</bdi></dd><dt>${t("rendezvous")}</dt><dd><bdi>${settings.rendezvous}</bdi></dd></dl>
    </section>
  </${Page}>`;
}

/** @param {{settings: Chosen, set: (settings: Chosen) => void}} props */
function Profile({ settings, set }) {
  const [name, setName] = useState(settings.display_name);
  const command = useCommand();
  const change = (/** @type {object} */ body) => command.run(async () => {
    set(await call("settings/set", body));
    await askStatus();
  });
  const id = useId();
  const picture = pictureAt(settings.picture);
  const choose = (/** @type {any} */ event) => command.run(async () => {
    const [file] = event.target.files;
    event.target.value = "";
    const chosen = file && await drawn(file);
    if (!chosen) throw new Problem(t("noPicture"), t("noPictureHint"), "no-picture");
    set(await call("settings/picture", { picture: chosen }));
  });
  return html`<section aria-labelledby="profile"><h2 id="profile">${t("profile")}</h2><p class="hint">${t("profileHint")}</p>
    <div class="person">
      ${picture && html`<img class="avatar large" src=${picture} alt=${t("yourPicture")} data-testid="own-picture" />`}
      <div class="field"><label for=${id}>${t("yourPicture")}</label>
        <input id=${id} type="file" accept="image/*" data-testid="choose-picture" onChange=${choose} />
        ${picture && html`<button type="button" data-testid="remove-picture" disabled=${command.busy} onClick=${() => command.run(async () => set(await call("settings/picture", { picture: null })))}>${t("removePicture")}</button>`}</div>
    </div>
    <form class="inline" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); void change({ display_name: name.trim() }); }}>
      <${Field} label=${t("displayName")} value=${name} set=${setName} max=${100} testid="display-name" />
      <button type="submit" disabled=${command.busy || name.trim() === settings.display_name} data-testid="save-name">${t("save")}</button>
    </form>
    <${Trouble} problem=${command.problem} />
  </section>`;
}

/** @param {{settings: Chosen, set: (settings: Chosen) => void}} props */
function Privacy({ settings, set }) {
  const command = useCommand();
  const change = (/** @type {object} */ body) => void command.run(async () => set(await call("settings/set", body)));
  return html`<section aria-labelledby="privacy"><h2 id="privacy">${t("privacy")}</h2>
    <${Switch} label=${t("readReceipts")} hint=${t("readReceiptsHint")} on=${settings.read_receipts} testid="read-receipts" set=${(/** @type {boolean} */ on) => change({ read_receipts: on })} />
    <${Switch} label=${t("highPrivacy")} hint=${t("highPrivacyHint")} on=${settings.privacy === "high"} set=${(/** @type {boolean} */ on) => change({ privacy: on ? "high" : "normal" })} />
    <${Switch} label=${t("copiesEverywhere")} hint=${t("copiesEverywhereHint")} on=${settings.copies_everywhere} set=${(/** @type {boolean} */ on) => change({ copies_everywhere: on })} />
    <${Trouble} problem=${command.problem} />
  </section>`;
}

function Browser() {
  const [refused, setRefused] = useState(false);
  return html`<section aria-labelledby="browser"><h2 id="browser">${t("thisBrowser")}</h2>
    <${Choice} label=${t("theme")} value=${theme.value} testid="theme" set=${(/** @type {any} */ value) => (theme.value = value)}
      choices=${[["system", t("theme.system")], ["light", t("theme.light")], ["dark", t("theme.dark")]]} />
    <${Choice} label=${t("language")} value=${language.value} testid="language" set=${(/** @type {any} */ value) => (language.value = value)} choices=${languages} />
    <${Choice} label=${t("notifications")} value=${notifies.value} testid="notifications" set=${async (/** @type {any} */ value) => setRefused(!(await chooseNotifications(value)))}
      choices=${[["off", t("notify.off")], ["name", t("notify.name")], ["text", t("notify.text")]]} />
    ${refused && html`<p class="problem" role="alert">${t("notifyRefused")}</p>`}
  </section>`;
}

/** @param {{label: string, value: string, set: (value: string) => void, choices: [string, string][], testid: string}} props */
const Choice = ({ label, value, set, choices, testid }) => html`<div class="field"><label>${label}
  <select value=${value} data-testid=${testid} onChange=${(/** @type {any} */ event) => set(event.target.value)}>
    ${choices.map(([key, text]) => html`<option value=${key} selected=${key === value}>${text}</option>`)}
  </select></label></div>`;
