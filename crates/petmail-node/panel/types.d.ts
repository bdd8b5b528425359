// What the control API says, as far as the page uses it. Source: `docs/api/`.

export type ContactState = "pending" | "confirmed" | "verified" | "blocked" | "disputed";
export type Direction = "in" | "out";
export type MessageState = "waiting" | "sent" | "delivered" | "read" | "failed" | "received";

export interface Reason {
  reason: string | null;
  reason_code: string | null;
  reason_detail: string | null;
}

export interface Reply {
  direction: Direction;
  epoch: number;
  seqnum: number;
}

export interface Message extends Reason {
  id: number;
  direction: Direction;
  cid: number;
  petname: string;
  epoch: number;
  seqnum: number;
  when_received: string;
  payload: Record<string, unknown>;
  state: MessageState;
  reply_to: Reply | null;
  file: FileView | null;
}

export interface FileView {
  name: string;
  size: number;
  state: "here" | "uploading" | "stored" | "fetched" | "offered" | "fetching" | "paused" | "failed" | "saved" | "gone";
  kind: "file" | "folder";
  count: number;
  until: string | null;
  done: number | null;
  rate: number | null;
  seconds_left: number | null;
  reason: string | null;
  reason_code: string | null;
  reason_detail: string | null;
  path: string | null;
  picture: string | null;
}

export interface FileRow extends FileView {
  id: number;
  cid: number;
  direction: Direction;
}

export interface Storage {
  mailbox: number;
  url: string;
  quota_bytes: number;
  used_bytes: number;
  reason: string | null;
}

/** A service that its owner has chosen to keep files. */
export interface Service {
  id: number;
  kind: "s3" | "webdav" | "sftp" | "fs";
  address: string;
  has_links: boolean;
  reason: string | null;
}

export interface Room {
  cid: number;
  petname: string;
  state: ContactState;
  unread: number;
  draft: string;
  last: Message | null;
}

export interface Contact extends Reason {
  cid: number;
  petname: string;
  display_name: string;
  picture: string | null;
  fetch_limit_bytes: number;
  offered_mailbox: string | null;
  state: ContactState;
  can_send: boolean;
  safety_words: string;
  since: string;
  last_heard: string | null;
  transports: { url: string; retention_days: number }[];
}

export interface Invitation extends Reason {
  id: number;
  petname: string | null;
  code: string | null;
  state: "waiting" | "exchanging" | "pending" | "confirmed" | "failed" | "expired" | "cancelled";
  cid: number | null;
  expires: string;
  purpose: "contact" | "receive-mailbox" | "give-mailbox";
}

export interface Mailbox extends Reason {
  id: number;
  url: string;
  connected: boolean;
  retention_days: number;
  quota_bytes: number;
  used_bytes?: number | null;
  local: boolean;
  leaving: string | null;
  suspended: boolean;
  notices: string[];
  redeemed: boolean;
  refused: boolean;
  invitation: number | null;
  gives: { total_bytes: number; given_bytes: number } | null;
}

export interface Issue {
  code: string;
  severity: "problem" | "warning" | "notice";
  cid: number | null;
  name: string | null;
  mailbox: number | null;
  count: number | null;
  detail: string | null;
  text: string;
}

export interface Status {
  running: boolean;
  locked?: boolean;
  baseurl: string;
  version: string;
  display_name: string;
  outbox: { waiting: number; sent: number; delivered: number };
  contacts: number;
  open_invitations: number;
  problems: string[];
  issues: Issue[];
  rendezvous: { url: string; connected: boolean; reason: string | null };
}

export interface Check {
  check: string;
  code?: string;
  state: "ok" | "warning" | "problem";
  detail: string;
  hint: string | null;
}

export interface Settings {
  display_name: string;
  picture: string | null;
  privacy: "normal" | "high";
  read_receipts: boolean;
  copies_everywhere: boolean;
  rendezvous: string;
  encrypted: boolean;
  basedir: string;
  version: string;
}
