//! One agent: an invitation in memory, its record on a disk, and a contact if there is one.

use petmail_proto::{
    channel::record::{ChannelRecord, KeyId, ReceiverKey, TransportRecord, Transports},
    invitation::{
        code::{BurntCode, Code, WordCount},
        introduction::{Introduction, Purpose},
        machine::{Completed, DEFAULT_LIFE, Effect, Failure, Input, Invitation, InvitationRecord, Terms},
        stretch::StretchedCode,
        wormhole::ClientMessage,
    },
    keys::{ChannelSigningKey, CidKey, ReceiverSecretKey, RedeemToken, ServerSigningKey, TransportId},
    server::offer::{Offer, OfferText},
    time::UnixMillis,
    token::{SlotElement, TokenKeyId, TokenSecretKey},
    wire::Record,
};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};

use crate::server::ConnectionId;

/// What a commit has made durable.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) record: Option<Vec<u8>>,
    pub(crate) contact: Option<Completed>,
    pub(crate) burnt: Vec<BurntCode>,
    pub(crate) failure: Option<Failure>,
}

#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) name: &'static str,
    pub(crate) disk: Disk,
    pub(crate) invitation: Option<Invitation>,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) reconnect_at: UnixMillis,
    pub(crate) wake: Option<UnixMillis>,
    pub(crate) job: Option<Code>,
    pub(crate) to_server: Vec<ClientMessage>,
    pub(crate) code: Option<Code>,
}

/// Where a crash interrupts a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Never,
    BeforeCommit,
    /// After the commit and this many of the effects that follow it.
    After(usize),
}

pub(crate) fn introduction(
    name: &str,
    purpose: Purpose,
    transport: bool,
    rng: &mut ChaCha20Rng,
) -> (Introduction, ChannelSigningKey) {
    let signing_key = ChannelSigningKey::generate(rng);
    let list = if transport { vec![transport_record(rng)] } else { Vec::new() };
    let channel = ChannelRecord {
        verifying_key: signing_key.verifying_key(),
        receiver_key: ReceiverKey {
            kid: KeyId { epoch: 1, index: 0 },
            key: ReceiverSecretKey::generate(rng).public_key(),
        },
        cid_key: CidKey::generate(rng),
        transports: Transports { serial: 1, list },
        suites: vec!["c1".into()],
    };
    let offer = (purpose == Purpose::MailboxProvider).then(|| offer(rng));
    (Introduction { channel, name: name.into(), purpose, offer }, signing_key)
}

fn offer(rng: &mut ChaCha20Rng) -> OfferText {
    OfferText::of(&Offer {
        url: "https://mail.example.org".parse().unwrap(),
        identity: ServerSigningKey::generate(rng).verifying_key(),
        pin: None,
        token: RedeemToken::generate(rng),
    })
}

fn transport_record(rng: &mut ChaCha20Rng) -> TransportRecord {
    let slot = SlotElement::generate(rng);
    let token = slot.seal(&TokenSecretKey::generate(rng).public_key(), rng).unwrap();
    TransportRecord {
        tid: TransportId::generate(rng),
        url: "https://mail.example.org".parse().unwrap(),
        server: ServerSigningKey::generate(rng).verifying_key(),
        pin: None,
        kid: TokenKeyId(1),
        token: token.for_contact(&TokenSecretKey::generate(rng).public_key(), rng).unwrap(),
        retention_seconds: 86_400,
    }
}

impl Party {
    pub(crate) fn invite(
        name: &'static str,
        code: Option<Code>,
        (introduction, signing_key): (Introduction, ChannelSigningKey),
        now: UnixMillis,
        rng: &mut ChaCha20Rng,
    ) -> Self {
        let terms = Terms { introduction, signing_key, expires: now.plus(DEFAULT_LIFE) };
        let step = match code {
            None => Invitation::allocate(terms, WordCount::default(), now, rng),
            Some(code) => Invitation::with_code(terms, code, now, rng),
        }
        .unwrap();
        let mut party = Self {
            name,
            disk: Disk::default(),
            invitation: None,
            connection: None,
            reconnect_at: now,
            wake: None,
            job: None,
            to_server: Vec::new(),
            code: None,
        };
        party.carry_out(step.next, step.effects, Crash::Never);
        party
    }

    /// Hands in an input and carries out the effects, up to a crash. Returns whether the connection is to be closed.
    pub(crate) fn handle(
        &mut self,
        input: Input,
        now: UnixMillis,
        crash: Crash,
        rng: &mut ChaCha20Rng,
    ) -> bool {
        let step = self.invitation.as_ref().unwrap().handle(input, now, rng);
        let step = step.expect("the world asks for nothing that cannot be");
        self.carry_out(step.next, step.effects, crash)
    }

    pub(crate) fn restart(&mut self, now: UnixMillis) {
        let record = InvitationRecord::decode_record(self.disk.record.as_ref().unwrap()).unwrap();
        let step = Invitation::restore(record, now);
        self.reconnect_at = now;
        self.carry_out(step.next, step.effects, Crash::Never);
    }

    pub(crate) fn crash(&mut self) {
        self.invitation = None;
        self.wake = None;
        self.job = None;
    }

    /// Stands in for argon2, which would take all the time there is.
    pub(crate) fn do_job(&mut self) -> Input {
        let code = self.job.take().unwrap();
        Input::Stretched(StretchedCode::from_bytes(Sha256::digest(code.expose_text()).into()))
    }

    pub(crate) fn has_contact(&self) -> bool {
        self.disk.contact.is_some()
    }

    fn carry_out(&mut self, next: Invitation, effects: Vec<Effect>, crash: Crash) -> bool {
        if crash == Crash::BeforeCommit {
            self.crash();
            return true;
        }
        check_order(&effects);
        let (durable, others): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_durable);
        for effect in durable {
            self.commit(&next, effect);
        }
        self.code = next.code().cloned().or_else(|| self.code.take());
        self.invitation = Some(next);
        let mut close = false;
        for (index, effect) in others.into_iter().enumerate() {
            if crash == Crash::After(index) {
                self.crash();
                return true;
            }
            match effect {
                Effect::Send(message) => self.to_server.push(message),
                Effect::Stretch(code) => self.job = Some(code),
                Effect::Wake(at) => self.wake = Some(at),
                Effect::Disconnect => close = true,
                Effect::Greeted(_) => {}
                other => panic!("{}: not expected here: {other:?}", self.name),
            }
        }
        close
    }

    fn commit(&mut self, next: &Invitation, effect: Effect) {
        match effect {
            Effect::Persist => {
                let bytes = next.record().encode_record().unwrap();
                assert!(bytes.len() <= 32 * 1024, "the store takes no more");
                self.disk.record = Some(bytes);
            }
            Effect::Burn(burnt) => self.disk.burnt.push(burnt),
            Effect::Completed(completed) => {
                assert!(self.disk.contact.is_none(), "{}: completed twice", self.name);
                self.disk.contact = Some(*completed);
            }
            Effect::Failed(failure) => {
                self.disk.contact = None;
                self.disk.failure = Some(failure);
            }
            Effect::Expired => assert!(self.disk.contact.is_none(), "{}: expired with a contact", self.name),
            other => panic!("{}: not durable: {other:?}", self.name),
        }
    }
}

/// What belongs into one transaction.
pub(crate) fn is_durable(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Persist | Effect::Burn(_) | Effect::Completed(_) | Effect::Failed(_) | Effect::Expired
    )
}

fn check_order(effects: &[Effect]) {
    let needs_commit = effects.iter().any(is_durable);
    let first = effects.first().is_some_and(|effect| matches!(effect, Effect::Persist));
    assert!(first || !needs_commit, "something durable without, or before, the record: {effects:?}");
}
