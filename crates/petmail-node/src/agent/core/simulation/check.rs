//! What must hold after every commit, and what must have become of everything in the end.

use std::collections::{BTreeMap, BTreeSet};

use petmail_proto::{
    channel::{
        MessageNumber,
        message::MsgC,
        payload::{BASIC, FILE},
        record::KeyId,
    },
    keys::{MessageId, TransportId},
    outbox::MAX_COPIES,
    time::UnixMillis,
    wire::Record,
};

use super::{mailbox::MailServer, node::Node, script::Meeting, world::World};
use crate::{
    agent::{
        core::{Offer, Peer, acks::LOST, receive::Found},
        records::{
            AGENT, BODIES, CONTACTS, EXTRAS, INVITATIONS, KEYS, Keys, MAILBOXES, MESSAGES, MIDS, Message,
            MessageKey, OUTBOX, PROGRESS, QUARANTINE, Quarantined, Queued, SETTINGS_KEY, Stage, Trust, Way,
            outbox_key,
        },
        view,
    },
    api::types::{InvitationState, InvitationView},
    db::Write,
};

/// What has happened so far, as nobody within the simulation knows it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Which message a number was given to, by node and row of its outbox.
    numbered: BTreeMap<(usize, Vec<u8>), MessageId>,
    /// What mailboxes got of each message, by node, transport, number and key: under which numbers of theirs. A contact that
    /// changes its key while an answer is lost may get one more.
    copies: BTreeMap<(usize, TransportId, MessageNumber, KeyId), Vec<u64>>,
    /// Every message that some mailbox has taken, by node and contact.
    taken: BTreeSet<(usize, u32, MessageNumber)>,
    /// The last message that a transport has taken before any other transport.
    last_at: BTreeMap<(usize, TransportId), MessageNumber>,
    /// Nodes that were restored from a backup.
    restored: BTreeSet<usize>,
    /// Every text received, by node.
    received: BTreeSet<(usize, String)>,
}

impl Ledger {
    /// Checks what a node has just committed.
    pub(super) fn committed(&mut self, index: usize, node: &Node, writes: &[Write]) {
        for write in writes {
            let Some(value) = &write.value else { continue };
            match write.keyspace {
                OUTBOX => {
                    let mid = Queued::decode_record(value).unwrap().entry.mid;
                    let known = *self.numbered.entry((index, write.key.clone())).or_insert(mid);
                    assert_eq!(known, mid, "{}: a message number is used twice", node.name);
                }
                MESSAGES => self.message_written(index, node, &write.key, value),
                _ => {}
            }
        }
        check_memory(node);
    }

    fn message_written(&mut self, index: usize, node: &Node, key: &[u8], value: &[u8]) {
        let (key, message) = (MessageKey::decode(key).unwrap(), Message::decode_record(value).unwrap());
        match message.state {
            Stage::Waiting | Stage::Failed(_) => {}
            Stage::Sent | Stage::Delivered => {
                let is_taken = self.taken.contains(&(index, key.cid, key.number));
                // A copy of the node may have sent it.
                let is_taken = is_taken || self.restored.contains(&index);
                assert!(is_taken, "{}: {key:?} is called sent and no mailbox had it", node.name);
            }
            Stage::Received => {
                let body = node.disk.get(BODIES, &key.encode()).unwrap();
                let packets: serde_json::Value = serde_json::from_slice(body).unwrap();
                if packets.get(LOST).is_some() {
                    assert!(!self.restored.is_empty(), "{}: {key:?} is called lost", node.name);
                    return;
                }
                let said = packets.get(BASIC).unwrap_or_else(|| &packets[FILE]["name"]);
                let text = said.as_str().unwrap().to_owned();
                assert!(self.received.insert((index, text)), "{}: {key:?} is received twice", node.name);
            }
        }
    }

    /// A node has forgotten what came after its backup.
    pub(super) fn restored(&mut self, index: usize, node: &Node) {
        self.restored.insert(index);
        self.received.retain(|(of, _)| *of != index);
        self.copies.retain(|(of, ..), _| *of != index);
        self.last_at.retain(|(of, _), _| *of != index);
        let core = node.disk.load(node.name);
        for cid in core.peers.keys() {
            let texts = node.disk.texts(*cid, Way::In).into_iter();
            self.received.extend(texts.map(|text| (index, text)));
        }
    }

    /// A node's folder was copied: the copy has what the node had.
    pub(super) fn copied(&mut self, from: usize, to: usize) {
        let of = |(index, cid, number): &(usize, u32, MessageNumber)| {
            (*index == from).then_some((to, *cid, *number))
        };
        let taken: Vec<_> = self.taken.iter().filter_map(of).collect();
        self.taken.extend(taken);
        let received: Vec<_> = self.received.iter().filter(|(index, _)| *index == from).cloned().collect();
        self.received.extend(received.into_iter().map(|(_, text)| (to, text)));
        self.restored.extend([from, to]);
    }

    /// Checks that nothing leaves a node before it is on its disk.
    pub(super) fn offered(&self, node: &Node, offer: &Offer) {
        let row = outbox_key(offer.cid, offer.number());
        assert!(node.disk.get(OUTBOX, &row).is_some(), "{}: offered and not on disk", node.name);
    }

    /// Notes what a mailbox has taken, and checks the order and the number of copies.
    pub(super) fn taken(
        &mut self,
        index: usize,
        offer: &Offer,
        copy: Option<u64>,
        server: &MailServer,
        now: UnixMillis,
    ) {
        let number = offer.number();
        let copies = self.copies.entry((index, offer.transport.tid, number, offer.key())).or_default();
        copies.extend(copy);
        let there = copies.iter().filter(|copy| server.has(**copy, now)).count();
        assert!(there <= MAX_COPIES, "{there} copies of {number:?} in one mailbox");
        if self.taken.insert((index, offer.cid, number)) {
            let last = self.last_at.insert((index, offer.transport.tid), number);
            assert!(last < Some(number), "{number:?} was taken after {last:?}");
        }
    }
}

/// Memory and disk say the same after every commit.
pub(super) fn check_memory(node: &Node) {
    let Some(core) = &node.core else { return };
    let same = |keyspace, key: &[u8], bytes: Vec<u8>| {
        assert_eq!(node.disk.get(keyspace, key), Some(&bytes), "{}: {keyspace:?} {key:?}", node.name);
    };
    same(AGENT, SETTINGS_KEY, core.settings.encode_record().unwrap());
    for (cid, peer) in &core.peers {
        same(CONTACTS, &cid.to_be_bytes(), peer.contact.encode_record().unwrap());
        if !core.keyless.contains(cid) {
            same(KEYS, &cid.to_be_bytes(), Keys(peer.keys.clone()).encode_record().unwrap());
        }
        same(PROGRESS, &cid.to_be_bytes(), peer.progress.encode_record().unwrap());
        let queued = peer.outbox.entries().count() + peer.outbox.done();
        assert_eq!(node.disk.scan(OUTBOX, &cid.to_be_bytes()).len(), queued);
        assert_eq!(node.disk.scan(EXTRAS, &cid.to_be_bytes()).len(), queued);
    }
    for (id, invite) in &core.invitations {
        same(INVITATIONS, &id.to_be_bytes(), invite.row().unwrap().encode_record().unwrap());
    }
    for (id, mailbox) in &core.mailboxes {
        same(MAILBOXES, &id.to_be_bytes(), mailbox.encode_record().unwrap());
    }
    let rows = |keyspace| node.disk.scan(keyspace, &[]).len();
    assert_eq!(rows(MIDS), core.mids.len());
    assert_eq!(rows(CONTACTS), core.peers.len());
    assert_eq!(rows(PROGRESS), core.peers.len());
    assert_eq!(rows(INVITATIONS), core.invitations.len());
    assert_eq!(rows(MAILBOXES), core.mailboxes.len());
    assert_eq!(rows(QUARANTINE), core.quarantine.len());
}

/// What must have become of everything once nothing goes wrong any more.
pub(super) fn check_end(world: &World) {
    for node in world.nodes.iter().filter(|node| !node.is_copy) {
        check_rest(node);
    }
    for meeting in &world.meetings {
        check_meeting(world, meeting);
    }
}

/// Nothing is left over.
fn check_rest(node: &Node) {
    let core = node.core.as_ref().unwrap();
    assert_eq!(core.settings.removing, Vec::<u32>::new(), "{}", node.name);
    for (key, row) in node.disk.scan(QUARANTINE, &[]) {
        let row = Quarantined::decode_record(&row).unwrap();
        let message = MsgC::parse(&row.msg_c).unwrap();
        assert_eq!(core.find(&message), Found::Nobody, "{}: {key:?} stays in quarantine", node.name);
    }
    let conversations =
        [OUTBOX, EXTRAS, MESSAGES, BODIES, MIDS].map(|keyspace| node.disk.scan(keyspace, &[]));
    for (key, _) in conversations.iter().flatten() {
        let cid = u32::from_be_bytes(key[..4].try_into().unwrap());
        assert!(core.peers.contains_key(&cid), "{}: a row of removed contact {cid} stays", node.name);
    }
}

/// Both have the other, with all that they wrote, or neither has and both know why.
fn check_meeting(world: &World, meeting: &Meeting) {
    let Some(ids) = meeting.invitations[0].zip(meeting.invitations[1]) else { return };
    if meeting.is_removed {
        return;
    }
    let sides = [(meeting.nodes[0], ids.0), (meeting.nodes[1], ids.1)];
    let contacts = sides.map(|(index, id)| world.nodes[index].contact_of(id));
    if meeting.is_restored != [false; 2] {
        return check_restored(world, meeting, contacts);
    }
    let views =
        sides.map(|(index, id)| world.nodes[index].core.as_ref().unwrap().invitation_view(id).unwrap());
    let [Some(first), Some(second)] = contacts else {
        // An exchange that takes days may end for one side only: then the other says what is missing.
        let is_half = contacts.iter().any(Option::is_some);
        let ended = views.iter().find(|view| view.cid.is_none()).map(|view| view.state);
        let is_told = |view: &InvitationView| {
            view.cid.is_none() || (view.state == InvitationState::Pending && view.reason.is_some())
        };
        let is_late = world.is_slow() && ended == Some(InvitationState::Expired) && views.iter().all(is_told);
        assert!(!is_half || is_late, "half a contact: {views:?}");
        if is_half {
            return;
        }
        let are_both_late = views.iter().all(|view| view.state == InvitationState::Expired);
        assert!(!are_both_late || world.is_slow(), "they would have had time enough: {views:?}");
        for view in &views {
            let is_over = [InvitationState::Failed, InvitationState::Expired, InvitationState::Cancelled];
            assert!(is_over.contains(&view.state), "{view:?}");
            assert!(view.state == InvitationState::Cancelled || view.reason.is_some());
        }
        return;
    };
    assert_eq!(first.contact.safety_words, second.contact.safety_words);
    let is_reset = [first, second].iter().any(|peer| peer.contact.generation > 0);
    assert_eq!(first.contact.safety_words.split(' ').count(), if is_reset { 12 } else { 6 });
    assert!(
        [first, second].iter().all(|peer| peer
            .contact
            .resets
            .iter()
            .all(|reset| reset.old_signing_key.is_none()))
    );
    for (view, peer) in views.iter().zip([first, second]) {
        assert_eq!(view.state, InvitationState::Confirmed, "{view:?}");
        let asks_for_comparison = peer.contact.their_half.last.is_some();
        let reason = view::contact(peer, true).reason;
        assert_eq!(reason.is_some(), asks_for_comparison, "{reason:?}");
        assert!(
            peer.outbox.is_empty(),
            "something waits for {}: {:?} {:?}",
            peer.contact.petname,
            peer.outbox,
            peer.progress
        );
    }
    for (index, peer) in meeting.nodes.iter().zip([second, first]) {
        let own = &world.nodes[*index].core.as_ref().unwrap().own_profile;
        assert_eq!(peer.profiles.heard, own.serial, "what {} tells of themselves", world.nodes[*index].name);
    }
    for from in [0, 1] {
        check_conversation(world, meeting, from, [first.contact.cid, second.contact.cid]);
    }
}

/// After a restore both write to each other again, nothing waits, and nothing is shown twice.
fn check_restored(world: &World, meeting: &Meeting, contacts: [Option<&Peer>; 2]) {
    let [Some(first), Some(second)] = contacts else { return };
    // A backup of before the other side's first mailbox leads nowhere.
    if [first, second].iter().any(|peer| peer.contact.theirs.transports.list.is_empty()) {
        return;
    }
    for peer in [first, second] {
        let is_confirmed = peer.contact.state != Trust::Pending;
        assert!(!is_confirmed || peer.outbox.is_empty(), "{:?} waits", peer.outbox);
    }
    if [first, second].iter().any(|peer| peer.contact.state == Trust::Pending) {
        return;
    }
    for from in [0, 1] {
        let cid = [first, second][1 - from].contact.cid;
        let received = world.nodes[meeting.nodes[1 - from]].disk.texts(cid, Way::In);
        let written = &meeting.texts[from];
        if meeting.is_restored[1 - from] {
            let known: Vec<_> = written.iter().filter(|text| received.contains(text)).collect();
            let shown: Vec<_> = received.iter().filter(|text| written.contains(text)).collect();
            assert_eq!(known, shown, "in order");
        } else {
            let shown: Vec<_> = received.iter().filter(|text| written.contains(text)).collect();
            assert_eq!(shown, written.iter().collect::<Vec<_>>(), "all that it remembers, in order");
        }
    }
}

fn check_conversation(world: &World, meeting: &Meeting, from: usize, cids: [u32; 2]) {
    let texts = |side: usize, way: Way, stage: Stage| -> Vec<String> {
        let messages = world.nodes[meeting.nodes[side]].disk.messages(cids[side]);
        let messages = messages.into_iter().filter(|(key, _, _)| key.way == way);
        messages
            .map(|(key, message, packets)| {
                assert_eq!(message.state, stage, "{key:?}");
                packets[BASIC].as_str().unwrap().to_owned()
            })
            .collect()
    };
    assert_eq!(texts(from, Way::Out, Stage::Delivered), meeting.texts[from], "what was accepted was queued");
    assert_eq!(texts(1 - from, Way::In, Stage::Received), meeting.texts[from], "and arrived, in order");
}
