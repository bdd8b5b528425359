//! The invitation machine, one input at a time: what it sends, stores and refuses in each stage.

use core::time::Duration;
use std::collections::BTreeMap;

use petmail_proto::{
    invitation::{
        code::WordCount,
        hashcash::MAX_BITS,
        introduction::{IntroductionError, Purpose},
        machine::{
            Completed, DEFAULT_LIFE, Effect, Failure, INTRODUCTION_LIFE, Input, InputError, Invitation,
            InvitationRecord, Status, Terms,
        },
        pake::PakeSecret,
        stretch::StretchedCode,
        wormhole::{
            Body, ClientMessage, HashcashChallenge, MailboxId, NoPermission, Permissions, Phase,
            ServerMessage, Side, Welcome,
        },
    },
    time::UnixMillis,
    wire::Record,
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::{
    party::{introduction, is_durable},
    world::START,
};

const CODE: &str = "7-adroitness-aardvark-adviser";
const STRETCHED: [u8; 32] = [1; 32];

/// An invitation in the hands of a test.
struct Hand {
    invitation: Invitation,
    now: UnixMillis,
    rng: ChaCha20Rng,
    said: BTreeMap<String, Body>,
    side: Option<Side>,
}

impl Hand {
    fn new(name: &str, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (introduction, signing_key) = introduction(name, Purpose::Contact, true, &mut rng);
        let terms = Terms { introduction, signing_key, expires: START.plus(DEFAULT_LIFE) };
        let step = Invitation::with_code(terms, CODE.parse().unwrap(), START, &mut rng).unwrap();
        assert!(matches!(step.effects[..], [Effect::Persist, Effect::Stretch(_), Effect::Wake(_)]));
        Self { invitation: step.next, now: START, rng, said: BTreeMap::new(), side: None }
    }

    /// At S0, with its first message said.
    fn waiting(name: &str, seed: u64) -> Self {
        let mut hand = Self::new(name, seed);
        hand.give(Input::Stretched(StretchedCode::from_bytes(STRETCHED)));
        hand.join();
        let mailbox = MailboxId::new("m").unwrap();
        let effects = hand.hear(ServerMessage::Claimed { mailbox });
        assert!(matches!(effects[..], [Effect::Persist, Effect::Send(ClientMessage::Open { .. }), _]));
        hand.hear(ServerMessage::Pong { pong: 1 });
        assert_eq!(hand.phases(), ["pake"]);
        hand
    }

    fn join(&mut self) {
        self.give(Input::Connected);
        self.hear(ServerMessage::Welcome { welcome: Welcome::default() });
    }

    fn try_give(&mut self, input: Input) -> Result<Vec<Effect>, InputError> {
        let step = self.invitation.handle(input, self.now, &mut self.rng)?;
        self.invitation = step.next;
        for effect in &step.effects {
            match effect {
                Effect::Send(ClientMessage::Add { phase, body }) => {
                    self.said.insert(phase.to_string(), body.clone());
                }
                Effect::Send(ClientMessage::Bind { side, .. }) => self.side = Some(side.clone()),
                _ => {}
            }
        }
        Ok(step.effects)
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.try_give(input).unwrap()
    }

    fn hear(&mut self, message: ServerMessage) -> Vec<Effect> {
        self.give(Input::Server(message))
    }

    fn hear_from(&mut self, peer: &Self, phase: &str) -> Vec<Effect> {
        self.hear_body(peer.side.as_ref().unwrap(), phase, &peer.said[phase])
    }

    fn hear_body(&mut self, side: &Side, phase: &str, body: &Body) -> Vec<Effect> {
        let (side, phase, body) = (side.clone(), Phase::new(phase).unwrap(), body.clone());
        self.hear(ServerMessage::Message { side, phase, body })
    }

    fn phases(&self) -> Vec<&str> {
        self.said.keys().map(String::as_str).collect()
    }

    fn status(&self) -> Status {
        self.invitation.status()
    }

    fn stored(&self) -> Vec<u8> {
        self.invitation.record().encode_record().unwrap()
    }
}

/// Two at S0 who have not heard of each other.
fn pair() -> (Hand, Hand) {
    (Hand::waiting("alice", 1), Hand::waiting("bob", 2))
}

/// Two at S1.
fn keyed() -> (Hand, Hand) {
    let (mut alice, mut bob) = pair();
    alice.hear_from(&bob, "pake");
    bob.hear_from(&alice, "pake");
    (alice, bob)
}

/// Two at S2.
fn committed() -> (Hand, Hand) {
    let (mut alice, mut bob) = keyed();
    alice.hear_from(&bob, "version");
    bob.hear_from(&alice, "version");
    (alice, bob)
}

fn completed(effects: &[Effect]) -> Completed {
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Completed(completed) => Some((**completed).clone()),
        _ => None,
    });
    found.expect("completed")
}

fn failure(effects: &[Effect]) -> Option<Failure> {
    effects.iter().find_map(|effect| match effect {
        Effect::Failed(failure) => Some(failure.clone()),
        _ => None,
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn stranger() -> Side {
    Side::new("5742a6e9").unwrap()
}

#[test]
fn the_key_and_nothing_before_it_is_stored_before_version_is_sent() {
    let (mut alice, bob) = pair();
    assert!(contains(&alice.stored(), &STRETCHED));
    assert!(alice.invitation.code().is_some());
    let effects = alice.hear_from(&bob, "pake");
    let commit = effects.iter().position(|effect| matches!(effect, Effect::Persist)).unwrap();
    let send = effects.iter().position(|effect| matches!(effect, Effect::Send(_))).unwrap();
    assert!(commit < send);
    assert!(alice.said.contains_key("version"));
    assert_eq!(alice.status(), Status::Exchanging);
    assert!(!contains(&alice.stored(), &STRETCHED), "the password is erased");
    assert!(!contains(&alice.stored(), CODE.as_bytes()), "the code is erased");
    assert!(alice.invitation.code().is_none());
}

#[test]
fn the_introduction_is_said_only_after_the_peers_commitment() {
    let (mut alice, mut bob) = keyed();
    assert_eq!(alice.phases(), ["pake", "version"]);
    alice.hear_from(&bob, "version");
    assert_eq!(alice.phases(), ["0", "pake", "version"]);
    bob.hear_from(&alice, "0");
    assert_eq!(bob.status(), Status::Exchanging, "an introduction without a commitment waits");
    let completed = completed(&bob.hear_from(&alice, "version"));
    assert_eq!(completed.introduction.name, "alice");
}

#[test]
fn the_same_key_exchange_message_again_is_no_news_and_another_is_an_attack() {
    let (mut alice, bob) = keyed();
    assert!(alice.hear_from(&bob, "pake").is_empty());
    let other = PakeSecret::generate(StretchedCode::from_bytes(STRETCHED), &mut alice.rng).body();
    let effects = alice.hear_body(bob.side.as_ref().unwrap(), "pake", &other);
    assert_eq!(failure(&effects), Some(Failure::SomebodyElse));
    assert!(alice.said.contains_key("abort"), "the peer is told");
}

#[test]
fn a_peer_is_told_of_an_end_and_why() {
    let (mut alice, mut bob) = keyed();
    alice.give(Input::Cancel);
    assert_eq!(failure(&bob.hear_from(&alice, "abort")), Some(Failure::PeerCancelled));
    let (mut alice, mut bob) = committed();
    completed(&bob.hear_from(&alice, "0"));
    alice.give(Input::Cancel);
    assert_eq!(failure(&bob.hear_from(&alice, "abort")), Some(Failure::PeerCancelled), "even at S3");
}

#[test]
fn a_third_side_fails_the_exchange_until_the_peer_is_known() {
    let body = Body::new(vec![0]).unwrap();
    let (mut alice, bob) = pair();
    alice.hear_body(&stranger(), "version", &body);
    assert_eq!(failure(&alice.hear_from(&bob, "pake")), Some(Failure::SomebodyElse));
    let (mut alice, _) = keyed();
    assert_eq!(failure(&alice.hear_body(&stranger(), "news", &body)), Some(Failure::SomebodyElse));
    let (mut alice, bob) = committed();
    for phase in ["pake", "version", "0", "abort", "news"] {
        for side in [&stranger(), bob.side.as_ref().unwrap()] {
            assert!(alice.hear_body(side, phase, &body).is_empty(), "noise after S2");
        }
    }
    completed(&alice.hear_from(&bob, "0"));
}

#[test]
fn an_unacceptable_first_message_fails_with_its_reason() {
    let (mut alice, _) = pair();
    let own = alice.said["pake"].clone();
    let effects = alice.hear_body(&stranger(), "pake", &own);
    assert!(matches!(failure(&effects), Some(Failure::BadPake(reason)) if reason.contains("our own")));
    assert!(!contains(&alice.stored(), &STRETCHED), "the password is erased");
}

#[test]
fn a_version_that_is_no_petmail_version_is_incompatible() {
    let mut alice = Hand::waiting("alice", 1);
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let (peer, phase) = (stranger(), Phase::new("version").unwrap());
    let exchange = PakeSecret::generate(StretchedCode::from_bytes(STRETCHED), &mut rng);
    let key = exchange.finish_body(&alice.said["pake"]).unwrap();
    let version = key.seal(&peer, &phase, br#"{"app_versions":{}}"#, &mut rng).unwrap();
    alice.hear_body(&peer, "pake", &exchange.body());
    assert_eq!(failure(&alice.hear_body(&peer, "version", &version)), Some(Failure::Incompatible));
}

#[test]
fn a_lost_introduction_comes_through_the_channel() {
    let (mut alice, mut bob) = committed();
    let of_bob = completed(&bob.hear_from(&alice, "0"));
    assert!(alice.invitation.expects_introduction());
    let mut forged = of_bob.packet.clone();
    forged.signed.body0 = forged.signed.body0.replace("bob", "eve");
    let refused = alice.try_give(Input::Introduction(forged)).unwrap_err();
    assert_eq!(refused, InputError::Introduction(IntroductionError::Mac));
    assert_eq!(alice.try_give(Input::Confirmed).unwrap_err(), InputError::TooEarly);
    let of_alice = completed(&alice.give(Input::Introduction(of_bob.packet.clone())));
    assert_eq!(of_alice.introduction.name, "bob");
    assert_eq!(of_alice.safety_words, of_bob.safety_words);
    assert!(alice.give(Input::Introduction(of_bob.packet)).is_empty(), "a repetition is no news");
    alice.give(Input::Confirmed);
    assert_eq!(alice.status(), Status::Confirmed);
    assert_eq!(alice.try_give(Input::Cancel).unwrap_err(), InputError::TooLate);
}

#[test]
fn before_the_commitment_no_introduction_is_accepted() {
    let (mut alice, mut bob) = keyed();
    bob.hear_from(&alice, "version");
    let mut later = committed();
    let packet = completed(&later.1.hear_from(&later.0, "0")).packet;
    assert_eq!(alice.try_give(Input::Introduction(packet)).unwrap_err(), InputError::TooEarly);
}

#[test]
fn who_is_committed_waits_thirty_days_for_the_channel_and_others_one() {
    for (mut hand, status) in
        [(pair().0, Status::Expired), (keyed().0, Status::Expired), (committed().0, Status::Exchanging)]
    {
        hand.give(Input::Disconnected);
        hand.now = START.plus(DEFAULT_LIFE);
        let effects = hand.give(Input::Tick);
        assert_eq!(hand.status(), status);
        assert!(!hand.invitation.wants_connection());
        let wakes: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::Wake(_))).collect();
        assert_eq!(wakes.len(), usize::from(status == Status::Exchanging), "{effects:?}");
    }
    let (mut alice, mut bob) = committed();
    let packet = completed(&bob.hear_from(&alice, "0")).packet;
    alice.now = START.plus(INTRODUCTION_LIFE).minus(Duration::from_millis(1));
    let mut late = Hand { now: START.plus(INTRODUCTION_LIFE), ..committed().0 };
    completed(&alice.give(Input::Introduction(packet.clone())));
    assert_eq!(late.try_give(Input::Introduction(packet)).unwrap_err(), InputError::TooLate);
}

#[test]
fn a_clock_that_was_set_back_only_makes_an_invitation_wait_longer() {
    let mut alice = Hand::waiting("alice", 1);
    alice.now = START.minus(Duration::from_secs(3_600));
    let effects = alice.give(Input::Tick);
    let end = START.plus(DEFAULT_LIFE);
    assert!(matches!(effects.as_slice(), [Effect::Wake(time)] if *time == end), "{effects:?}");
}

#[test]
fn an_expired_invitation_that_is_connected_says_goodbye() {
    let mut alice = Hand::waiting("alice", 1);
    alice.now = START.plus(DEFAULT_LIFE);
    let effects = alice.give(Input::Tick);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Expired)));
    let mut sent = effects.iter().filter(|effect| matches!(effect, Effect::Send(_)));
    assert!(matches!(sent.next(), Some(Effect::Send(ClientMessage::Release { .. }))));
    assert!(matches!(sent.next(), Some(Effect::Send(ClientMessage::Close { .. }))));
    let effects = alice.hear(ServerMessage::Closed);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Disconnect)));
    assert!(!alice.invitation.wants_connection());
}

#[test]
fn permissions_are_got_where_they_can_be() {
    let challenge = HashcashChallenge { bits: 4, resource: "r".into() };
    let greet = |permissions| {
        let mut hand = Hand::new("alice", 1);
        hand.give(Input::Connected);
        let welcome = Welcome { permission_required: Some(permissions), ..Welcome::default() };
        let effects = hand.hear(ServerMessage::Welcome { welcome });
        (hand, effects)
    };
    let hashcash = |bits| Some(HashcashChallenge { bits, ..challenge.clone() });
    let (hand, _) = greet(Permissions { none: Some(NoPermission {}), hashcash: hashcash(99) });
    assert!(hand.side.is_some(), "bound at once");
    let (mut hand, effects) = greet(Permissions { none: None, hashcash: hashcash(4) });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Mint(asked) if *asked == challenge)));
    assert!(hand.side.is_none());
    let effects = hand.give(Input::Minted("stamp".into()));
    assert!(matches!(effects[0], Effect::Send(ClientMessage::SubmitPermissions { .. })));
    assert!(hand.side.is_some());
    for bad in [Permissions::default(), Permissions { none: None, hashcash: hashcash(MAX_BITS + 1) }] {
        let (hand, effects) = greet(bad);
        assert!(matches!(failure(&effects), Some(Failure::ServerRefused(_))));
        assert!(!hand.invitation.wants_connection());
    }
}

#[test]
fn a_refusing_server_ends_a_new_invitation_and_interrupts_an_old_one() {
    let refuse = |hand: &mut Hand, error: &str| {
        hand.hear(ServerMessage::Error { error: error.into(), orig: Default::default() })
    };
    let mut new = Hand::new("alice", 1);
    new.join();
    let effects = refuse(&mut new, "go\naway");
    assert_eq!(failure(&effects), Some(Failure::ServerRefused("goaway".into())));
    for (mut hand, crowded) in
        [(pair().0, Some(Failure::Crowded)), (keyed().0, Some(Failure::Crowded)), (committed().0, None)]
    {
        let before = hand.status();
        let effects = refuse(&mut hand, "busy");
        assert!(matches!(effects[..], [Effect::Disconnect]));
        assert!(hand.invitation.wants_connection());
        hand.join();
        assert_eq!(failure(&refuse(&mut hand, "crowded")), crowded);
        assert!(!hand.invitation.wants_connection());
        assert_eq!(hand.status() == before, crowded.is_none());
    }
}

#[test]
fn a_nameplate_that_the_server_has_forgotten_is_not_released_for_ever() {
    let (mut alice, _) = keyed();
    let orig = serde_json::json!({"type": "release"});
    let effects = alice.hear(ServerMessage::Error { error: "no such nameplate".into(), orig });
    assert!(matches!(effects[..], [Effect::Persist]), "{effects:?}");
    alice.give(Input::Disconnected);
    alice.join();
    let effects = alice.hear(ServerMessage::Pong { pong: 1 });
    assert!(!effects.iter().any(|e| matches!(e, Effect::Send(ClientMessage::Release { .. }))));
}

#[test]
fn only_the_first_claimed_mailbox_is_ever_opened() {
    let mut alice = Hand::waiting("alice", 1);
    let other = MailboxId::new("other").unwrap();
    assert!(alice.hear(ServerMessage::Claimed { mailbox: other }).is_empty());
    alice.give(Input::Disconnected);
    alice.give(Input::Connected);
    let effects = alice.hear(ServerMessage::Welcome { welcome: Welcome::default() });
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send(message) => Some(message.clone()),
        _ => None,
    });
    let sent: Vec<_> = sent.collect();
    assert!(matches!(sent[0], ClientMessage::Bind { .. }));
    assert_eq!(sent[1], ClientMessage::Open { mailbox: MailboxId::new("m").unwrap() });
    assert_eq!(sent[2..], [ClientMessage::Ping { ping: 1 }]);
}

#[test]
fn a_forgotten_exchange_is_said_again_if_somebody_knows_the_mailbox() {
    let own_pake = |hand: &mut Hand| {
        let (side, body) = (hand.side.clone().unwrap(), hand.said["pake"].clone());
        hand.hear_body(&side, "pake", &body)
    };
    let (mut alice, bob) = pair();
    assert!(matches!(own_pake(&mut alice)[..], [Effect::Persist]));
    let mut answered = Hand { invitation: alice.invitation.clone(), said: alice.said.clone(), ..pair().0 };
    answered.hear_from(&bob, "pake");
    for hand in [&mut alice, &mut answered] {
        hand.give(Input::Disconnected);
        hand.join();
    }
    let effects = alice.hear(ServerMessage::Pong { pong: 1 });
    assert_eq!(failure(&effects), Some(Failure::ExpiredOnServer));
    let before = std::mem::take(&mut answered.said);
    answered.hear(ServerMessage::Pong { pong: 1 });
    assert_eq!(answered.said, before, "byte for byte");
}

#[test]
fn a_servers_texts_are_made_printable() {
    let mut alice = Hand::new("alice", 1);
    alice.give(Input::Connected);
    let motd = Some(format!("\u{1b}[2J{}", "x".repeat(1000)));
    let effects = alice.hear(ServerMessage::Welcome { welcome: Welcome { motd, ..Welcome::default() } });
    let Effect::Greeted(Welcome { motd: Some(motd), .. }) = &effects[0] else { panic!("{effects:?}") };
    assert!(motd.starts_with("[2Jx") && motd.len() == 200, "{motd}");
}

/// Inputs that no honest program and server would give, in an order that makes no sense.
fn nonsense(hand: &mut Hand, peer: &Hand) -> Input {
    let mut below = |bound: u32| usize::try_from(hand.rng.next_u32() % bound).unwrap();
    let texts = ["pake", "version", "0", "abort", "x"];
    let phase = texts[below(5)];
    let said = [&hand.said, &peer.said][below(2)];
    let body = said.get(texts[below(5)]).cloned().unwrap_or_else(|| Body::new(vec![1; 50]).unwrap());
    let sides = [hand.side.clone(), peer.side.clone(), Some(stranger())];
    let side = sides[below(3)].clone().unwrap_or_else(stranger);
    let message = match below(12) {
        0 => ServerMessage::Welcome { welcome: Welcome::default() },
        1 => ServerMessage::Allocated { nameplate: "5".to_owned().try_into().unwrap() },
        2 => ServerMessage::Claimed { mailbox: MailboxId::new("n").unwrap() },
        3 => ServerMessage::Released,
        4 => ServerMessage::Closed,
        5 => ServerMessage::Pong { pong: 1 },
        6 => ServerMessage::Error { error: "busy".into(), orig: Default::default() },
        7 => ServerMessage::Unknown,
        _ => ServerMessage::Message { side, phase: Phase::new(phase).unwrap(), body },
    };
    match below(12) {
        0 => Input::Connected,
        1 => Input::Disconnected,
        2 => Input::Stretched(StretchedCode::from_bytes(STRETCHED)),
        3 => Input::Minted("stamp".into()),
        4 => Input::Tick,
        5 => Input::Confirmed,
        _ => Input::Server(message),
    }
}

#[test]
fn nonsense_is_survived_and_what_is_stored_stays_readable() {
    for seed in 0..300 {
        eprintln!("seed {seed}");
        let (_, bob) = committed();
        let mut alice = Hand::new("alice", seed);
        for _ in 0..80 {
            let input = nonsense(&mut alice, &bob);
            let before = alice.stored();
            let Ok(effects) = alice.try_give(input) else { continue };
            let persisted = effects.iter().any(|effect| matches!(effect, Effect::Persist));
            assert_eq!(persisted, alice.stored() != before, "stored exactly when changed: {effects:?}");
            let record = InvitationRecord::decode_record(&alice.stored()).unwrap();
            assert_eq!(Invitation::restore(record, alice.now).next.status(), alice.status());
        }
    }
}

#[test]
fn terms_are_checked() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let start = |introduction, signing_key, rng: &mut ChaCha20Rng| {
        let terms = Terms { introduction, signing_key, expires: START };
        Invitation::allocate(terms, WordCount::default(), START, rng).map(|_| ())
    };
    let (good, key) = introduction("alice", Purpose::Contact, true, &mut rng);
    let (_, other_key) = introduction("alice", Purpose::Contact, true, &mut rng);
    assert_eq!(start(good.clone(), other_key, &mut rng), Err(IntroductionError::Signature));
    let long = petmail_proto::invitation::introduction::Introduction { name: "a".repeat(257), ..good };
    assert_eq!(start(long, key, &mut rng), Err(IntroductionError::Name));
}

#[test]
fn the_largest_record_fits_the_store() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (mut own, signing_key) = introduction(&"n".repeat(256), Purpose::Contact, true, &mut rng);
    own.offer = Some(serde_json::from_value("o".repeat(2048).into()).unwrap());
    let transport = own.channel.transports.list[0].clone();
    own.channel.transports.list = (0..4_u8)
        .map(|i| {
            let mut other = transport.clone();
            other.tid = petmail_proto::keys::TransportId::from_bytes([i; 8]);
            other.url = format!("https://{}", "u".repeat(280)).parse().unwrap();
            other
        })
        .collect();
    let terms = Terms { introduction: own, signing_key, expires: START.plus(DEFAULT_LIFE) };
    let (mut alice, mut bob) = (Hand::new("alice", 1), Hand::waiting("bob", 2));
    alice.invitation = Invitation::with_code(terms, CODE.parse().unwrap(), START, &mut rng).unwrap().next;
    alice.give(Input::Stretched(StretchedCode::from_bytes(STRETCHED)));
    alice.join();
    alice.hear(ServerMessage::Claimed { mailbox: MailboxId::new("m").unwrap() });
    alice.hear(ServerMessage::Pong { pong: 1 });
    alice.hear_from(&bob, "pake");
    bob.hear_from(&alice, "pake");
    alice.hear_from(&bob, "version");
    let size = alice.stored().len();
    assert!((8_000..32_768).contains(&size), "{size} bytes");
}

/// A record of version 1 as the first release wrote it; must be readable for ever.
const RECORD_V1: &str = include_str!("../vectors/invitation_record_v1.hex");

#[test]
fn records_of_version_1_are_still_read() {
    let bytes = data_encoding::HEXLOWER.decode(RECORD_V1.trim().as_bytes()).unwrap();
    let record = InvitationRecord::decode_record(&bytes).unwrap();
    assert_eq!(record.encode_record().unwrap(), bytes);
    let step = Invitation::restore(record, START);
    assert_eq!(step.next.status(), Status::Exchanging);
    assert!(step.next.expects_introduction());
    assert!(step.next.wants_connection());
    assert!(step.effects.iter().all(|effect| !is_durable(effect)));
}

#[test]
fn no_secret_shows_in_debug_output() {
    let (alice, _) = keyed();
    let (waiting, _) = pair();
    for text in [format!("{:?}", alice.invitation), format!("{:?}", waiting.invitation)] {
        assert!(text.contains("redacted"));
        assert!(!text.contains("adroitness"));
        assert!(!text.contains("1, 1, 1, 1, 1"), "the stretched code");
    }
}
