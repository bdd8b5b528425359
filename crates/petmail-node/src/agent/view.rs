//! How the agent's records look to people: the API's types made from them.

pub(crate) mod file;
pub(crate) mod reasons;

use jiff::Timestamp;
use petmail_proto::{
    channel::record::TransportRecord,
    invitation::{
        introduction::Purpose,
        machine::{Reach, Status},
    },
    outbox::Kind,
    server::account::AccountState,
    time::UnixMillis,
};
use serde_json::{Map, Value};

use self::reasons::{Reason, issue, parts};
use super::{
    core::{Core, Invite, Peer, reply},
    records::{Contact, Failure, Mailbox, Message, MessageKey, Stage, Trust, Way},
};
use crate::api::types::{
    ContactState, ContactView, Direction, GivesView, InvitationPurpose, InvitationState, InvitationView,
    IssueView, MailboxView, MessageState, MessageView, RendezvousView, Severity, TransportView,
};

/// Converts a time; what lies outside the calendar's range becomes the epoch.
pub(crate) fn timestamp(time: UnixMillis) -> Timestamp {
    let millis = i64::try_from(time.0).unwrap_or_default();
    Timestamp::from_millisecond(millis).unwrap_or_default()
}

/// Encodes the packets of a message for its row.
pub(crate) fn encode_packets(packets: &Map<String, Value>) -> Vec<u8> {
    Value::from(packets.clone()).to_string().into_bytes()
}

/// Shows a contact. `can_receive` tells whether this agent has a mailbox.
pub(crate) fn contact(peer: &Peer, can_receive: bool) -> ContactView {
    let contact = &peer.contact;
    let can_send = !contact.theirs.transports.list.is_empty();
    let state = match contact.state {
        Trust::Pending => ContactState::Pending,
        Trust::Confirmed => ContactState::Confirmed,
        Trust::Verified => ContactState::Verified,
        Trust::Blocked => ContactState::Blocked,
        Trust::Disputed => ContactState::Disputed,
    };
    let reason = contact_reason(state, can_send, can_receive).or_else(|| key_reason(contact));
    let (reason, reason_code, reason_detail) = parts(reason);
    ContactView {
        cid: contact.cid,
        petname: contact.petname.clone(),
        display_name: contact.display_name.clone(),
        picture: peer.profiles.picture.clone(),
        fetch_limit_bytes: peer.fetch_limit,
        offered_mailbox: peer.offered.as_ref().map(|offer| offer.url.to_string()),
        state,
        reason,
        reason_code,
        reason_detail,
        can_send,
        my_verfkey: contact.mine.signing_key.verifying_key().to_string(),
        their_verfkey: contact.theirs.verifying_key.to_string(),
        safety_words: contact.safety_words.clone(),
        since: timestamp(contact.since),
        last_heard: peer.heard.map(timestamp),
        transports: contact.theirs.transports.list.iter().map(transport).collect(),
    }
}

/// Shows where messages to a contact go.
fn transport(transport: &TransportRecord) -> TransportView {
    TransportView { url: transport.url.to_string(), retention_days: transport.retention_seconds / 86_400 }
}

/// What to do about a contact that two parties claim to be.
const DISPUTED: &str = "two parties claim to be them, so nothing is sent: one may have stolen keys; compare the safety \
    digits in person, then use contact verify if they agree, or else contact remove and a new invitation";

const NO_OWN_MAILBOX: &str =
    "you have no mailbox, so they cannot write to you; ask a provider for an offer and use accept-mailbox";

fn contact_reason(state: ContactState, can_send: bool, can_receive: bool) -> Option<Reason> {
    Some(match (state, can_send, can_receive) {
        (ContactState::Blocked, _, _) => Reason::plain(
            "contact-blocked",
            "you blocked them; nothing is received from them or sent to them",
        ),
        (ContactState::Disputed, _, _) => Reason::plain("contact-disputed", DISPUTED),
        (ContactState::Pending, _, false) => Reason::plain("no-own-mailbox", NO_OWN_MAILBOX),
        (ContactState::Pending, _, true) => {
            Reason::plain("first-message", "waiting for their first message; both nodes must be running")
        }
        (_, false, _) => {
            Reason::plain("no-mailbox-there", "they have no mailbox yet, so messages to them wait here")
        }
        (ContactState::Confirmed | ContactState::Verified, true, _) => return None,
    })
}

/// What there is to say about keys that were replaced.
fn key_reason(contact: &Contact) -> Option<Reason> {
    if contact.resets.iter().any(|reset| reset.old_signing_key.is_some()) {
        let text = "your keys were replaced; they do not have the new ones yet";
        return Some(Reason::plain("own-keys-replaced", text));
    }
    let reset = contact.their_half.last.as_ref().filter(|_| contact.state == Trust::Confirmed)?;
    let day = timestamp(reset.adopted_at).strftime("%Y-%m-%d").to_string();
    let text =
        format!("they replaced their keys on {day}; compare the safety digits, then use contact verify");
    Some(Reason::with("their-keys-replaced", day, text))
}

/// Shows an invitation.
pub(crate) fn invitation(invite: &Invite) -> InvitationView {
    let status = invite.machine.status();
    let (reason, reason_code, reason_detail) = parts(invitation_reason(&status));
    InvitationView {
        id: invite.id,
        petname: invite.petname.clone(),
        code: invite.machine.code().map(|code| code.expose_text().to_owned()),
        state: invitation_state(&status),
        reason,
        reason_code,
        reason_detail,
        cid: invite.cid,
        purpose: match invite.machine.purpose() {
            Purpose::MailboxCustomer => InvitationPurpose::ReceiveMailbox,
            Purpose::MailboxProvider => InvitationPurpose::GiveMailbox,
            Purpose::Contact | Purpose::OwnDevice => InvitationPurpose::Contact,
        },
        expires: timestamp(invite.machine.expires()),
    }
}

fn invitation_state(status: &Status) -> InvitationState {
    match status {
        Status::Waiting => InvitationState::Waiting,
        Status::Exchanging => InvitationState::Exchanging,
        Status::Pending(_) => InvitationState::Pending,
        Status::Confirmed => InvitationState::Confirmed,
        Status::Failed(_) => InvitationState::Failed,
        Status::Expired => InvitationState::Expired,
        Status::Cancelled => InvitationState::Cancelled,
    }
}

fn invitation_reason(status: &Status) -> Option<Reason> {
    Some(match status {
        Status::Waiting => Reason::plain("tell-code", "tell the code to the other person; it works once"),
        Status::Exchanging => {
            Reason::plain("exchanging", "the other side is there; this takes a moment while both are online")
        }
        Status::Pending(Reach::Both) => {
            Reason::plain("first-message", "introductions are exchanged; waiting for the first message")
        }
        Status::Pending(Reach::OnlyUs) => {
            Reason::plain("no-mailbox-there", "they have no mailbox yet, so you cannot write to them")
        }
        Status::Pending(Reach::OnlyThem) => Reason::plain("no-own-mailbox", NO_OWN_MAILBOX),
        Status::Failed(failure) => {
            let text = format!("{failure}; {}", failure.hint());
            Reason::with("invitation-failed", text.clone(), text)
        }
        Status::Expired => Reason::plain("nobody-answered", "nobody answered in time; make a new code"),
        Status::Confirmed | Status::Cancelled => return None,
    })
}

/// Shows a message.
pub(crate) fn message(
    peer: &Peer,
    key: MessageKey,
    message: &Message,
    mut packets: Map<String, Value>,
    now: UnixMillis,
) -> MessageView {
    let file = file::shown(&mut packets);
    let reason = match message.state {
        Stage::Waiting => Some(waiting_reason(peer, now)),
        Stage::Failed(failure) => Some(failure_reason(failure)),
        Stage::Sent | Stage::Delivered | Stage::Received => None,
    };
    let (reason, reason_code, reason_detail) = parts(reason);
    MessageView {
        id: message.id,
        direction: match key.way {
            Way::In => Direction::In,
            Way::Out => Direction::Out,
        },
        cid: key.cid,
        petname: peer.contact.petname.clone(),
        room: None,
        reply_to: reply::shown(key.way, &packets),
        file,
        epoch: key.number.epoch,
        seqnum: key.number.seqnum,
        when_received: timestamp(message.when),
        payload: packets,
        state: match message.state {
            Stage::Waiting => MessageState::Waiting,
            Stage::Sent => MessageState::Sent,
            Stage::Delivered if key.number <= peer.progress.read_there => MessageState::Read,
            Stage::Delivered => MessageState::Delivered,
            Stage::Received if key.number <= peer.progress.read => MessageState::Read,
            Stage::Failed(_) => MessageState::Failed,
            Stage::Received => MessageState::Received,
        },
        reason,
        reason_code,
        reason_detail,
    }
}

/// Says why a message was given up, and what to do.
fn failure_reason(failure: Failure) -> Reason {
    match failure {
        Failure::Cancelled => Reason::plain("cancelled", "you cancelled it; retry sends it after all"),
        Failure::Expired => {
            Reason::plain("not-fetched", "their node has not fetched it for 60 days; retry sends it anew")
        }
    }
}

/// Says why a message waits, and what happens next.
fn waiting_reason(peer: &Peer, now: UnixMillis) -> Reason {
    if peer.contact.theirs.transports.list.is_empty() {
        let text =
            format!("{} has no mailbox yet; it is sent as soon as they have one", peer.contact.petname);
        return Reason::plain("no-mailbox-there", &text);
    }
    if peer.outbox.is_held_back() {
        let text = "earlier messages have to be fetched first; it follows by itself";
        return Reason::plain("held-back", text);
    }
    match (peer.outbox.retrying_at(), &peer.trouble) {
        (Some(time), Some(trouble)) => {
            let seconds = time.since(now).as_secs();
            let text = format!("{trouble}; the next attempt is in {seconds} s");
            Reason::with("delivery-trouble", trouble, text)
        }
        _ => Reason::plain("on-its-way", "on its way to their mailbox"),
    }
}

/// Shows a mailbox, or an offer that is not redeemed yet.
pub(crate) fn mailbox(mailbox: &Mailbox, health: Option<&Result<(), String>>) -> MailboxView {
    let account = mailbox.account.as_ref().map(|account| &account.record);
    let (reason, reason_code, reason_detail) = parts(mailbox_reason(mailbox, health));
    let retention_days = account.map_or(0, |account| account.retention_seconds / 86_400);
    MailboxView {
        id: mailbox.id,
        url: mailbox.url.to_string(),
        connected: reason.is_none(),
        reason,
        reason_code,
        reason_detail,
        retention_days: u32::try_from(retention_days).unwrap_or(u32::MAX),
        quota_bytes: account.map_or(0, |account| account.quota.bytes),
        used_bytes: account.and_then(|account| account.used_bytes),
        leaving: mailbox.stays_until().map(timestamp),
        suspended: account.is_some_and(|account| account.state == AccountState::Suspended),
        notices: account.map_or_else(Vec::new, |account| account.notices.clone()),
        local: mailbox.is_local,
        redeemed: account.is_some(),
        refused: mailbox.refused.is_some(),
        invitation: mailbox.invitation,
        gives: account.and_then(|account| account.allowance).map(|allowance| GivesView {
            total_bytes: allowance.total_bytes,
            given_bytes: allowance.given_bytes,
        }),
    }
}

fn mailbox_reason(mailbox: &Mailbox, health: Option<&Result<(), String>>) -> Option<Reason> {
    if let (None, Some(refusal)) = (&mailbox.account, &mailbox.refused) {
        let text =
            format!("{refusal}; remove it with mailbox remove {} and ask for another offer", mailbox.id);
        return Some(Reason::with("offer-refused", refusal, text));
    }
    match (&mailbox.account, health) {
        (None, Some(Err(reason))) => {
            let text = format!("its offer is not redeemed yet: {reason}");
            Some(Reason::with("not-redeemed", reason, text))
        }
        (None, _) => Some(Reason::plain("redeeming", "its offer is being redeemed")),
        (Some(_), Some(Ok(()))) => None,
        (Some(_), Some(Err(reason))) => Some(Reason::with("mailbox-trouble", reason, reason.clone())),
        (Some(_), None) => Some(Reason::plain("connecting", "connecting")),
    }
}

/// Says what is wrong with the node and what to do, most urgent first.
pub(crate) fn issues(
    core: &Core,
    mailboxes: &[MailboxView],
    rendezvous: &RendezvousView,
    now: UnixMillis,
) -> Vec<IssueView> {
    let mut issues = Vec::new();
    if !core.can_receive() {
        issues.push(issue(
            "no-mailbox",
            Severity::Problem,
            "you have no mailbox: you can send but not receive; ask a provider for an offer and use accept-mailbox",
        ));
    }
    issues.extend(mailboxes.iter().flat_map(|mailbox| away(core, mailbox, now)));
    issues.extend(mailboxes.iter().flat_map(operators_words));
    let disputed = core.peers.values().filter(|peer| peer.contact.state == Trust::Disputed);
    issues.extend(disputed.map(|peer| {
        let petname = &peer.contact.petname;
        issue("contact-disputed", Severity::Problem, format!("{petname}: {DISPUTED}"))
            .of_contact(peer.contact.cid, petname)
    }));
    issues.extend(core.peers.values().filter_map(|peer| kept_waiting(peer, now)));
    if let Some(reason) = &rendezvous.reason {
        let text = format!("invitations wait for the rendezvous server: {reason}");
        issues.push(issue("rendezvous-away", Severity::Warning, text).detailed(reason));
    }
    issues
}

/// Says that a mailbox is not connected, and from when on what waits there is lost.
fn away(core: &Core, mailbox: &MailboxView, now: UnixMillis) -> Vec<IssueView> {
    let MailboxView { id, url, .. } = mailbox;
    let Some(reason) = &mailbox.reason else { return Vec::new() };
    let detail = mailbox.reason_detail.as_ref().unwrap_or(reason);
    let text = format!("mailbox {id} ({url}) is not connected: {reason}");
    let mut issues = vec![issue("mailbox-away", Severity::Problem, text).of_mailbox(*id).detailed(detail)];
    let expires_at = core.mailboxes.get(id).and_then(|mailbox| mailbox.expires_at(now));
    issues.extend(expires_at.map(|time| {
        let day = timestamp(time).strftime("%Y-%m-%d").to_string();
        let text =
            format!("what waits in mailbox {id} is deleted there from {day} on, unread: see to it before");
        issue("mailbox-expiring", Severity::Problem, text).of_mailbox(*id).detailed(day)
    }));
    issues
}

/// What the operator of a mailbox has done or says.
fn operators_words(mailbox: &MailboxView) -> Vec<IssueView> {
    let MailboxView { id, url, .. } = mailbox;
    let mut issues = Vec::new();
    if mailbox.suspended {
        let text = format!(
            "mailbox {id} ({url}) is suspended by its operator: it takes nothing more; ask who runs it"
        );
        issues.push(issue("mailbox-suspended", Severity::Problem, text).of_mailbox(*id));
    }
    issues.extend(mailbox.notices.iter().map(|notice| {
        let text = format!("the operator of mailbox {id} says: {notice}");
        issue("operator-notice", Severity::Notice, text).of_mailbox(*id).detailed(notice)
    }));
    issues
}

/// Says that messages for a contact wait longer than they should.
fn kept_waiting(peer: &Peer, now: UnixMillis) -> Option<IssueView> {
    // Acknowledgements wait too, but concern nobody.
    let waiting = peer.outbox.waiting().filter(|entry| entry.kind == Kind::Content).count();
    let has_trouble = peer.trouble.is_some() || peer.contact.theirs.transports.list.is_empty();
    if waiting == 0 || !has_trouble {
        return None;
    }
    let Contact { cid, petname, .. } = &peer.contact;
    let reason = waiting_reason(peer, now);
    let text = format!("{waiting} for {petname} waiting: {}", reason.text());
    let issue = issue("messages-waiting", Severity::Warning, text).of_contact(*cid, petname);
    Some(IssueView { count: Some(waiting as u64), ..issue.detailed(reason.detail()) })
}
