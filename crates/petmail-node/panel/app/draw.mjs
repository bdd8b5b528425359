// Draws a picture anew: square, small, and without what a camera has noted in its file.

const SIDE = 256;

/** What the node takes. */
const MOST_BYTES = 16_384;

/** Each smaller than the one before. @type {[string, number][]} */
const WAYS = [["image/webp", 0.85], ["image/webp", 0.6], ["image/jpeg", 0.75], ["image/jpeg", 0.5], ["image/jpeg", 0.25]];

/**
 * The middle of a picture, in base64; none if this is no picture.
 * @param {Blob} file @returns {Promise<string|null>}
 */
export async function drawn(file) {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return null;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const side = Math.min(picture.width, picture.height);
  const pen = canvas.getContext("2d");
  if (!pen) return null;
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, SIDE, SIDE);
  pen.drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  for (const [type, quality] of WAYS) {
    const blob = await new Promise((/** @type {(blob: Blob|null) => void} */ resolve) => canvas.toBlob(resolve, type, quality));
    // A browser that does not know a kind makes another.
    if (blob?.type === type && blob.size <= MOST_BYTES) return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
  }
  return null;
}
