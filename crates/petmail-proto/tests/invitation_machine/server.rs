//! A rendezvous server in memory, in the two temperaments that exist.

use std::collections::{BTreeMap, BTreeSet};

use petmail_proto::invitation::wormhole::{
    Body, ClientMessage, MailboxId, Nameplate, Phase, ServerMessage, Side,
};

pub(crate) type ConnectionId = u64;

/// How the server treats a third side, and what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// `petmail-rendezvous`: a third side is refused and leaves no trace; nothing is forgotten for 24 hours.
    Petmail,
    /// The public servers: a third side is refused but recorded, which locks out everybody.
    Public,
}

#[derive(Debug, Default)]
struct Connection {
    side: Option<Side>,
    open: Option<MailboxId>,
    asked: BTreeSet<&'static str>,
}

#[derive(Debug, Default)]
struct Mailbox {
    sides: BTreeMap<Side, bool>,
    messages: Vec<(Side, Phase, Body)>,
}

#[derive(Debug)]
struct Plate {
    mailbox: MailboxId,
    sides: BTreeMap<Side, bool>,
}

#[derive(Debug)]
pub(crate) struct Server {
    temper: Temper,
    next_id: u64,
    plates: BTreeMap<Nameplate, Plate>,
    mailboxes: BTreeMap<MailboxId, Mailbox>,
    connections: BTreeMap<ConnectionId, Connection>,
}

type Answers = Vec<(ConnectionId, ServerMessage)>;

impl Server {
    pub(crate) fn new(temper: Temper) -> Self {
        Self {
            temper,
            next_id: 0,
            plates: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }

    pub(crate) fn connect(&mut self) -> (ConnectionId, ServerMessage) {
        let id = self.fresh();
        self.connections.insert(id, Connection::default());
        (id, ServerMessage::Welcome { welcome: Default::default() })
    }

    pub(crate) fn disconnect(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// What a public server does with what nobody is connected to.
    pub(crate) fn forget_idle(&mut self) {
        let busy: BTreeSet<_> = self.connections.values().filter_map(|c| c.open.clone()).collect();
        self.mailboxes.retain(|id, _| busy.contains(id));
        self.plates.retain(|_, plate| busy.contains(&plate.mailbox));
    }

    /// The sides that have spoken, as anyone in the mailbox can see.
    pub(crate) fn sides(&self) -> Vec<Side> {
        let all = self.mailboxes.values().flat_map(|mailbox| mailbox.sides.keys().cloned());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(crate) fn handle(&mut self, id: ConnectionId, message: ClientMessage) -> Answers {
        let kind = match &message {
            ClientMessage::Allocate => "allocate",
            ClientMessage::Claim { .. } => "claim",
            ClientMessage::Release { .. } => "release",
            ClientMessage::Open { .. } => "open",
            ClientMessage::Close { .. } => "close",
            ClientMessage::Bind { .. } => "bind",
            _ => "",
        };
        let connection = self.connections.get_mut(&id).unwrap();
        assert!(kind.is_empty() || connection.asked.insert(kind), "{kind} twice in a connection");
        if let ClientMessage::Bind { side, .. } = message {
            connection.side = Some(side);
            return vec![(id, ServerMessage::Ack)];
        }
        let side = connection.side.clone().expect("must bind first");
        let mut answers = vec![(id, ServerMessage::Ack)];
        answers.extend(self.handle_bound(id, &side, message));
        answers
    }

    fn handle_bound(&mut self, id: ConnectionId, side: &Side, message: ClientMessage) -> Answers {
        match message {
            ClientMessage::Allocate => {
                let nameplate = Nameplate::new(self.fresh().to_string()).unwrap();
                self.claim(&nameplate, side).unwrap();
                vec![(id, ServerMessage::Allocated { nameplate })]
            }
            ClientMessage::Claim { nameplate } => match self.claim(&nameplate, side) {
                Ok(mailbox) => vec![(id, ServerMessage::Claimed { mailbox })],
                Err(error) => vec![(id, refusal(error))],
            },
            ClientMessage::Release { nameplate } => {
                self.release(&nameplate.expect("our clients name it"), side);
                vec![(id, ServerMessage::Released)]
            }
            ClientMessage::Open { mailbox } => self.open(id, side, mailbox),
            ClientMessage::Add { phase, body } => self.add(id, side, phase, body),
            ClientMessage::Close { mailbox, .. } => {
                self.close(&mailbox.expect("our clients name it"), side);
                self.connections.get_mut(&id).unwrap().open = None;
                vec![(id, ServerMessage::Closed)]
            }
            ClientMessage::Ping { ping } => vec![(id, ServerMessage::Pong { pong: ping })],
            other => panic!("not expected here: {other:?}"),
        }
    }

    fn claim(&mut self, nameplate: &Nameplate, side: &Side) -> Result<MailboxId, &'static str> {
        let fresh = self.fresh();
        let plate = self.plates.entry(nameplate.clone()).or_insert_with(|| Plate {
            mailbox: MailboxId::new(format!("mailbox-{fresh}")).unwrap(),
            sides: BTreeMap::new(),
        });
        let mailbox = plate.mailbox.clone();
        if plate.sides.get(side) == Some(&false) {
            return Err("reclaimed");
        }
        self.enter(&mailbox, side)?;
        self.plates.get_mut(nameplate).unwrap().sides.insert(side.clone(), true);
        Ok(mailbox)
    }

    fn enter(&mut self, mailbox: &MailboxId, side: &Side) -> Result<(), &'static str> {
        let sides = &mut self.mailboxes.entry(mailbox.clone()).or_default().sides;
        if self.temper == Temper::Petmail && sides.len() >= 2 && !sides.contains_key(side) {
            return Err("crowded");
        }
        sides.entry(side.clone()).or_insert(true);
        if sides.len() > 2 { Err("crowded") } else { Ok(()) }
    }

    fn release(&mut self, nameplate: &Nameplate, side: &Side) {
        let Some(plate) = self.plates.get_mut(nameplate) else { return };
        if let Some(claimed) = plate.sides.get_mut(side) {
            *claimed = false;
        }
        if plate.sides.values().all(|claimed| !claimed) {
            self.plates.remove(nameplate);
        }
    }

    fn open(&mut self, id: ConnectionId, side: &Side, mailbox: MailboxId) -> Answers {
        if let Err(error) = self.enter(&mailbox, side) {
            return vec![(id, refusal(error))];
        }
        let old = self.mailboxes[&mailbox].messages.clone();
        self.connections.get_mut(&id).unwrap().open = Some(mailbox);
        old.into_iter().map(|message| (id, shown(message))).collect()
    }

    fn add(&mut self, id: ConnectionId, side: &Side, phase: Phase, body: Body) -> Answers {
        let Some(mailbox) = self.connections[&id].open.clone() else {
            return vec![(id, refusal("must open mailbox before adding"))];
        };
        let message = (side.clone(), phase, body);
        let Some(kept) = self.mailboxes.get_mut(&mailbox) else { return Vec::new() };
        kept.messages.push(message.clone());
        let listeners = self.connections.iter().filter(|(_, c)| c.open.as_ref() == Some(&mailbox));
        listeners.map(|(id, _)| (*id, shown(message.clone()))).collect()
    }

    fn close(&mut self, id: &MailboxId, side: &Side) {
        let Some(mailbox) = self.mailboxes.get_mut(id) else { return };
        mailbox.sides.insert(side.clone(), false);
        if mailbox.sides.values().all(|open| !open) {
            self.mailboxes.remove(id);
            self.plates.retain(|_, plate| plate.mailbox != *id);
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

fn shown((side, phase, body): (Side, Phase, Body)) -> ServerMessage {
    ServerMessage::Message { side, phase, body }
}

fn refusal(error: &str) -> ServerMessage {
    ServerMessage::Error { error: error.into(), orig: Default::default() }
}
