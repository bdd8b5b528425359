//! A rendezvous server that forgets nothing, in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petmail_proto::invitation::wormhole::{
    Body, ClientMessage, MailboxId, Nameplate, Phase, ServerMessage, Side,
};

#[derive(Debug, Default)]
struct Connection {
    side: Option<Side>,
    room: Option<MailboxId>,
    answers: VecDeque<ServerMessage>,
}

#[derive(Debug, Default)]
struct Room {
    sides: BTreeSet<Side>,
    closed: BTreeSet<Side>,
    said: Vec<(Side, Phase, Body)>,
}

#[derive(Debug, Default)]
pub(super) struct Rendezvous {
    last_number: u64,
    plates: BTreeMap<Nameplate, (MailboxId, BTreeSet<Side>)>,
    rooms: BTreeMap<MailboxId, Room>,
    connections: BTreeMap<u64, Connection>,
}

impl Rendezvous {
    pub(super) fn connect(&mut self) -> u64 {
        let id = self.fresh_number();
        let welcome = ServerMessage::Welcome { welcome: Default::default() };
        self.connections.insert(id, Connection { answers: [welcome].into(), ..Connection::default() });
        id
    }

    pub(super) fn disconnect(&mut self, id: u64) {
        self.connections.remove(&id);
    }

    pub(super) fn has_answer(&self, id: u64) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.answers.is_empty())
    }

    pub(super) fn answer(&mut self, id: u64) -> ServerMessage {
        self.connections.get_mut(&id).unwrap().answers.pop_front().unwrap()
    }

    pub(super) fn handle(&mut self, id: u64, message: ClientMessage) {
        if let ClientMessage::Bind { side, .. } = message {
            self.connections.get_mut(&id).unwrap().side = Some(side);
            return;
        }
        let side = self.connections[&id].side.clone().expect("clients bind first");
        match message {
            ClientMessage::Allocate => {
                let nameplate = Nameplate::new(self.fresh_number().to_string()).unwrap();
                self.claim(&nameplate, &side).unwrap();
                self.say(id, ServerMessage::Allocated { nameplate });
            }
            ClientMessage::Claim { nameplate } => {
                let answer = self.claim(&nameplate, &side).map_or_else(
                    || ServerMessage::Error { error: "crowded".into(), orig: Default::default() },
                    |mailbox| ServerMessage::Claimed { mailbox },
                );
                self.say(id, answer);
            }
            ClientMessage::Release { nameplate } => self.release(id, &nameplate.unwrap(), &side),
            ClientMessage::Open { mailbox } => self.open(id, side, mailbox),
            ClientMessage::Add { phase, body } => self.add(id, side, phase, body),
            ClientMessage::Close { mailbox, .. } => self.close(id, side, &mailbox.unwrap()),
            ClientMessage::Ping { ping } => self.say(id, ServerMessage::Pong { pong: ping }),
            other => panic!("not expected here: {other:?}"),
        }
    }

    fn claim(&mut self, nameplate: &Nameplate, side: &Side) -> Option<MailboxId> {
        let fresh = MailboxId::new(format!("room-{}", self.fresh_number())).unwrap();
        let (mailbox, claims) = self.plates.entry(nameplate.clone()).or_insert((fresh, BTreeSet::new()));
        let room = self.rooms.entry(mailbox.clone()).or_default();
        if room.sides.len() >= 2 && !room.sides.contains(side) {
            return None;
        }
        room.sides.insert(side.clone());
        claims.insert(side.clone());
        Some(mailbox.clone())
    }

    fn release(&mut self, id: u64, nameplate: &Nameplate, side: &Side) {
        if let Some((_, claims)) = self.plates.get_mut(nameplate) {
            claims.remove(side);
            if claims.is_empty() {
                self.plates.remove(nameplate);
            }
        }
        self.say(id, ServerMessage::Released);
    }

    fn open(&mut self, id: u64, side: Side, mailbox: MailboxId) {
        let room = self.rooms.entry(mailbox.clone()).or_default();
        room.sides.insert(side);
        assert!(room.sides.len() <= 2, "somebody else came");
        for (side, phase, body) in room.said.clone() {
            self.say(id, ServerMessage::Message { side, phase, body });
        }
        self.connections.get_mut(&id).unwrap().room = Some(mailbox);
    }

    fn add(&mut self, id: u64, side: Side, phase: Phase, body: Body) {
        let mailbox = self.connections[&id].room.clone().expect("clients open first");
        let Some(room) = self.rooms.get_mut(&mailbox) else { return };
        room.said.push((side.clone(), phase.clone(), body.clone()));
        for listener in self.connections.values_mut().filter(|other| other.room.as_ref() == Some(&mailbox)) {
            let (side, phase, body) = (side.clone(), phase.clone(), body.clone());
            listener.answers.push_back(ServerMessage::Message { side, phase, body });
        }
    }

    fn close(&mut self, id: u64, side: Side, mailbox: &MailboxId) {
        if let Some(room) = self.rooms.get_mut(mailbox) {
            room.closed.insert(side);
            if room.sides.is_subset(&room.closed) {
                self.rooms.remove(mailbox);
                self.plates.retain(|_, (of, _)| of != mailbox);
            }
        }
        self.connections.get_mut(&id).unwrap().room = None;
        self.say(id, ServerMessage::Closed);
    }

    fn say(&mut self, id: u64, message: ServerMessage) {
        self.connections.get_mut(&id).unwrap().answers.push_back(message);
    }

    fn fresh_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
