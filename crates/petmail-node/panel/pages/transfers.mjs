// Files on their way: how far they are, and what can be done about them.

import { call } from "../app/api.mjs";
import { listen, report } from "../app/store.mjs";
import { reasonOf, t } from "../app/strings.mjs";
import { safeName, safeText } from "../app/text.mjs";
import { Trouble, size, useCommand } from "../ui/base.mjs";
import { html, useEffect, useState } from "../ui/view.mjs";

/** @typedef {import("../types").FileRow} FileRow */
/** @typedef {import("../types").FileView} FileView */

/** @param {FileView} file */
const isOnItsWay = ({ state }) => state === "uploading" || state === "fetching" || state === "paused" || state === "failed";

/** How far a file is, and what can be done about it. @param {{id: number, file: FileView}} props */
export function Moving({ id, file }) {
  const command = useCommand();
  const act = (/** @type {string} */ name) => command.run(() => call(name, { id }));
  const button = (/** @type {string} */ name, /** @type {any} */ label) => html`<button type="button" data-testid=${name} disabled=${command.busy}
    aria-label=${t("actOnFile", { act: t(label), name: safeName(file.name) })} onClick=${() => act(name)}>${t(label)}</button>`;
  if (!isOnItsWay(file)) return null;
  const { done, rate, seconds_left: left } = file;
  return html`<div class="moving" data-testid="moving" data-state=${file.state}>
    <progress max=${Math.max(file.size, 1)} value=${done ?? 0} aria-label=${t("progressOf", { name: safeName(file.name) })}></progress>
    <p class="hint">${t(/** @type {any} */ (`file.${file.state}`))}${done !== null && ` · ${t("usedOf", { used: size(done), quota: size(file.size) })}`}${rate !== null && ` · ${size(rate)}/s`}${left !== null && ` · ${t("timeLeft", { time: duration(left) })}`}</p>
    ${file.reason && html`<p class=${file.state === "failed" ? "problem" : "hint"} role=${file.state === "failed" ? "alert" : "status"}>${reasonOf(file, "")}</p>`}
    <div class="row wrap">
      ${file.state === "paused" || file.state === "failed" ? button("resume-file", "goOn") : button("pause-file", "pause")}
      ${button("cancel-file", "cancelFile")}
    </div>
    <${Trouble} problem=${command.problem} />
  </div>`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 120) return t("seconds", { count: seconds });
  return seconds < 7_200 ? t("minutes", { count: Math.round(seconds / 60) }) : t("hours", { count: Math.round(seconds / 3_600) });
}

/** What is being sent in a conversation, and has no message yet. @param {{cid: number}} props */
export function Uploads({ cid }) {
  const [rows, setRows] = useState(/** @type {FileRow[]} */ ([]));
  useEffect(() => {
    let isShown = true;
    const read = () => call("files", { cid, unsent: true }).then(({ files }) => {
      if (isShown) setRows(files.reverse());
    }, report);
    const forget = listen((event) => {
      if (event.event === "lagged") void read();
      else if (event.event === "fileremoved") setRows((old) => old.filter((row) => row.id !== event.id));
      else if (event.cid === cid && event.event === "message") setRows((old) => old.filter((row) => row.id !== event.id));
      else if (event.cid === cid && event.event === "file" && event.until === null && event.direction === "out") {
        setRows((old) => {
          const others = old.filter((row) => row.id !== event.id);
          if (!isOnItsWay(event)) return others;
          return others.length === old.length ? [...old, event] : old.map((row) => (row.id === event.id ? event : row));
        });
      }
    });
    void read();
    return () => {
      isShown = false;
      forget();
    };
  }, [cid]);
  if (!rows.length) return null;
  return html`<ul class="uploads" aria-label=${t("filesOnTheirWay")}>${rows.map((row) => html`<li key=${row.id} data-testid="upload">
    <strong><bdi>${safeName(row.name)}</bdi></strong> <span class="hint">${size(row.size)}</span><${Moving} id=${row.id} file=${row} /></li>`)}</ul>`;
}
