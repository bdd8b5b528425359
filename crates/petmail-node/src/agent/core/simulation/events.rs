//! What can happen next, and what happens then: the nodes' tasks, step by step.

use petmail_proto::{
    invitation::{
        machine::{Effect, Input},
        stretch::StretchedCode,
    },
    outbox::Outcome,
    wire::Record,
};
use rand_chacha::rand_core::RngCore;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    mailbox::Refusal,
    node::{Flight, Line, Node},
    script::{Deed, Meeting, Plan, Typed},
    world::{Event, World},
};
use crate::agent::{
    core::{Core, Ended, Offer, OfferSource, Packets, Peer, Wish},
    records::{
        AGENT, BODIES, EXTRAS, MESSAGES, Message, OUTBOX, QUARANTINE, Quarantined, RESTORED_KEY, Trust, Way,
    },
};

impl Node {
    /// The invitations that want a connection and have none.
    pub(super) fn idle_invitations(&self) -> Vec<u32> {
        let ids = self.core.iter().flat_map(|core| core.invitations.keys().copied());
        ids.filter(|id| self.wants_connection(*id) && !self.tasks.lines.contains_key(id)).collect()
    }
}

impl World {
    pub(super) fn possible(&self) -> Vec<Event> {
        let mut events: Vec<_> =
            (0..self.plans.len()).filter(|i| self.can_do(&self.plans[*i])).map(Event::Do).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(core) = &node.core else {
                events.extend((node.away_until <= self.now).then_some(Event::Start(index)));
                continue;
            };
            self.invitation_events(index, node, &mut events);
            events.extend(node.tasks.clock_changed.then_some(Event::NoteClock(index)));
            let tasks = &node.tasks;
            if tasks.offers_at.is_some_and(|time| time <= self.now) {
                events.push(Event::AskOutbox(index));
            }
            let due = |(_, flight): &(usize, &Flight)| flight.due <= self.now;
            for (i, flight) in tasks.flights.iter().enumerate().filter(due) {
                events.push(if flight.ended.is_none() {
                    Event::Deliver(index, i)
                } else {
                    Event::Answer(index, i)
                });
            }
            for (id, mailbox) in &core.mailboxes {
                let server = self.servers.iter().find(|server| server.is(mailbox)).unwrap();
                if mailbox.account.is_none() {
                    events.push(Event::Redeem(index, *id));
                } else if mailbox.rekeying.is_some() {
                    events.push(Event::Rekey(index, *id));
                } else if !server.list(mailbox, self.now).is_empty() {
                    events.push(Event::Fetch(index, *id));
                }
            }
            events.extend((!tasks.sweeps.is_empty()).then_some(Event::SweepAcknowledged(index)));
            let erases =
                |peer: &Peer| peer.keys.erases_at().is_some_and(|time| time <= node.clock.shows(self.now));
            events.extend(core.peers.values().any(erases).then_some(Event::EraseKeys(index)));
            events.extend(tasks.retries_quarantine.then_some(Event::RetryQuarantine(index)));
            events.extend((!core.to_be_told().is_empty()).then_some(Event::TellContacts(index)));
            events.extend((!core.settings.removing.is_empty()).then_some(Event::SweepRemoved(index)));
        }
        events
    }

    fn invitation_events(&self, index: usize, node: &Node, events: &mut Vec<Event>) {
        let tasks = &node.tasks;
        if !tasks.effects.is_empty() {
            events.push(Event::Effect(index));
        }
        if !tasks.stretching.is_empty() {
            events.push(Event::Stretch(index));
        }
        if tasks.reconnect_at <= self.now {
            let idle = node.idle_invitations().into_iter().filter(|id| !node.has_effects(*id));
            events.extend(idle.map(|id| Event::Connect(index, id)));
        }
        for (id, line) in tasks.lines.iter().filter(|(id, _)| !node.has_effects(**id)) {
            if !line.outgoing.is_empty() {
                events.push(Event::Upstream(index, *id));
            }
            if self.rendezvous.has_answer(line.id) {
                events.push(Event::Downstream(index, *id));
            }
        }
        let due = tasks.wakes.iter().filter(|(_, time)| **time <= self.now);
        events.extend(due.map(|(id, _)| Event::Tick(index, *id)));
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Do(plan) => self.carry_out_plan(plan),
            Event::Start(index) => self.start(index),
            Event::Effect(index) => self.effect(index),
            Event::Connect(index, id) => {
                let line = Line { id: self.rendezvous.connect(), outgoing: Default::default() };
                self.nodes[index].tasks.lines.insert(id, line);
                self.input(index, id, Input::Connected);
            }
            Event::Upstream(index, id) => {
                let line = self.nodes[index].tasks.lines.get_mut(&id).unwrap();
                let message = line.outgoing.pop_front().unwrap();
                self.rendezvous.handle(line.id, message);
            }
            Event::Downstream(index, id) => {
                let message = self.rendezvous.answer(self.nodes[index].tasks.lines[&id].id);
                self.input(index, id, Input::Server(message));
            }
            Event::Stretch(index) => self.stretch(index),
            Event::Tick(index, id) => {
                self.nodes[index].tasks.wakes.remove(&id);
                self.input(index, id, Input::Tick);
            }
            Event::AskOutbox(index) => self.ask_outbox(index),
            Event::Deliver(index, flight) => self.deliver(index, flight),
            Event::Answer(index, flight) => {
                let Flight { offer, ended, .. } = self.nodes[index].tasks.flights.remove(flight);
                self.step(index, |core, step, now, rng| {
                    Ok(core.finish_offer(step, &offer, ended.unwrap(), now, rng)?)
                });
                // The task asks again whenever a delivery has ended, noted or not.
                self.nodes[index].tasks.offers_at = Some(self.now);
            }
            Event::Redeem(index, id) => self.redeem(index, id),
            Event::Rekey(index, id) => self.rekey(index, id),
            Event::Fetch(index, id) => self.fetch(index, id),
            Event::SweepAcknowledged(index) => {
                let cid = self.nodes[index].tasks.sweeps.pop().unwrap();
                self.step(index, |core, step, _, _| Ok(core.sweep_acknowledged(step, cid)?));
            }
            Event::NoteClock(index) => self.note_clock(index),
            Event::EraseKeys(index) => {
                self.step(index, |core, step, now, _| core.erase_keys(step, now));
            }
            Event::RetryQuarantine(index) => self.retry_quarantine(index),
            Event::TellContacts(index) => {
                self.step(index, |core, step, now, rng| {
                    let cids = core.to_be_told();
                    cids.iter().try_for_each(|cid| core.announce(step, *cid, now, rng))
                });
            }
            Event::SweepRemoved(index) => self.sweep_removed(index),
        }
    }

    fn start(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.core = Some(node.disk.load(node.name));
        node.tasks.offers_at = Some(self.now);
        let begun = self.step(index, |core, step, now, _| Ok(core.start_epoch(step, now)?));
        if begun.is_none() {
            // A node that cannot begin its epoch does not start.
            return self.crashed(index);
        }
        self.nodes[index].tasks.retries_quarantine = true;
        if self.nodes[index].disk.get(AGENT, RESTORED_KEY).is_some() {
            let taken = self.step(index, |core, step, now, rng| core.take_over_accounts(step, now, rng));
            if taken.is_none() || self.nodes[index].core.is_none() {
                return self.crashed(index);
            }
        }
        let told = self.step(index, |core, step, now, rng| core.replace_lost_keys(step, now, rng));
        if told.is_none() || self.nodes[index].core.is_none() {
            return self.crashed(index);
        }
        let resumed = self.step(index, |core, step, now, rng| core.resume_invitations(step, now, rng));
        if resumed.is_none() {
            self.crashed(index);
        }
    }

    fn effect(&mut self, index: usize) {
        let tasks = &mut self.nodes[index].tasks;
        let (id, effect) = tasks.effects.pop_front().unwrap();
        match effect {
            Effect::Stretch(code) => tasks.stretching.push_back((id, code)),
            Effect::Send(message) => {
                if let Some(line) = tasks.lines.get_mut(&id) {
                    line.outgoing.push_back(message);
                }
            }
            Effect::Disconnect => {
                // What was sent before a farewell arrives.
                if let Some(line) = tasks.lines.remove(&id) {
                    for message in line.outgoing {
                        self.rendezvous.handle(line.id, message);
                    }
                    self.rendezvous.disconnect(line.id);
                }
            }
            Effect::Wake(shown) => {
                let time = self.nodes[index].clock.time(shown);
                self.nodes[index].tasks.wakes.insert(id, time);
            }
            Effect::Greeted(_) => {}
            other => panic!("not for a task: {other:?}"),
        }
    }

    /// Stands in for argon2, which would take all the time there is.
    fn stretch(&mut self, index: usize) {
        let (id, code) = self.nodes[index].tasks.stretching.pop_front().unwrap();
        let stretched = StretchedCode::from_bytes(Sha256::digest(code.expose_text()).into());
        self.input(index, id, Input::Stretched(stretched));
    }

    fn ask_outbox(&mut self, index: usize) {
        let shown = self.nodes[index].clock.shows(self.now);
        if self.nodes[index].core.as_ref().unwrap().has_acks_due(shown) {
            self.step(index, |core, step, now, rng| core.queue_acks(step, now, rng));
            if self.nodes[index].core.is_none() {
                return;
            }
        }
        let room = 1 + self.below(3);
        let node = &mut self.nodes[index];
        let (offers, wake_at) = node.core.as_mut().unwrap().next_offers(room, shown);
        let wake_at = wake_at.map(|shown| node.clock.time(shown));
        node.tasks.offers_at = if offers.len() == room { Some(self.now) } else { wake_at };
        for offer in offers {
            self.ledger.offered(&self.nodes[index], &offer);
            let due = self.travel_end();
            self.nodes[index].tasks.flights.push(Flight { offer, ended: None, due });
        }
    }

    pub(super) fn packets(&self, index: usize, offer: &Offer) -> Packets {
        let read = |keyspace, key: &[u8]| -> Map<String, Value> {
            // The conversation of a removed contact may be gone already.
            let row = self.nodes[index].disk.get(keyspace, key);
            row.map(|row| serde_json::from_slice(row).unwrap()).unwrap_or_default()
        };
        let content = offer.body_key().map(|key| read(BODIES, &key)).unwrap_or_default();
        Packets { content, extras: read(EXTRAS, &offer.extras_key()) }
    }

    fn deliver(&mut self, index: usize, flight: usize) {
        let offer = self.nodes[index].tasks.flights[flight].offer.clone();
        let (arrives, outcome) = self.outcome();
        let refused = if arrives { self.arrive(index, &offer).err() } else { None };
        let refused = refused.map(|why| Outcome::Failed { retry_after: None, is_full: why == Refusal::Full });
        let outcome = refused.unwrap_or(outcome);
        let trouble = (outcome != Outcome::Taken).then(|| "it failed".to_owned());
        let due = self.travel_end();
        let ended = Some(Ended { outcome, trouble });
        self.nodes[index].tasks.flights[flight] = Flight { offer, ended, due };
    }

    /// A message reaches the mailbox, perhaps twice.
    pub(super) fn arrive(&mut self, index: usize, offer: &Offer) -> Result<(), Refusal> {
        let row = offer.extras_key();
        if self.nodes[index].disk.get(EXTRAS, &row).is_none() {
            // It was given up, or acknowledged, before it left.
            return Ok(());
        }
        let packets = self.packets(index, offer);
        let server = self.servers.iter_mut().find(|server| server.serves(offer)).unwrap();
        let msg_a = server.seal(offer, packets);
        let number = server.deliver(&msg_a, self.now)?;
        assert_eq!(server.deliver(&msg_a, self.now), Ok(None));
        self.ledger.taken(index, offer, number, server, self.now);
        Ok(())
    }

    fn redeem(&mut self, index: usize, id: u32) {
        let mailbox = self.nodes[index].core.as_ref().unwrap().mailboxes[&id].clone();
        let server = self.servers.iter_mut().find(|server| server.is(&mailbox)).unwrap();
        let account = server.redeem(&mailbox, &mut self.rng);
        self.step(index, |core, step, _, _| core.finish_redeem(step, id, account));
    }

    /// Asks for new secrets of an account; the answer may be lost.
    fn rekey(&mut self, index: usize, id: u32) {
        let mailbox = self.nodes[index].core.as_ref().unwrap().mailboxes[&id].clone();
        let server = self.servers.iter_mut().find(|server| server.is(&mailbox)).unwrap();
        let account = server.rekey(&mailbox, self.now, &mut self.rng).expect("the account is still its own");
        if !self.is_faulty() || self.below(3) > 0 {
            self.step(index, |core, step, _, _| core.finish_rekey(step, id, account));
        }
    }

    /// Takes in what a mailbox has, in any order while things go wrong, and deletes it there afterwards.
    fn fetch(&mut self, index: usize, id: u32) {
        let mailbox = self.nodes[index].core.as_ref().unwrap().mailboxes[&id].clone();
        let position = self.servers.iter().position(|server| server.is(&mailbox)).unwrap();
        let mut entries = self.servers[position].list(&mailbox, self.now);
        if self.is_faulty() {
            for i in (1..entries.len()).rev() {
                let j = self.below(i + 1);
                entries.swap(i, j);
            }
            entries.truncate(1 + self.below(4));
        }
        let received = self.step(index, |core, step, now, rng| {
            entries.iter().try_for_each(|(_, msg_c)| core.receive(step, msg_c, now, rng).map(drop))
        });
        if received.is_none() || self.nodes[index].core.is_none() {
            return;
        }
        for (number, _) in entries {
            if !self.is_faulty() || self.below(4) > 0 {
                self.servers[position].delete(&mailbox, number);
            }
        }
    }

    fn retry_quarantine(&mut self, index: usize) {
        let rows = self.nodes[index].disk.scan(QUARANTINE, &[]);
        let done = self.step(index, |core, step, now, rng| {
            rows.iter().try_for_each(|(key, row)| {
                let id = u64::from_be_bytes(key.as_slice().try_into().unwrap());
                core.retry(step, id, &Quarantined::decode_record(row).unwrap(), now, rng)
            })
        });
        self.nodes[index].tasks.retries_quarantine = done.is_none();
    }

    fn sweep_removed(&mut self, index: usize) {
        let node = &self.nodes[index];
        let cid = node.core.as_ref().unwrap().settings.removing[0];
        let queued = node.disk.scan(OUTBOX, &cid.to_be_bytes()).into_iter().map(|(key, _)| key).collect();
        let messages = node.disk.scan(MESSAGES, &cid.to_be_bytes()).into_iter();
        let messages = messages.map(|(key, row)| (key, Message::decode_record(&row).unwrap().id)).collect();
        let swept = self.step(index, |_, step, _, _| {
            Core::remove_rows(step, queued, messages);
            Ok(())
        });
        if swept.is_some() && self.nodes[index].core.is_some() {
            let forgotten = self.step(index, |core, step, _, _| Ok(core.forget_mids_of(step, cid)));
            if forgotten != Some(false) || self.nodes[index].core.is_none() {
                return;
            }
            self.step(index, |core, step, _, _| core.removed(step, cid));
        }
    }
}

/// What the people do.
impl World {
    fn can_do(&self, plan: &Plan) -> bool {
        if plan.at > self.now {
            return false;
        }
        let contact = |meeting: usize, side: usize| {
            let Meeting { nodes, invitations, .. } = &self.meetings[meeting];
            invitations[side].is_some_and(|id| self.nodes[nodes[side]].contact_of(id).is_some())
        };
        match plan.deed {
            Deed::Accept { node, .. }
            | Deed::Restart { node }
            | Deed::BackUp { node }
            | Deed::ResetKeys { node }
            | Deed::ChangeProfile { node }
            | Deed::SetClock { node, .. }
            | Deed::Leave { node, .. }
            | Deed::ChangeSlots { node } => self.nodes[node].core.is_some(),
            Deed::Restore { node } => self.backups.contains_key(&node),
            // What a copy has begun to settle with others the node itself never learns.
            Deed::Copy { node } => self.nodes[node].core.as_ref().is_some_and(|core| {
                core.invitations.values().all(|invite| !invite.is_open())
                    && core.mailboxes.values().all(|mailbox| mailbox.account.is_some())
            }),
            Deed::Invite { meeting, side } => {
                self.nodes[self.meetings[meeting].nodes[side]].core.is_some()
                    && self.code_for(meeting, side).is_some()
            }
            Deed::Write { meeting, side } | Deed::Remove { meeting, side } => contact(meeting, side),
            Deed::Cancel { meeting, side } => {
                let Meeting { nodes, invitations, .. } = &self.meetings[meeting];
                invitations[side].is_some() && self.nodes[nodes[side]].core.is_some()
            }
        }
    }

    /// What a side types: nothing for a new code; none at all while the code is not known.
    fn code_for(&self, number: usize, side: usize) -> Option<Option<String>> {
        let meeting = &self.meetings[number];
        let told = || {
            let core = self.nodes[meeting.nodes[0]].core.as_ref()?;
            core.invitation_view(meeting.invitations[0]?).ok()?.code
        };
        match (meeting.code, side) {
            (Typed::HumanMade, _) => Some(Some(format!("77{number}-purple elephants never dance"))),
            (_, 0) => Some(None),
            (Typed::AsTold, _) => told().map(Some),
            (Typed::Wrongly, _) => {
                let told = told()?;
                let (nameplate, _) = told.split_once('-').unwrap();
                Some(Some(format!("{nameplate}-adroitness-aardvark-adviser")))
            }
        }
    }

    fn carry_out_plan(&mut self, plan: usize) {
        let is_done = match self.plans[plan].deed {
            Deed::Accept { node, server } => {
                let offer = self.servers[server].offer(&mut self.rng);
                self.step(node, |core, step, _, rng| core.begin_redeem(step, offer, OfferSource::Person, rng))
                    .is_some()
            }
            Deed::Invite { meeting, side } => {
                let node = self.meetings[meeting].nodes[side];
                let code = self.code_for(meeting, side).unwrap();
                let id = self.step(node, |core, step, now, rng| {
                    core.invite(step, (None, code.as_deref()), Wish::Contact, now, rng)
                });
                self.meetings[meeting].invitations[side] = id;
                id.is_some()
            }
            Deed::Write { meeting, side } => self.write(meeting, side),
            Deed::Remove { meeting, side } => {
                let node = self.meetings[meeting].nodes[side];
                let cid = self.cid(meeting, side);
                let done = self.step(node, |core, step, _, _| core.remove(step, cid)).is_some();
                self.meetings[meeting].is_removed |= done;
                done
            }
            Deed::Cancel { meeting, side } => {
                let Meeting { nodes, invitations, .. } = self.meetings[meeting].clone();
                let id = invitations[side].unwrap();
                // It may be too late: once is enough.
                self.step(nodes[side], |core, step, now, rng| core.cancel_invitation(step, id, now, rng));
                true
            }
            Deed::Restart { node } => {
                self.crashed(node);
                true
            }
            Deed::BackUp { node } => {
                self.backups.insert(node, self.nodes[node].disk.back_up());
                true
            }
            Deed::Restore { node } => {
                self.restore(node);
                true
            }
            Deed::ResetKeys { node } => self.reset_keys(node),
            Deed::SetClock { node, clock } => {
                self.nodes[node].clock = clock;
                self.nodes[node].tasks.clock_changed = true;
                true
            }
            Deed::Leave { node, time } => {
                self.crashed(node);
                self.nodes[node].away_until = self.now.plus(time);
                true
            }
            Deed::Copy { node } => {
                self.copy(node);
                true
            }
            Deed::ChangeProfile { node } => {
                self.step(node, |core, step, now, _| core.set_picture(step, None, now)).is_some()
            }
            Deed::ChangeSlots { node } => {
                self.step(node, |core, step, now, rng| core.change_slots(step, now, rng)).is_some()
            }
        };
        if is_done {
            self.plans.remove(plan);
        }
    }

    /// All that a node did since its backup is forgotten; what it has sent is not undone.
    fn restore(&mut self, index: usize) {
        self.crashed(index);
        self.nodes[index].disk = self.backups.remove(&index).unwrap();
        self.nodes[index].disk.mark_restored(self.now);
        self.ledger.restored(index, &self.nodes[index]);
        let core = self.nodes[index].disk.load(self.nodes[index].name);
        if core.mailboxes.is_empty() {
            // It got its mailbox after the backup, and gets another one now.
            let deed = Deed::Accept { node: index, server: 0 };
            self.plans.push(Plan { at: self.now, deed });
        }
        for meeting in &mut self.meetings {
            let Some(side) = meeting.nodes.iter().position(|node| *node == index) else { continue };
            let contact = |peer: &&Peer| Some(peer.contact.invitation) == meeting.invitations[side];
            match core.peers.values().find(contact).map(|peer| peer.contact.cid) {
                Some(cid) => {
                    meeting.is_restored[side] = true;
                    meeting.texts[side] = self.nodes[index].disk.texts(cid, Way::Out);
                }
                // Its number may be given to another invitation.
                None => meeting.is_removed |= meeting.invitations[side].take().is_some(),
            }
        }
    }

    /// Somebody copies a node's folder, and starts the copy; it is switched off before long.
    fn copy(&mut self, index: usize) {
        let original = &self.nodes[index];
        let (name, disk, clock) = (original.name, original.disk.clone(), original.clock);
        let copy = Node { disk, clock, is_copy: true, ..Node::new(name) };
        self.nodes.push(copy);
        self.ledger.copied(index, self.nodes.len() - 1);
        for meeting in &mut self.meetings {
            if let Some(side) = meeting.nodes.iter().position(|node| *node == index) {
                meeting.is_restored[side] = true;
            }
        }
    }

    /// The node notices that its clock was set, begins a new epoch, and waits no longer for what it has put off.
    fn note_clock(&mut self, index: usize) {
        let noted = self.step(index, |core, step, now, _| {
            core.start_epoch(step, now)?;
            while core.stop_waiting(step, now)? {}
            Ok(())
        });
        if noted.is_some() {
            self.nodes[index].tasks.clock_changed = false;
        }
    }

    /// The panic button, step by step: it may have to be pressed again.
    fn reset_keys(&mut self, node: usize) -> bool {
        if self.step(node, |core, step, now, rng| core.replace_accounts(step, now, rng)).is_none() {
            return false;
        }
        // Backups of before are of no use any more.
        self.backups.remove(&node);
        let cids = |world: &Self| -> Vec<u32> {
            let peers = world.nodes[node].core.iter().flat_map(|core| core.peers.values());
            let known = peers.filter(|peer| peer.contact.state != Trust::Pending);
            known.map(|peer| peer.contact.cid).collect()
        };
        for cid in cids(self) {
            self.step(node, |core, step, now, rng| core.reset_channel(step, cid, now, rng));
        }
        true
    }

    fn write(&mut self, meeting: usize, side: usize) -> bool {
        // A node that was restored does not repeat what it has forgotten.
        let count = self.rng.next_u32();
        let padding = if self.below(8) == 0 { 9_000 } else { 1 };
        let text = format!("meeting {meeting}, side {side}, text {count}{:padding$}", ".");
        let (node, cid) = (self.meetings[meeting].nodes[side], self.cid(meeting, side));
        let sent = self.step(node, |core, step, now, rng| core.send_basic(step, cid, &text, None, now, rng));
        if sent.is_some() {
            self.meetings[meeting].texts[side].push(text);
        }
        sent.is_some()
    }

    fn cid(&self, meeting: usize, side: usize) -> u32 {
        let Meeting { nodes, invitations, .. } = &self.meetings[meeting];
        self.nodes[nodes[side]].contact_of(invitations[side].unwrap()).unwrap().contact.cid
    }
}
