//! The exchange itself: what the peer's bodies do, in each stage.
//!
//! Owns the transitions S0 → S1 → S2 → S3 and every failure of the peer's making. In S0 and S1 anything odd fails the
//! invitation. From S2 on the peer is authenticated, and what does not come from it is noise: failing over noise then
//! could leave one side with a contact that the other does not have.

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::invitation::{
    introduction::{Commitment, Purpose, SignedIntroduction, Unverified, VerifiedIntroduction},
    safety::safety_words,
    wormhole::{Body, Phase, SharedKey, Side},
};

use super::{
    Completed, Effect, Failure, INTRODUCTION_LIFE, Reach, Run,
    state::{Exchange, Outgoing, Stage},
};

/// Carries the key exchange message, unsealed.
pub(super) const PAKE: &str = "pake";
/// Carries the commitment.
const VERSION: &str = "version";
/// Carries the introduction.
const INTRODUCTION: &str = "0";
/// Says that this side has given up, so that the other need not wait.
const ABORT: &str = "abort";

/// What phase `abort` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Abort {
    /// The person called it off.
    Cancelled,
    /// Something is wrong; also what newer versions say that this one does not know.
    #[serde(other)]
    Failed,
}

/// The body of phase `abort`.
#[derive(Serialize, Deserialize)]
struct AbortBody {
    abort: Abort,
}

/// The body of phase `version`, in magic-wormhole's form.
#[derive(Serialize, Deserialize)]
struct VersionBody {
    app_versions: AppVersions,
}

#[derive(Serialize, Deserialize)]
struct AppVersions {
    petmail: PetmailVersion,
}

#[derive(Serialize, Deserialize)]
struct PetmailVersion {
    commitment: Commitment,
}

impl Run {
    /// Reads a body from another side.
    pub(super) fn peer_said(&mut self, side: Side, phase: Phase, body: Body, rng: &mut impl CryptoRngCore) {
        match &self.next.record.stage {
            Stage::Waiting { .. } => self.first_words(side, phase, body, rng),
            Stage::Keyed { exchange } => {
                let exchange = exchange.clone();
                self.before_trust(&exchange, side, phase, body, rng);
            }
            Stage::Committed { exchange, commitment } => {
                let (exchange, commitment) = (exchange.clone(), *commitment);
                self.after_trust(&exchange, &commitment, &side, &phase, &body, rng);
            }
            Stage::Introduced { exchange: Some(exchange), .. } => {
                let exchange = exchange.clone();
                self.maybe_abort(&exchange, &side, &phase, &body, rng);
            }
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Introduced { exchange: None, .. }
            | Stage::Confirmed
            | Stage::Failed(_)
            | Stage::Expired
            | Stage::Cancelled => {}
        }
    }

    /// S0: the first key exchange message wins.
    fn first_words(&mut self, side: Side, phase: Phase, body: Body, rng: &mut impl CryptoRngCore) {
        let first = self.next.link.early_side.get_or_insert_with(|| side.clone());
        if *first != side {
            return self.fail(Failure::SomebodyElse, rng);
        }
        if phase.as_str() != PAKE {
            return self.keep_for_later(phase, body);
        }
        let Stage::Waiting { code, pake } = &self.next.record.stage else { return };
        let (burnt, key) = (code.burn(self.now), pake.finish_body(&body));
        self.effects.extend(burnt.map(Effect::Burn));
        match key {
            Ok(key) => self.enter_keyed(key, side, &body, rng),
            Err(error) => self.fail(error.into(), rng),
        }
    }

    /// S0 → S1: the scalar, the password and the code are gone with the stage that held them.
    fn enter_keyed(&mut self, key: SharedKey, peer: Side, pake: &Body, rng: &mut impl CryptoRngCore) {
        let local = &self.next.record.local;
        let signed = SignedIntroduction::sign(local.body0.clone(), &local.signing_key, &key, rng);
        let commitment = signed.commitment(&self.next.record.side);
        let exchange = Exchange {
            key,
            peer,
            peer_pake: digest(pake),
            nonce: signed.nonce,
            signature: signed.signature,
            until: self.now.plus(INTRODUCTION_LIFE),
        };
        let version = VersionBody { app_versions: AppVersions { petmail: PetmailVersion { commitment } } };
        self.say_sealed(&exchange, VERSION, &json(&version), rng);
        self.enter(Stage::Keyed { exchange });
        self.read_what_was_kept(rng);
    }

    /// S1: whoever shares our key has to show it.
    fn before_trust(
        &mut self,
        exchange: &Exchange,
        side: Side,
        phase: Phase,
        body: Body,
        rng: &mut impl CryptoRngCore,
    ) {
        if side != exchange.peer {
            return self.fail(Failure::SomebodyElse, rng);
        }
        match phase.as_str() {
            PAKE if digest(&body) != exchange.peer_pake => self.fail(Failure::SomebodyElse, rng),
            VERSION => self.read_version(exchange, &phase, &body, rng),
            ABORT => match exchange.key.open(&side, &phase, &body) {
                Ok(text) => self.fail(abort_reason(&text), rng),
                Err(_) => self.fail(Failure::WrongCode, rng),
            },
            INTRODUCTION => self.keep_for_later(phase, body),
            _ => {}
        }
    }

    /// S1 → S2, or the end: this is where a wrong code shows.
    fn read_version(
        &mut self,
        exchange: &Exchange,
        phase: &Phase,
        body: &Body,
        rng: &mut impl CryptoRngCore,
    ) {
        let Ok(text) = exchange.key.open(&exchange.peer, phase, body) else {
            return self.fail(Failure::WrongCode, rng);
        };
        let Ok(version) = serde_json::from_slice::<VersionBody>(&text) else {
            return self.fail(Failure::Incompatible, rng);
        };
        let commitment = version.app_versions.petmail.commitment;
        let signed = self.next.record.signed(exchange);
        self.say_sealed(exchange, INTRODUCTION, &signed.encode(), rng);
        self.enter(Stage::Committed { exchange: exchange.clone(), commitment });
        self.read_what_was_kept(rng);
    }

    /// S2: only what the peer sealed counts.
    fn after_trust(
        &mut self,
        exchange: &Exchange,
        commitment: &Commitment,
        side: &Side,
        phase: &Phase,
        body: &Body,
        rng: &mut impl CryptoRngCore,
    ) {
        if phase.as_str() != INTRODUCTION {
            return self.maybe_abort(exchange, side, phase, body, rng);
        }
        if *side != exchange.peer {
            return;
        }
        let Ok(frame) = exchange.key.open(side, phase, body) else { return };
        let verified =
            Unverified::decode(&frame).and_then(|signed| signed.verify(side, commitment, &exchange.key));
        match verified {
            Ok(verified) => self.introduced(verified, rng),
            Err(error) => self.fail(error.into(), rng),
        }
    }

    /// S2 → S3, or the end if the two do not fit.
    pub(super) fn introduced(&mut self, verified: VerifiedIntroduction, rng: &mut impl CryptoRngCore) {
        let VerifiedIntroduction { introduction: theirs, nonce } = verified;
        let record = &self.next.record;
        let Some(exchange) = record.exchange().cloned() else { return };
        let (ours, our_key) = (record.local.purpose, record.local.signing_key.verifying_key());
        if theirs.channel.verifying_key == our_key {
            return self.fail(crate::invitation::introduction::IntroductionError::Own.into(), rng);
        }
        if !ours.fits(theirs.purpose) {
            return self.fail(Failure::PurposeMismatch { ours, theirs: theirs.purpose }, rng);
        }
        let is_offer = theirs.offer.as_ref().is_some_and(|offer| offer.parse().is_ok());
        if ours == Purpose::MailboxCustomer && !is_offer {
            return self.fail(Failure::NoOffer, rng);
        }
        let Some(reach) = reach(record.local.has_transport, theirs.has_transport()) else {
            return self.fail(Failure::NoTransport, rng);
        };
        let safety_words = safety_words((&exchange.nonce, &our_key), (&nonce, &theirs.channel.verifying_key));
        let packet = record.signed(&exchange).into_packet(&record.side, &exchange.key);
        let completed = Completed { introduction: theirs, packet, safety_words, reach };
        self.effects.push(Effect::Completed(Box::new(completed)));
        self.enter(Stage::Introduced { exchange: Some(exchange), reach });
    }

    /// S2, S3: a peer that gives up says so.
    fn maybe_abort(
        &mut self,
        exchange: &Exchange,
        side: &Side,
        phase: &Phase,
        body: &Body,
        rng: &mut impl CryptoRngCore,
    ) {
        if phase.as_str() != ABORT || *side != exchange.peer {
            return;
        }
        if let Ok(text) = exchange.key.open(side, phase, body) {
            self.fail(abort_reason(&text), rng);
        }
    }

    /// Fails, and tells the peer if there is a key to tell it with.
    pub(super) fn fail(&mut self, failure: Failure, rng: &mut impl CryptoRngCore) {
        let mood = mood(&failure);
        let keyed = self.next.record.exchange().is_some();
        if keyed && !matches!(failure, Failure::PeerCancelled | Failure::PeerFailed) {
            self.say_abort(Abort::Failed, rng);
        }
        self.effects.push(Effect::Failed(failure.clone()));
        self.enter(Stage::Failed(failure));
        if keyed { self.leave(mood) } else { self.depart(mood) }
    }

    pub(super) fn say_abort(&mut self, abort: Abort, rng: &mut impl CryptoRngCore) {
        if let Some(exchange) = self.next.record.exchange().cloned() {
            self.say_sealed(&exchange, ABORT, &json(&AbortBody { abort }), rng);
        }
    }

    fn say_sealed(
        &mut self,
        exchange: &Exchange,
        phase: &'static str,
        text: &[u8],
        rng: &mut impl CryptoRngCore,
    ) {
        let body = exchange.key.seal(&self.next.record.side, &phase_named(phase), text, rng);
        self.say(phase, body.expect("our bodies are far below the limit"));
    }

    pub(super) fn say(&mut self, phase: &'static str, body: Body) {
        self.next.record.meeting.outgoing.push(Outgoing { phase: phase_named(phase), body });
        self.changed = true;
    }

    /// Keeps a body that came before its turn; servers promise no order.
    fn keep_for_later(&mut self, phase: Phase, body: Body) {
        let known = [VERSION, INTRODUCTION, ABORT].contains(&phase.as_str());
        let early = &mut self.next.link.early;
        if known && !early.iter().any(|(kept, _)| *kept == phase) {
            early.push((phase, body));
        }
    }

    fn read_what_was_kept(&mut self, rng: &mut impl CryptoRngCore) {
        let Some(peer) = self.next.record.exchange().map(|exchange| exchange.peer.clone()) else { return };
        for (phase, body) in core::mem::take(&mut self.next.link.early) {
            self.peer_said(peer.clone(), phase, body, rng);
        }
    }
}

const fn reach(ours: bool, theirs: bool) -> Option<Reach> {
    match (ours, theirs) {
        (true, true) => Some(Reach::Both),
        (true, false) => Some(Reach::OnlyUs),
        (false, true) => Some(Reach::OnlyThem),
        (false, false) => None,
    }
}

/// What magic-wormhole servers count.
const fn mood(failure: &Failure) -> &'static str {
    match failure {
        Failure::WrongCode | Failure::SomebodyElse | Failure::Crowded | Failure::BadPake(_) => "scary",
        Failure::ExpiredOnServer => "lonely",
        Failure::Incompatible
        | Failure::BadIntroduction(_)
        | Failure::PurposeMismatch { .. }
        | Failure::NoTransport
        | Failure::NoOffer
        | Failure::ServerRefused(_)
        | Failure::PeerCancelled
        | Failure::PeerFailed => "errory",
    }
}

fn abort_reason(text: &[u8]) -> Failure {
    match serde_json::from_slice(text) {
        Ok(AbortBody { abort: Abort::Cancelled }) => Failure::PeerCancelled,
        Ok(AbortBody { abort: Abort::Failed }) | Err(_) => Failure::PeerFailed,
    }
}

fn digest(body: &Body) -> [u8; 32] {
    Sha256::digest(body.as_bytes()).into()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs always serialise")
}

fn phase_named(phase: &'static str) -> Phase {
    Phase::new(phase).expect("our phases are short")
}
