// The stream of changes. All tabs of this browser share one: browsers open few connections to one address, and each stream
// holds one. The tab that has the lock reads it and passes everything on; when it closes, another one takes over.

import { signal } from "../ui/view.mjs";
import { session, stream } from "./api.mjs";

/** Whether changes come in. */
export const connection = signal(/** @type {"connecting"|"connected"|"lost"} */ ("connecting"));

const LONGEST_PAUSE_MS = 8_000;
const channel = new BroadcastChannel("petmail-events");

/**
 * Follows all changes for as long as the page lives.
 * @param {(event: any) => void} handle gets each change; `{event: "lagged"}` means to list anew
 */
export function follow(handle) {
  /** @param {any} message */
  const take = (message) => {
    if (message.connection) connection.value = message.connection;
    if (message.connection === "connected" && session.value === "locked") session.value = "open";
    if (message.event) handle(message.event);
  };
  let leads = false;
  channel.onmessage = ({ data }) => {
    // A tab that has just come asks how things are.
    if (data === "hello") {
      if (leads) channel.postMessage({ connection: connection.value });
    } else take(data);
  };
  channel.postMessage("hello");
  void navigator.locks.request("petmail-events", async () => {
    leads = true;
    await lead((message) => {
      take(message);
      channel.postMessage(message);
    });
  });
}

/** @param {(message: any) => void} tell */
async function lead(tell) {
  let pause = 250;
  while (!isExpired()) {
    try {
      const body = await stream(new AbortController().signal);
      tell({ connection: "connected" });
      // What happened before the stream was open is not in it.
      tell({ event: { event: "lagged" } });
      pause = 250;
      for await (const event of events(body)) tell({ event });
    } catch {
      // It is tried again below.
    }
    if (isExpired()) return;
    tell({ connection: "lost" });
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

/** @param {ReadableStream<Uint8Array>} body */
async function* events(body) {
  const reader = body.getReader();
  const lines = new Lines();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const line of lines.push(decoder.decode(value, { stream: true }))) {
      if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
    }
  }
}

/** Cuts a text that comes in pieces into lines. */
export class Lines {
  #rest = "";

  /** @param {string} piece @returns {string[]} the lines that it completes */
  push(piece) {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.map((line) => line.replace(/\r$/, ""));
  }
}

/** Tells whether the page has lost its token. */
const isExpired = () => session.value === "expired";
