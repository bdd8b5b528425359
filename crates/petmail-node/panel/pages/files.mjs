// Files that messages bring.

import { call, download } from "../app/api.mjs";
import { report } from "../app/store.mjs";
import { t } from "../app/strings.mjs";
import { safeName, safeText } from "../app/text.mjs";
import { size, timeIn } from "../ui/base.mjs";
import { html, useEffect, useState } from "../ui/view.mjs";
import { Moving } from "./transfers.mjs";

/** @typedef {import("../types").Message} Message */

/** How many pictures are kept for blocks that come back into sight. */
const MOST_PICTURES = 100;

/** Addresses of pictures by the number of their message. @type {Map<number, string>} */
const pictures = new Map();

/** @param {number} id @param {Blob} picture */
function keep(id, picture) {
  for (const [oldest, address] of pictures) {
    if (pictures.size < MOST_PICTURES) break;
    URL.revokeObjectURL(address);
    pictures.delete(oldest);
  }
  const address = URL.createObjectURL(picture);
  pictures.set(id, address);
  return address;
}

/** The file that a message brings. @param {{message: Message}} props */
export function FileCard({ message }) {
  const { id, file } = message;
  const [busy, setBusy] = useState(false);
  const [picture, setPicture] = useState(pictures.get(id));
  useEffect(() => {
    if (!file?.picture || picture || (file.state !== "here" && file.state !== "saved")) return;
    const type = file.picture;
    download("file", { id }).then(async (content) => setPicture(keep(id, new Blob([await content.arrayBuffer()], { type }))), () => {});
  }, [file?.picture, file?.state]);
  if (!file) return null;
  const act = async (/** @type {string} */ name) => {
    setBusy(true);
    await call(name, { id }).catch(report);
    setBusy(false);
  };
  const save = async () => {
    setBusy(true);
    try {
      const address = URL.createObjectURL(await download("file", { id }));
      const link = document.createElement("a");
      link.href = address;
      link.download = file.name;
      link.click();
      // The browser has begun to save it by then.
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      report(error);
    }
    setBusy(false);
  };
  return html`<div class="file" data-testid="file">
    ${picture && html`<img src=${picture} alt=${t("pictureNamed", { name: safeName(file.name) })} onError=${() => setPicture(undefined)} />`}
    <div class="line"><span><span aria-hidden="true">${icon(file)}</span> <bdi>${safeName(file.name)}</bdi> <span class="hint">${size(file.size)}${file.kind === "folder" && ` · ${t("filesIn", { count: file.count })}`}</span></span>
      ${file.state === "here" && html`<button type="button" data-testid="save-file" aria-label=${t("saveFile", { name: safeName(file.name) })} disabled=${busy} onClick=${save}>${t("save")}</button>`}
      ${(file.state === "offered" || file.state === "gone") && message.direction === "in" && html`<button type="button" data-testid="fetch-file" aria-label=${t("fetchNamed", { name: safeName(file.name) })} disabled=${busy} onClick=${() => act("fetch-file")}>${t("fetch")}</button>`}
      ${(file.state === "stored" || file.state === "fetched") && html`<button type="button" class="quiet" data-testid="revoke-file" aria-label=${t("revokeNamed", { name: safeName(file.name) })} disabled=${busy} onClick=${() => act("revoke-file")}>${t("revoke")}</button>`}</div>
    ${file.state === "saved" && html`<p class="hint" data-testid="saved">${t("savedAt")} <bdi>${safeText(file.path ?? "")}</bdi></p>`}
    ${(file.state === "stored" || file.state === "fetched" || file.state === "offered" || file.state === "gone") && html`<p class="hint" data-testid="file-state" data-state=${file.state}>${t(/** @type {any} */ (`file.${file.state}`))}${file.until && file.state !== "gone" && ` · ${t("keptUntil", { when: timeIn(file.until, { dateStyle: "medium" }) })}`}</p>`}
    <${Moving} id=${id} file=${file} />
  </div>`;
}

/** Signs for kinds of files, by the ends of their names. @type {[RegExp, string][]} */
const ICONS = [
  [/\.(jpe?g|png|gif|webp|heic|svg|tiff?)$/i, "🖼️"],
  [/\.(mp3|ogg|flac|wav|m4a|opus)$/i, "🎵"],
  [/\.(mp4|mkv|webm|mov|avi)$/i, "🎬"],
  [/\.(zip|tar|gz|xz|zst|7z|rar)$/i, "🗜️"],
  [/\.(pdf|docx?|odt|rtf|txt|md)$/i, "📄"],
  [/\.(xlsx?|ods|csv)$/i, "📊"],
];

/** @param {import("../types").FileView} file */
const icon = ({ name, picture, kind }) => (kind === "folder" ? "📁" : picture ? "🖼️" : ICONS.find(([end]) => end.test(name))?.[1] ?? "📎");
