// Makes a chosen picture small enough to go to every contact.

/** The side of the square that a picture is cut to, in pixels. */
const SIDE = 192;

/** What the node takes, in bytes. */
const MAX_BYTES = 24 * 1_024;

/**
 * Cuts the middle square out of a picture and writes it as JPEG.
 * @param {Blob} file
 * @returns {Promise<string>} base64
 */
export async function shrunk(file) {
  const bitmap = await createImageBitmap(file);
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("no canvas");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE);
  context.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  for (const quality of [0.9, 0.75, 0.6, 0.4, 0.2]) {
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
    if (blob.size <= MAX_BYTES) return base64(new Uint8Array(await blob.arrayBuffer()));
  }
  throw new Error("the picture cannot be made small enough");
}

/** @param {Uint8Array} bytes */
const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
