//! How the agent's records look to people: the API's types made from them.

use jiff::Timestamp;
use petmail_proto::{
    invitation::machine::{Reach, Status},
    outbox::Kind,
    server::account::AccountState,
    time::UnixMillis,
};
use serde_json::{Map, Value};

use super::{
    core::{Core, Invite, Peer, reply},
    records::{Contact, Failure, Mailbox, Message, MessageKey, Stage, Trust, Way},
};
use crate::api::types::{
    ContactState, ContactView, Direction, GivesView, InvitationState, InvitationView, MailboxView,
    MessageState, MessageView, RendezvousView,
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
    ContactView {
        cid: contact.cid,
        petname: contact.petname.clone(),
        display_name: contact.display_name.clone(),
        state,
        reason: contact_reason(state, can_send, can_receive).or_else(|| key_reason(contact)),
        can_send,
        my_verfkey: contact.mine.signing_key.verifying_key().to_string(),
        their_verfkey: contact.theirs.verifying_key.to_string(),
        safety_words: contact.safety_words.clone(),
        since: timestamp(contact.since),
    }
}

/// What to do about a contact that two parties claim to be.
const DISPUTED: &str = "two parties claim to be them, so nothing is sent: one may have stolen keys; compare the safety \
    digits in person, then use contact verify if they agree, or else contact remove and a new invitation";

fn contact_reason(state: ContactState, can_send: bool, can_receive: bool) -> Option<String> {
    let text = match (state, can_send, can_receive) {
        (ContactState::Blocked, _, _) => "you blocked them; nothing is received from them or sent to them",
        (ContactState::Disputed, _, _) => DISPUTED,
        (ContactState::Pending, _, false) => {
            "you have no mailbox, so they cannot write to you; ask a provider for an offer and use accept-mailbox"
        }
        (ContactState::Pending, _, true) => "waiting for their first message; both nodes must be running",
        (_, false, _) => "they have no mailbox yet, so messages to them wait here",
        (ContactState::Confirmed | ContactState::Verified, true, _) => return None,
    };
    Some(text.to_owned())
}

/// What there is to say about keys that were replaced.
fn key_reason(contact: &Contact) -> Option<String> {
    if contact.resets.iter().any(|reset| reset.old_signing_key.is_some()) {
        return Some("your keys were replaced; they do not have the new ones yet".to_owned());
    }
    let reset = contact.their_half.last.as_ref().filter(|_| contact.state == Trust::Confirmed)?;
    let day = timestamp(reset.adopted_at).strftime("%Y-%m-%d");
    Some(format!("they replaced their keys on {day}; compare the safety digits, then use contact verify"))
}

/// Shows an invitation.
pub(crate) fn invitation(invite: &Invite) -> InvitationView {
    let status = invite.machine.status();
    InvitationView {
        id: invite.id,
        petname: invite.petname.clone(),
        code: invite.machine.code().map(|code| code.expose_text().to_owned()),
        state: invitation_state(&status),
        reason: invitation_reason(&status),
        cid: invite.cid,
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

fn invitation_reason(status: &Status) -> Option<String> {
    let text = match status {
        Status::Waiting => "tell the code to the other person; it works once",
        Status::Exchanging => "the other side is there; this takes a moment while both are online",
        Status::Pending(Reach::Both) => "introductions are exchanged; waiting for the first message",
        Status::Pending(Reach::OnlyUs) => "they have no mailbox yet, so you cannot write to them",
        Status::Pending(Reach::OnlyThem) => {
            "you have no mailbox, so they cannot write to you; ask a provider for an offer and use accept-mailbox"
        }
        Status::Failed(failure) => return Some(format!("{failure}; {}", failure.hint())),
        Status::Expired => "nobody answered in time; make a new code",
        Status::Confirmed | Status::Cancelled => return None,
    };
    Some(text.to_owned())
}

/// Shows a message.
pub(crate) fn message(
    peer: &Peer,
    key: MessageKey,
    message: &Message,
    packets: Map<String, Value>,
    now: UnixMillis,
) -> MessageView {
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
        reason: match message.state {
            Stage::Waiting => Some(waiting_reason(peer, now)),
            Stage::Failed(failure) => Some(failure_reason(failure).to_owned()),
            Stage::Sent | Stage::Delivered | Stage::Received => None,
        },
    }
}

/// Says why a message was given up, and what to do.
const fn failure_reason(failure: Failure) -> &'static str {
    match failure {
        Failure::Cancelled => "you cancelled it; retry sends it after all",
        Failure::Expired => "their node has not fetched it for 60 days; retry sends it anew",
    }
}

/// Says why a message waits, and what happens next.
fn waiting_reason(peer: &Peer, now: UnixMillis) -> String {
    if peer.contact.theirs.transports.list.is_empty() {
        return format!("{} has no mailbox yet; it is sent as soon as they have one", peer.contact.petname);
    }
    if peer.outbox.is_held_back() {
        return "earlier messages have to be fetched first; it follows by itself".to_owned();
    }
    match (peer.outbox.retrying_at(), &peer.trouble) {
        (Some(time), Some(trouble)) => {
            format!("{trouble}; the next attempt is in {} s", time.since(now).as_secs())
        }
        _ => "on its way to their mailbox".to_owned(),
    }
}

/// Shows a mailbox, or an offer that is not redeemed yet.
pub(crate) fn mailbox(mailbox: &Mailbox, health: Option<&Result<(), String>>) -> MailboxView {
    let account = mailbox.account.as_ref().map(|account| &account.record);
    let reason = match (account, health) {
        (None, _) if mailbox.refused.is_some() => mailbox.refused.as_ref().map(|reason| {
            format!("{reason}; remove it with mailbox remove {} and ask for another offer", mailbox.id)
        }),
        (None, Some(Err(reason))) => Some(format!("its offer is not redeemed yet: {reason}")),
        (None, _) => Some("its offer is being redeemed".to_owned()),
        (Some(_), Some(Ok(()))) => None,
        (Some(_), Some(Err(reason))) => Some(reason.clone()),
        (Some(_), None) => Some("connecting".to_owned()),
    };
    let retention_days = account.map_or(0, |account| account.retention_seconds / 86_400);
    MailboxView {
        id: mailbox.id,
        url: mailbox.url.to_string(),
        connected: reason.is_none(),
        reason,
        retention_days: u32::try_from(retention_days).unwrap_or(u32::MAX),
        quota_bytes: account.map_or(0, |account| account.quota.bytes),
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

/// Says what is wrong with the node and what to do, most urgent first.
pub(crate) fn problems(
    core: &Core,
    mailboxes: &[MailboxView],
    rendezvous: &RendezvousView,
    now: UnixMillis,
) -> Vec<String> {
    let mut problems = Vec::new();
    if !core.can_receive() {
        problems.push(
            "you have no mailbox: you can send but not receive; ask a provider for an offer and use accept-mailbox"
                .to_owned(),
        );
    }
    for mailbox in mailboxes {
        if let Some(reason) = &mailbox.reason {
            problems.push(format!("mailbox {} ({}) is not connected: {reason}", mailbox.id, mailbox.url));
            let expires_at = core.mailboxes.get(&mailbox.id).and_then(|mailbox| mailbox.expires_at(now));
            problems.extend(expires_at.map(|time| {
                let day = timestamp(time).strftime("%Y-%m-%d");
                format!(
                    "what waits in mailbox {} is deleted there from {day} on, unread: see to it before",
                    mailbox.id
                )
            }));
        }
    }
    for mailbox in mailboxes {
        if mailbox.suspended {
            problems.push(format!(
                "mailbox {} ({}) is suspended by its operator: it takes nothing more; ask who runs it",
                mailbox.id, mailbox.url
            ));
        }
        let notices = mailbox.notices.iter();
        problems
            .extend(notices.map(|notice| format!("the operator of mailbox {} says: {notice}", mailbox.id)));
    }
    let disputed = core.peers.values().filter(|peer| peer.contact.state == Trust::Disputed);
    problems.extend(disputed.map(|peer| format!("{}: {DISPUTED}", peer.contact.petname)));
    for peer in core.peers.values() {
        // Acknowledgements wait too, but concern nobody.
        let waiting = peer.outbox.waiting().filter(|entry| entry.kind == Kind::Content).count();
        if waiting > 0 && (peer.trouble.is_some() || peer.contact.theirs.transports.list.is_empty()) {
            problems.push(format!(
                "{waiting} for {} waiting: {}",
                peer.contact.petname,
                waiting_reason(peer, now)
            ));
        }
    }
    if let Some(reason) = &rendezvous.reason {
        problems.push(format!("invitations wait for the rendezvous server: {reason}"));
    }
    problems
}
