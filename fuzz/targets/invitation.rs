//! Two invitations and a hostile rendezvous server, which reads, repeats, reorders, edits and invents what it likes.
//!
//! The fuzzer is the server. Neither side may panic, forget what it stored, or take anybody but the other for its contact.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{HALF, edited, rng};
use petmail_proto::{
    channel::own_half::OwnHalf,
    invitation::{
        introduction::{Introduction, Purpose},
        machine::{Effect, Input, Invitation, InvitationRecord, Step, Terms},
        stretch::StretchedCode,
        wormhole::{Body, ClientMessage, MailboxId, Phase, ServerFrame, ServerMessage, Side, Welcome},
    },
    time::UnixMillis,
    wire::Record,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// So many honest steps until both have opened their mailbox.
const SETUP_STEPS: usize = 10;

/// After so many honest steps both have each other: three phases from each follow.
const COMPLETING_STEPS: usize = SETUP_STEPS + 6;

/// Longer games find nothing more.
const MAX_MOVES: usize = 64;

/// A row of the store, in bytes: an invitation must fit whatever the server does.
const MAX_ROW_BYTES: usize = 32 * 1024;

/// Alice and Bob have typed the same code.
static BEGINNING: LazyLock<[Invitation; 2]> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::from_seed([8; 32]);
    [invitation("Alice", &mut rng), invitation("Bob", &mut rng)]
});

fuzz_target!(|data: &[u8]| {
    let parties = BEGINNING.clone().map(|invitation| Party { invitation, side: None });
    let mut game = Game { parties, said: Vec::new(), completed: [false; 2], rng: rng() };
    let [honest_steps, moves @ ..] = data else { return };
    let honest_steps = usize::from(*honest_steps) % (COMPLETING_STEPS + 1);
    (0..honest_steps).for_each(|step| game.play_honestly(step));
    assert_eq!(game.completed == [true; 2], honest_steps >= COMPLETING_STEPS);
    for game_move in moves.chunks(8).take(MAX_MOVES) {
        let [who, kind, details @ ..] = game_move else { break };
        game.play(usize::from(who % 2), *kind, details);
    }
});

struct Party {
    invitation: Invitation,
    side: Option<Side>,
}

struct Game {
    parties: [Party; 2],
    /// What both sides have added, to be shown to anybody at any time.
    said: Vec<(Side, Phase, Body)>,
    completed: [bool; 2],
    rng: ChaCha20Rng,
}

fn invitation(name: &str, rng: &mut ChaCha20Rng) -> Invitation {
    let half = OwnHalf::generate(1, HALF.channel.transports.clone(), rng);
    let introduction =
        Introduction { channel: half.record(), name: name.into(), purpose: Purpose::Contact, offer: None };
    let terms = Terms { introduction, signing_key: half.channel.signing_key, expires: UnixMillis(1 << 40) };
    let code = "7-adroitness-aardvark-adviser".parse().expect("a good code");
    Invitation::with_code(terms, code, UnixMillis(0), rng).expect("good terms").next
}

impl Game {
    /// Does one step as a good server does: so the fuzzer need not find out how to get anywhere.
    fn play_honestly(&mut self, step: usize) {
        let input = match step / 2 {
            0 => Input::Connected,
            1 => Input::Server(ServerMessage::Welcome { welcome: Welcome::default() }),
            2 => Input::Stretched(StretchedCode::from_bytes([9; 32])),
            3 => Input::Server(ServerMessage::Claimed { mailbox: MailboxId::new("mb").expect("a good id") }),
            4 => Input::Server(ServerMessage::Pong { pong: 1 }),
            _ => {
                let Some((side, phase, body)) = self.said.get(step - SETUP_STEPS).cloned() else { return };
                let message = ServerMessage::Message { side, phase, body };
                self.hand_in(0, Input::Server(message.clone()));
                return self.hand_in(1, Input::Server(message));
            }
        };
        self.hand_in(step % 2, input);
    }

    fn hand_in(&mut self, who: usize, input: Input) {
        let invitation = self.party(who).invitation.clone();
        if let Ok(step) = invitation.handle(input, UnixMillis(1), &mut self.rng) {
            self.carry_out(who, step);
        }
    }

    fn play(&mut self, who: usize, kind: u8, details: &[u8]) {
        let input = match kind % 16 {
            0 => Input::Connected,
            1 => Input::Server(ServerMessage::Welcome { welcome: Welcome::default() }),
            // The same for both: they typed the same code.
            2 => Input::Stretched(StretchedCode::from_bytes([9; 32])),
            3 => Input::Server(ServerMessage::Claimed { mailbox: MailboxId::new("mb").expect("a good id") }),
            4 => Input::Disconnected,
            5 => Input::Tick,
            6 => return self.restart(who),
            7 => match ServerFrame::decode(&edited(br#"{"type":"error","error":"crowded"}"#, details)) {
                Ok(frame) => Input::Server(frame.message),
                Err(_) => return,
            },
            8 => Input::Server(ServerMessage::Pong { pong: 1 }),
            9 => Input::Server(ServerMessage::Released),
            10 => Input::Server(ServerMessage::Closed),
            // What a server does most: it shows one side what somebody has said.
            _ => match self.message(details) {
                Some(message) => Input::Server(message),
                None => return,
            },
        };
        self.hand_in(who, input);
    }

    fn party(&mut self, who: usize) -> &mut Party {
        let [alice, bob] = &mut self.parties;
        if who == 0 { alice } else { bob }
    }

    /// Something that was said, by whoever said it or as if by somebody else, edited or not.
    fn message(&self, details: &[u8]) -> Option<ServerMessage> {
        let [index, edits @ ..] = details else { return None };
        let (side, phase, body) = self.said.get(usize::from(*index) % self.said.len().max(1))?;
        let side = if edits.first() == Some(&0xff) { Side::new("0123456789").ok()? } else { side.clone() };
        let body = Body::new(edited(body.as_bytes(), edits.get(1..).unwrap_or_default())).ok()?;
        Some(ServerMessage::Message { side, phase: phase.clone(), body })
    }

    fn restart(&mut self, who: usize) {
        let record = self.party(who).invitation.record().encode_record().expect("a record can be written");
        let record = InvitationRecord::decode_record(&record).expect("what was written can be read");
        let step = Invitation::restore(record, UnixMillis(1));
        assert_eq!(step.next.status(), self.party(who).invitation.status());
        self.carry_out(who, step);
    }

    fn carry_out(&mut self, who: usize, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Persist => {
                    let row = step.next.record().encode_record().expect("a record can be written");
                    assert!(row.len() <= MAX_ROW_BYTES, "a record of {} bytes", row.len());
                }
                Effect::Completed(completed) => {
                    let other = if who == 0 { "Bob" } else { "Alice" };
                    assert_eq!(completed.introduction.name, other);
                    if let Some(completed) = self.completed.get_mut(who) {
                        *completed = true;
                    }
                }
                Effect::Send(ClientMessage::Bind { side, .. }) => self.party(who).side = Some(side),
                Effect::Send(ClientMessage::Add { phase, body }) => {
                    let side = self.party(who).side.clone().expect("it has bound before");
                    self.said.push((side, phase, body));
                }
                _ => {}
            }
        }
        self.party(who).invitation = step.next;
    }
}
