// Files and folders that are to be sent: dropped, pasted or chosen.

import { call, upload } from "../app/api.mjs";
import { t } from "../app/strings.mjs";
import { safeName } from "../app/text.mjs";
import { size } from "../ui/base.mjs";
import { html } from "../ui/view.mjs";

/** @typedef {{path: string, file: File|null}} Part what is in a folder; without a file, a folder */
/** @typedef {{key: number, name: string, file: File|null, parts: Part[], problem: string|null}} Chosen a file, or without one a folder, or why it cannot be sent */

/** The largest file that a message carries, in bytes; larger ones go by way of a storage server. */
const MAX_INLINE_BYTES = 180 * 1024;

/** The most that is in a folder. */
const MAX_PARTS = 200_000;

let keys = 0;

/**
 * What was dropped, pasted or chosen, as it is to be sent.
 * @param {DataTransfer|null} data @param {Iterable<File>} files
 * @returns {Promise<Chosen[]>}
 */
export async function chosen(data, files) {
  // Once it waits for anything, what was dropped is gone.
  const entries = [...(data?.items ?? [])].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry());
  const all = [...files].map((file, index) => ({ file, entry: entries[index] }));
  return Promise.all(all.map(({ file, entry }) => (entry?.isDirectory ? folder(entry) : { key: ++keys, name: file.name, file, parts: [], problem: null })));
}

/** The folder whose files were chosen; none if it is empty. @param {Iterable<File>} files @returns {Chosen[]} */
export function chosenFolder(files) {
  const parts = [...files].map((file) => ({ path: file.webkitRelativePath.replace(/^[^/]*\//, ""), file }));
  const name = parts[0]?.file.webkitRelativePath.split("/")[0];
  return name ? [ofParts(name, parts)] : [];
}

/** @param {FileSystemEntry} entry @returns {Promise<Chosen>} */
async function folder(entry) {
  const parts = /** @type {Part[]} */ ([]);
  try {
    await collect(/** @type {FileSystemDirectoryEntry} */ (entry), "", parts);
  } catch {
    return { ...ofParts(entry.name, []), problem: t("unreadableFolder") };
  }
  return ofParts(entry.name, parts);
}

/** @param {string} name @param {Part[]} parts @returns {Chosen} */
const ofParts = (name, parts) => ({ key: ++keys, name, file: null, parts, problem: parts.length > MAX_PARTS ? t("tooMuchInFolder") : null });

/** @param {FileSystemDirectoryEntry} directory @param {string} path @param {Part[]} parts */
async function collect(directory, path, parts) {
  const reader = directory.createReader();
  // It hands over some at a time, and at last none.
  for (let some; (some = await new Promise((/** @type {(some: FileSystemEntry[]) => void} */ resolve, reject) => reader.readEntries(resolve, reject))).length;) {
    for (const entry of some) {
      if (parts.length > MAX_PARTS) return;
      const at = path + entry.name;
      if (entry.isDirectory) {
        parts.push({ path: at, file: null });
        await collect(/** @type {FileSystemDirectoryEntry} */ (entry), `${at}/`, parts);
      } else {
        parts.push({ path: at, file: await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)) });
      }
    }
  }
}

/** Sends a file or folder. @param {number} cid @param {Chosen} chosen */
export async function send(cid, { name, file, parts }) {
  if (!file) return upload("upload", packed(parts), { cid, name, folder: true });
  if (file.size > MAX_INLINE_BYTES) return upload("upload", file, { cid, name: name || "file" });
  const address = await new Promise((/** @type {(address: string) => void} */ resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  return call("send-file", { cid, name: name || "file", content: address.split(",")[1] ?? "" });
}

/** The list of a folder with its length, and then all files, which are read as they are sent. @param {Part[]} parts */
function packed(parts) {
  const rows = parts.map(({ path, file }) => (file ? { path, size: file.size, modified: Math.max(file.lastModified, 0) } : { path }));
  const list = new TextEncoder().encode(JSON.stringify(rows));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, list.length);
  return new Blob([length, list, ...parts.flatMap(({ file }) => (file ? [file] : []))]);
}

/** What is to be sent. @param {{chosen: Chosen[], remove: (one: Chosen) => void}} props */
export function ToSend({ chosen, remove }) {
  if (!chosen.length) return null;
  return html`<ul class="to-send" aria-label=${t("filesToSend")}>
    ${chosen.map((one) => html`<li key=${one.key} class=${one.problem ? "bad" : ""} data-testid="to-send">
      <span><bdi>${safeName(one.name)}</bdi> <span class="hint">${about(one)}</span>${one.problem && html`<br /><span role="alert">${one.problem}</span>`}</span>
      <button type="button" class="icon" aria-label=${t("removeFile", { name: safeName(one.name) })} onClick=${() => remove(one)}>×</button>
    </li>`)}
  </ul>`;
}

/** @param {Chosen} chosen */
function about({ file, parts }) {
  if (file) return size(file.size);
  const files = parts.flatMap(({ file }) => (file ? [file] : []));
  return `${t("filesIn", { count: files.length })} · ${size(files.reduce((sum, file) => sum + file.size, 0))}`;
}
