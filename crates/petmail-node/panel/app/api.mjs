// The control API: commands by POST with the access token, refusals as `Problem`s.

import { signal } from "../ui/view.mjs";

const KEY = "petmail-token";

/** Browsers let no more than 64 KiB outlast their page. */
const LONGEST_LASTING = 20_000;

/** How the page stands to its node: without a token that works it can only say how to get back. */
export const session = signal(/** @type {"opening"|"open"|"locked"|"expired"} */ ("opening"));

/** A refused or failed command: one line for people, and what to do. */
export class Problem extends Error {
  /** @param {string} problem @param {string} hint @param {string} code */
  constructor(problem, hint, code) {
    super(problem);
    this.hint = hint;
    this.code = code;
  }
}

/** @returns {string|null} */
const token = () => sessionStorage.getItem(KEY);

/**
 * Trades the opener token of the address, if it has one, for the access token. The address loses it at once.
 * @returns {Promise<void>}
 */
export async function openSession() {
  const opener = new URLSearchParams(location.hash.slice(1)).get("open");
  if (opener) {
    location.replace("#/rooms");
    try {
      const traded = await post("/api/open", { opener }, null);
      sessionStorage.setItem(KEY, traded.token);
    } catch (error) {
      // A page that is still open may have been opened anew by hand.
      if (!(error instanceof Problem && error.code === "opener-refused" && token())) {
        session.value = "expired";
        return;
      }
    }
  }
  session.value = token() ? "open" : "expired";
}

/**
 * Sends a command.
 * @param {string} command its name, as in `docs/api/`
 * @param {object} [body]
 * @returns {Promise<any>}
 * @throws {Problem} it was refused, or the node does not answer
 */
export function call(command, body = {}) {
  return post(`/api/v1/${command}`, body, token());
}

/**
 * Sends a command that is to arrive although the page goes; browsers do that with short ones only.
 * @param {string} command @param {object} body
 * @returns {Promise<any>}
 */
export function callLasting(command, body) {
  const text = JSON.stringify(body);
  const lasts = text.length < LONGEST_LASTING;
  return request(`/api/v1/${command}`, text, "application/json", token(), { keepalive: lasts });
}

/**
 * Sends a command whose answer is a file.
 * @param {string} command @param {object} body
 * @returns {Promise<Blob>}
 */
export async function download(command, body) {
  return (await request(`/api/v1/${command}`, JSON.stringify(body), "application/json", token())).blob();
}

/**
 * Sends a file.
 * @param {string} command @param {Blob} file @param {object} [about] what it is, if the command wants to know
 * @returns {Promise<any>}
 */
export async function upload(command, file, about) {
  const headers = about && { "Petmail-File": encodeURIComponent(JSON.stringify(about)) };
  return (await request(`/api/v1/${command}`, file, "application/octet-stream", token(), { headers })).json();
}

/**
 * Opens the stream of changes.
 * @param {AbortSignal} abort
 * @returns {Promise<ReadableStream<Uint8Array>>}
 */
export async function stream(abort) {
  const response = await request("/api/v1/events", "{}", "application/json", token(), { signal: abort });
  if (!response.body) throw new Problem("the stream is empty", "", "unreachable");
  return response.body;
}

/** @param {string} path @param {object} body @param {string|null} bearer */
async function post(path, body, bearer) {
  return (await request(path, JSON.stringify(body), "application/json", bearer)).json();
}

/** @param {string} path @param {BodyInit} body @param {string} type @param {string|null} bearer @param {RequestInit} [how] */
async function request(path, body, type, bearer, how = {}) {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": type, .../** @type {Record<string, string>|undefined} */ (how.headers) };
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  let response;
  try {
    response = await fetch(path, { ...how, method: "POST", headers, body, cache: "no-store" });
  } catch {
    throw new Problem("", "", "unreachable");
  }
  if (response.ok) return response;
  const refusal = await response.json().catch(() => null);
  if (response.status === 401) session.value = "expired";
  if (refusal?.code === "locked") session.value = "locked";
  throw new Problem(refusal?.problem ?? `${response.status}`, refusal?.hint ?? "", refusal?.code ?? "overloaded");
}
