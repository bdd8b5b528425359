//! What replaces keys, slots and accounts, on agents that met without any trouble.

use std::time::Duration;

use petmail_proto::{
    channel::{
        MessageNumber,
        channel_reset::{ChannelReset, MAX_RESETS},
        key_ring::KeyRing,
        payload::{BASIC, CHANNEL_RESET},
    },
    invitation::safety::safety_digits,
    time::UnixMillis,
};
use serde_json::json;

use super::rules::{act, core, met, receive, seal, seal_as_is};
use super::{
    node::Node,
    script::{Deed, Plan},
    world::World,
};
use crate::agent::{
    core::{Arrival, Offer, Step},
    error::Fault,
    records::{Contact, Trust, Way},
};

fn contact(world: &World, node: usize) -> &Contact {
    &world.nodes[node].core.as_ref().unwrap().peers[&1].contact
}

fn reset(world: &mut World, node: usize) {
    world.step(node, |core, step, now, rng| core.reset_channel(step, 1, now, rng)).unwrap();
}

/// A node writes; returns how the message is to be sealed, whatever is queued before it.
fn write(world: &mut World, node: usize) -> Offer {
    world.step(node, |core, step, now, rng| core.send_basic(step, 1, "hello", None, now, rng)).unwrap();
    let peer = &world.nodes[node].core.as_ref().unwrap().peers[&1];
    let newest = peer.outbox.entries().last().unwrap();
    Offer::new(1, peer, &peer.contact.theirs.transports.list[0], newest, 0)
}

/// The message as it travels.
fn sealed(world: &mut World, node: usize, offer: &Offer) -> Vec<u8> {
    let packets = world.packets(node, offer);
    seal_as_is(world, offer, packets)
}

/// Alice's node as it is now, in other hands.
fn stolen(world: &World) -> Node {
    let mut node = Node::new("alice");
    node.disk = world.nodes[0].disk.clone();
    node.core = Some(node.disk.load("alice"));
    let mut step = Step::default();
    node.core.as_mut().unwrap().start_epoch(&mut step, world.now).unwrap();
    node.disk.commit(&step.writes);
    node
}

#[test]
fn a_contact_goes_over_to_new_keys_and_is_to_be_verified_again() {
    let mut world = met([true, true]);
    act(&mut world, 1, |world, step| core!(world, 1).verify(step, 1)).0.unwrap();
    let before = contact(&world, 0).clone();
    reset(&mut world, 0);
    assert!(contact(&world, 0).resets[0].old_signing_key.is_some());
    world.run();
    let (hers, his) = (contact(&world, 0), contact(&world, 1));
    assert!(hers.resets[0].old_signing_key.is_none(), "he has the new ones");
    assert_eq!(his.state, Trust::Confirmed);
    let [new, old] = [hers, &before].map(|contact| contact.mine.signing_key.verifying_key());
    assert_ne!(new, old);
    assert_eq!(his.theirs.verifying_key, new);
    assert_eq!(his.theirs.cid_key.expose_bytes(), hers.mine.cid_key.expose_bytes());
    assert_eq!(his.theirs.transports, hers.mine.transports);
    assert!(before.mine.transports.list.iter().all(|old| !his.theirs.transports.list.contains(old)));
    let digits = safety_digits(&new, &his.mine.signing_key.verifying_key());
    assert_eq!([&hers.safety_words, &his.safety_words], [&digits, &digits]);
}

#[test]
fn a_contact_that_was_away_follows_several_resets() {
    let mut world = met([true, true]);
    let first = write(&mut world, 0);
    (0..MAX_RESETS).for_each(|_| reset(&mut world, 0));
    let (refused, _) =
        act(&mut world, 0, |world, step| core!(world, 0).reset_channel(step, 1, world.now, &mut world.rng));
    assert_eq!(refused.unwrap_err().fault, Fault::Conflict);
    // The last is the first that comes.
    let last = write(&mut world, 0);
    let msg_c = sealed(&mut world, 0, &last);
    assert_eq!(receive(&mut world, 1, &msg_c).0, Arrival::Accepted);
    assert_eq!(contact(&world, 1).their_half.generation, 4);
    let late = seal(&mut world, &first, json!({ BASIC: "hello" }));
    assert_eq!(receive(&mut world, 1, &late).0, Arrival::Damaged);
    world.run();
    assert_eq!(world.nodes[1].disk.texts(1, Way::In).len(), 2, "it comes again");
    // Those that he has make room.
    reset(&mut world, 0);
    assert_eq!(contact(&world, 0).resets.len(), MAX_RESETS);
}

#[test]
fn a_message_signed_by_the_key_before_is_asked_for_again() {
    let mut world = met([true, true]);
    let first = write(&mut world, 0);
    reset(&mut world, 0);
    let second = write(&mut world, 0);
    let msg_c = sealed(&mut world, 0, &second);
    assert_eq!(receive(&mut world, 1, &msg_c).0, Arrival::Accepted);
    let late = seal(&mut world, &first, json!({ BASIC: "hello" }));
    assert_eq!(receive(&mut world, 1, &late).0, Arrival::Retired);
    world.run();
    assert_eq!(world.nodes[1].disk.texts(1, Way::In).len(), 2);
}

/// Whichever of the two comes first, the other shows that something is wrong.
#[test]
fn who_has_stolen_the_keys_can_only_bring_about_a_dispute() {
    for thief_is_first in [false, true] {
        let mut world = met([true, true]);
        let mut thief = stolen(&world);
        reset(&mut world, 0);
        let hers = write(&mut world, 0);
        let honest = sealed(&mut world, 0, &hers);
        std::mem::swap(&mut world.nodes[0], &mut thief);
        reset(&mut world, 0);
        let theirs = write(&mut world, 0);
        let forged = sealed(&mut world, 0, &theirs);
        let (first, second) = if thief_is_first { (forged, honest) } else { (honest, forged) };
        assert_eq!(receive(&mut world, 1, &first).0, Arrival::Accepted);
        let adopted = contact(&world, 1).theirs.verifying_key;
        assert_eq!(receive(&mut world, 1, &second).0, Arrival::Disputed);
        assert_eq!(contact(&world, 1).state, Trust::Disputed);
        assert_eq!(contact(&world, 1).theirs.verifying_key, adopted);
        let (refused, _) = act(&mut world, 1, |world, step| {
            core!(world, 1).send_basic(step, 1, "hello", None, world.now, &mut world.rng)
        });
        assert_eq!(refused.unwrap_err().fault, Fault::Conflict);
        let later = world.now.plus(Duration::from_secs(3_600));
        assert!(core!(world, 1).next_offers(9, later).0.is_empty() && !core!(world, 1).has_acks_due(later));
        act(&mut world, 1, |world, step| core!(world, 1).verify(step, 1)).0.unwrap();
        assert_eq!(contact(&world, 1).state, Trust::Verified, "the people have compared");
    }
}

#[test]
fn a_reset_that_the_known_key_does_not_vouch_for_changes_nothing() {
    let mut world = met([true, true]);
    let mut other = met([true, true]);
    reset(&mut other, 0);
    let strange: Vec<ChannelReset> =
        contact(&other, 0).resets.iter().map(|reset| reset.packet.clone()).collect();
    let offer = write(&mut world, 0);
    for packets in [json!({ CHANNEL_RESET: strange }), json!({ CHANNEL_RESET: vec![&strange[0]; 5] })] {
        let before = contact(&world, 1).theirs.verifying_key;
        let msg_c = seal(&mut world, &offer, packets);
        receive(&mut world, 1, &msg_c);
        assert_eq!(
            (contact(&world, 1).theirs.verifying_key, contact(&world, 1).state),
            (before, Trust::Confirmed)
        );
    }
}

#[test]
fn resets_are_repeated_for_a_month() {
    let mut world = met([true, true]);
    reset(&mut world, 0);
    world.run();
    let forget = |world: &mut World, days: u64| {
        let now = world.now.plus(Duration::from_secs(days * 86_400));
        act(world, 0, |world, step| core!(world, 0).forget_resets(step, now)).0.unwrap()
    };
    let offer = write(&mut world, 0);
    assert!(world.packets(0, &offer).extras.contains_key(CHANNEL_RESET));
    assert!(!forget(&mut world, 28));
    assert!(forget(&mut world, 31) && !forget(&mut world, 31));
    assert!(contact(&world, 0).resets.is_empty());
}

#[test]
fn a_stolen_node_loses_the_account_for_good() {
    let mut world = met([true, true]);
    let thief = stolen(&world).core.unwrap().mailboxes[&1].clone();
    world.plans.push(Plan { at: world.now, deed: Deed::ResetKeys { node: 0 } });
    world.run();
    let mailbox = core!(world, 0).mailboxes[&1].clone();
    let [new, old] = [&mailbox, &thief].map(|mailbox| mailbox.keys.signing.verifying_key());
    assert_ne!(new, old);
    assert!(mailbox.account.as_ref().unwrap().record.slot > 0);
    let theirs = &contact(&world, 1).theirs.transports;
    assert_eq!(theirs, &contact(&world, 0).mine.transports);
    let mut again = thief;
    again.rekeying.clone_from(&{
        let mut world = met([true, true]);
        act(&mut world, 0, |world, step| core!(world, 0).replace_accounts(step, world.now, &mut world.rng))
            .0
            .unwrap();
        core!(world, 0).mailboxes[&1].rekeying.clone()
    });
    assert!(world.servers[0].rekey(&again, world.now, &mut world.rng).is_none());
    assert!(world.servers[0].list(&again, world.now).is_empty());
}

#[test]
fn who_is_blocked_is_not_told_of_the_new_slot_until_it_is_let_in_again() {
    let mut world = met([true, true]);
    let theirs = |world: &mut World| core!(world, 1).peers[&1].contact.theirs.transports.clone();
    let before = theirs(&mut world);
    act(&mut world, 0, |world, step| core!(world, 0).block(step, 1, world.now, &mut world.rng)).0.unwrap();
    world.run();
    let mailbox = core!(world, 0).mailboxes[&1].clone();
    assert!(mailbox.rekeying.is_none() && mailbox.account.unwrap().record.slot > 0);
    assert_eq!(theirs(&mut world), before);
    act(&mut world, 0, |world, step| core!(world, 0).unblock(step, 1)).0.unwrap();
    world.run();
    let after = theirs(&mut world);
    assert!(after.serial > before.serial && after.list[0].token != before.list[0].token);
    assert_eq!(after, core!(world, 0).peers[&1].contact.mine.transports);
}

/// The server has new keys: the account gets a token for the newest, and the contact an address with it.
#[test]
fn a_token_key_that_is_replaced_brings_a_new_slot_of_which_contacts_are_told() {
    let mut world = met([true, true]);
    let follow = |world: &mut World, newest| {
        act(world, 0, |world, step| {
            core!(world, 0).follow_token_key(step, 1, newest, world.now, &mut world.rng)
        })
        .0
        .unwrap()
    };
    let first = world.servers[0].newest_kid();
    assert!(!follow(&mut world, first), "the token is for the newest key");
    let second = world.servers[0].rotate_keys(&mut world.rng);
    assert!(follow(&mut world, second));
    assert!(!follow(&mut world, second), "it was asked for already");
    world.run();
    let record = core!(world, 0).mailboxes[&1].account.clone().unwrap().record;
    assert_eq!((record.kid, record.slot > 0), (second, true));
    let theirs = contact(&world, 1).theirs.transports.clone();
    assert_eq!(theirs, contact(&world, 0).mine.transports);
    assert_eq!(theirs.list.iter().map(|transport| transport.kid).collect::<Vec<_>>(), [second]);
    write(&mut world, 1);
    world.run();
    assert_eq!(world.nodes[0].disk.texts(1, Way::In), ["hello"]);

    // A server that says so again and again does not keep the contacts busy.
    let third = world.servers[0].rotate_keys(&mut world.rng);
    let came = UnixMillis(record.slot);
    for (seconds, follows) in [(3_599, false), (3_600, true)] {
        world.now = came.plus(Duration::from_secs(seconds));
        assert_eq!(follow(&mut world, third), follows, "{seconds} s after the slot came");
    }
}

#[test]
fn a_mailbox_that_is_left_follows_no_token_key() {
    let mut world = met([true, true]);
    let newest = world.servers[0].rotate_keys(&mut world.rng);
    act(&mut world, 0, |world, step| core!(world, 0).leave_mailbox(step, 1, world.now)).0.unwrap();
    let follow = |world: &mut World, id| {
        act(world, 0, |world, step| {
            core!(world, 0).follow_token_key(step, id, newest, world.now, &mut world.rng)
        })
        .0
        .unwrap()
    };
    assert!(!follow(&mut world, 1));
    assert!(!follow(&mut world, 7), "there is no such mailbox");
}

#[test]
fn new_secrets_are_asked_for_once_until_they_are_there() {
    let mut world = met([true, true]);
    let mut asked = Vec::new();
    for new_slot in [false, true, true, false] {
        act(&mut world, 0, |world, step| match new_slot {
            true => core!(world, 0).change_slots(step, world.now, &mut world.rng),
            false => core!(world, 0).take_over_accounts(step, world.now, &mut world.rng),
        })
        .0
        .unwrap();
        asked.push(core!(world, 0).mailboxes[&1].rekeying.clone().unwrap().generation);
    }
    assert!(asked[0] < asked[1] && asked[1] == asked[2] && asked[2] == asked[3], "{asked:?}");
    let late = core!(world, 0).mailboxes[&1].account.clone().unwrap();
    let late = {
        let mut late = late;
        late.record.generation = asked[0];
        late
    };
    act(&mut world, 0, |world, step| core!(world, 0).finish_rekey(step, 1, late)).0.unwrap();
    assert!(core!(world, 0).mailboxes[&1].rekeying.is_some(), "the answer to an earlier request");
}

/// What each announces to the other is encrypted to a key that is erased before it is fetched.
#[test]
fn two_whose_messages_crossed_before_a_weekend_still_reach_each_other() {
    let mut world = met([true, true]);
    let crossing = [0, 1].map(|node| {
        let offer = write(&mut world, node);
        sealed(&mut world, node, &offer)
    });
    for (node, msg_c) in crossing.iter().enumerate() {
        assert_eq!(receive(&mut world, 1 - node, msg_c).0, Arrival::Accepted);
    }
    world.now = world.now.plus(Duration::from_secs(3 * 86_400));
    world.faults_until = world.now;
    for node in [0, 1] {
        world.step(node, |core, step, now, _| core.erase_keys(step, now)).unwrap();
        write(&mut world, node);
    }
    world.run();
    for node in [0, 1] {
        assert_eq!(world.nodes[node].disk.texts(1, Way::In).len(), 2);
        assert!(core!(world, node).peers[&1].outbox.is_empty());
    }
}

#[test]
fn a_key_of_another_life_is_outnumbered() {
    let mut world = met([true, true]);
    // A copy of Bob's node has told Alice a later key.
    let epoch = core!(world, 1).settings.epoch;
    let later = KeyRing::generate(epoch + 1, &mut world.rng).newest();
    world
        .step(0, |core, step, _, _| {
            core.peers.get_mut(&1).unwrap().contact.theirs.receiver_key = later;
            Ok(core.put_contact(step, 1)?)
        })
        .unwrap();
    world.now = world.now.plus(Duration::from_secs(60));
    world.step(1, |core, step, now, _| Ok(core.start_epoch(step, now)?)).unwrap();
    let offer = write(&mut world, 0);
    let msg_c = sealed(&mut world, 0, &offer);
    assert_eq!(receive(&mut world, 1, &msg_c).0, Arrival::Retired);
    let newest = core!(world, 1).peers[&1].keys.newest().kid;
    assert!(newest > later.kid);
    world.nodes[1].tasks.offers_at = Some(world.now);
    world.run();
    assert_eq!(world.nodes[1].disk.texts(1, Way::In), ["hello"]);
}

#[test]
fn a_message_whose_number_was_closed_by_somebody_else_is_shown() {
    let mut world = met([true, true]);
    let offer = write(&mut world, 0);
    let msg_c = sealed(&mut world, 0, &offer);
    let above = MessageNumber { epoch: offer.number().epoch + 1, seqnum: 1 };
    world
        .step(1, |core, step, _, _| {
            core.peers.get_mut(&1).unwrap().progress.windows.close_below(above);
            Ok(core.put_progress(step, 1)?)
        })
        .unwrap();
    for _ in 0..2 {
        assert_eq!(receive(&mut world, 1, &msg_c).0, Arrival::Duplicate);
        assert_eq!(world.nodes[1].disk.texts(1, Way::In), ["hello"]);
    }
}
