// Texts of other people: shown as text, links made of what is surely an address, nothing that turns a line around.

/** Marks that change the direction or the place of what follows, and characters that are not to be seen. */
const TREACHEROUS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/**
 * Makes a name safe for one line.
 * @param {string} name
 */
export const safeName = (name) => name.replace(TREACHEROUS, "\ufffd").replace(/\s+/g, " ");

/**
 * Makes a text safe: what cannot be seen is shown, and nothing overrides directions. Line ends and tabs stay.
 * @param {string} text
 */
export const safeText = (text) => text.replace(/\r\n?/g, "\n").replace(TREACHEROUS, "\ufffd");

/** Up to white space or what no address contains; brackets and punctuation at the end belong to the sentence. */
const ADDRESS = /https?:\/\/[^\s<>"'`\u0000-\u001f\ufffd]+/giu;
const SENTENCE_END = /[.,;:!?)\]}'"»“”…]+$/u;

/**
 * Cuts a text into plain parts and links.
 * @param {string} text already safe
 * @returns {{text: string, href?: string}[]}
 */
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = match[0].replace(SENTENCE_END, "");
    const href = safeHref(address);
    if (!href) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/**
 * Returns the address that a link may lead to: http or https, no name and password that could pass for a host.
 * @param {string} address
 */
function safeHref(address) {
  try {
    const url = new URL(address);
    const plain = !url.username && !url.password && url.hostname;
    return plain && (url.protocol === "http:" || url.protocol === "https:") ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * Returns the text of a message, or null if this version does not understand it.
 * @param {{payload: Record<string, unknown>}} message
 * @returns {string|null}
 */
export const textOf = (message) => (typeof message.payload.basic === "string" ? message.payload.basic : null);
