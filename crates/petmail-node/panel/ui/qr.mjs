// A QR code, drawn from the squares that the node gives.

import { call } from "../app/api.mjs";
import { report } from "../app/store.mjs";
import { t } from "../app/strings.mjs";
import { html, useEffect, useState } from "./view.mjs";

/** The empty border that readers need, in squares. */
const QUIET = 4;

/** @param {{text: string}} props */
export function Qr({ text }) {
  const [code, setCode] = useState(/** @type {{size: number, rows: string[]}|null} */ (null));
  useEffect(() => void call("qr", { text }).then(setCode, report), [text]);
  if (!code) return null;
  const whole = code.size + 2 * QUIET;
  const path = code.rows.map((row, y) => [...row].map((square, x) => (square === "1" ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : "")).join("")).join("");
  return html`<svg class="qr" viewBox="0 0 ${whole} ${whole}" role="img" aria-label=${t("qr")} shape-rendering="crispEdges">
    <rect width=${whole} height=${whole} fill="#fff" /><path d=${path} fill="#000" />
  </svg>`;
}

/**
 * A button that reads a QR code from a picture; a telephone offers its camera.
 * @param {{found: (text: string) => void, command: ReturnType<typeof import("./base.mjs").useCommand>}} props
 */
export function QrPicture({ found, command }) {
  const [none, setNone] = useState(false);
  const read = async (/** @type {any} */ event) => {
    const [picture] = event.target.files;
    event.target.value = "";
    if (!picture) return;
    await command.run(async () => {
      const [text] = await readQr(picture);
      setNone(!text);
      if (text) found(text);
    });
  };
  return html`<label class="button">${t("readQr")}<input type="file" class="sr" accept="image/*" capture="environment" data-testid="qr-file" onChange=${read} /></label>
    ${none && html`<p role="status">${t("noQr")}</p>`}`;
}

/** The largest side of a picture that the node reads, in pixels: its brightness fits into one request. */
const LARGEST = 600;

/**
 * Reads the QR codes of a picture.
 * @param {Blob} picture
 * @returns {Promise<string[]>} their texts
 */
async function readQr(picture) {
  const bitmap = await createImageBitmap(picture);
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context) return [];
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  let luma = "";
  for (let at = 0; at < data.length; at += 4) {
    luma += String.fromCharCode(Math.round(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]));
  }
  return (await call("qr/read", { width, height, luma: btoa(luma) })).texts;
}
