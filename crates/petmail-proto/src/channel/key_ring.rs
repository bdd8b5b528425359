//! The rotating keys that open what one contact sends, and which of the contact's own is the newest.
//!
//! The first use of the newest key supersedes it: a successor is announced. Superseded keys are kept for what is still under
//! way, at most [`MAX_SUPERSEDED`] of them and at most for [`KEY_LIFE`]; then only their fingerprints are left, so that a
//! message that comes too late is asked for again. Specification: Delivery, "Keys".

use std::time::Duration;

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::{KeyId, ReceiverKey};
use crate::{
    keys::{ReceiverPublicKey, ReceiverSecretKey, is_valid_public_key, stored_secret},
    time::UnixMillis,
};

/// How long a superseded key is kept at most: whoever steals a node's state reads nothing that was received before.
pub const KEY_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// The most superseded keys kept: a contact that uses each successor at once makes no more.
pub const MAX_SUPERSEDED: usize = 8;

/// The most fingerprints of retired keys.
pub const MAX_RETIRED: usize = 256;

/// The first half of the SHA-256 of a public key: enough to tell one's own keys apart.
type Fingerprint = [u8; 16];

/// A key that opens messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    kid: KeyId,
    #[serde(with = "stored_secret")]
    key: ReceiverSecretKey,
    /// When its successor was made; none for the newest.
    superseded_at: Option<UnixMillis>,
}

/// The keys for what one contact sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRing {
    /// The oldest first; never empty.
    held: Vec<Held>,
    /// The oldest first.
    retired: Vec<Fingerprint>,
    /// The greatest of our keys that the contact is known to have.
    using: KeyId,
}

/// What is left of the key that a message was encrypted to.
#[derive(Clone, Copy, Debug)]
pub enum Holding<'a> {
    /// All of it.
    Held(&'a ReceiverSecretKey),
    /// Its fingerprint: it was ours and is erased.
    Retired,
    /// Nothing: it is of another node's life, or of nobody.
    Unknown,
}

/// The `key` packet: the sender's newest key, and which of the receiver's it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPacket {
    /// The newest key for messages to the sender; left out once the receiver is known to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<ReceiverKey>,
    /// The newest of the receiver's keys that the sender knows.
    pub using: KeyId,
}

impl KeyRing {
    /// Begins with the key that was published in the introduction.
    #[must_use]
    pub fn new(kid: KeyId, key: ReceiverSecretKey) -> Self {
        Self { held: vec![Held { kid, key, superseded_at: None }], retired: Vec::new(), using: kid }
    }

    /// Begins anew with a fresh key of this epoch, which nobody knows yet: all earlier ones are lost.
    pub fn generate(epoch: u64, rng: &mut impl CryptoRngCore) -> Self {
        let fresh = Self::new(KeyId { epoch, index: 0 }, ReceiverSecretKey::generate(rng));
        Self { using: KeyId::default(), ..fresh }
    }

    /// Returns the newest key, to be published.
    ///
    /// # Panics
    /// Never: the newest key is not retired.
    #[must_use]
    pub fn newest(&self) -> ReceiverKey {
        let newest = self.held.last().expect("the newest key is always held");
        ReceiverKey { kid: newest.kid, key: newest.key.public_key() }
    }

    /// Makes the packet for the next message, given the newest of the contact's keys.
    #[must_use]
    pub fn packet(&self, using: KeyId) -> KeyPacket {
        let newest = self.newest();
        KeyPacket { newest: (self.using < newest.kid).then_some(newest), using }
    }

    /// Looks for the key that a message was encrypted to.
    #[must_use]
    pub fn find(&self, key: &ReceiverPublicKey) -> Holding<'_> {
        match self.held.iter().find(|held| held.key.public_key() == *key) {
            Some(held) => Holding::Held(&held.key),
            None if self.retired.contains(&fingerprint(key)) => Holding::Retired,
            None => Holding::Unknown,
        }
    }

    /// Notes that a message to `key` was opened and verified. The first one to the newest key brings a successor, numbered
    /// within `epoch`. Tells whether anything changed.
    pub fn used(
        &mut self,
        key: &ReceiverPublicKey,
        epoch: u64,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> bool {
        let Some(newest) = self.held.last_mut().filter(|held| held.key.public_key() == *key) else {
            return false;
        };
        newest.superseded_at = Some(now);
        let kid = successor(newest.kid, epoch);
        self.held.push(Held { kid, key: ReceiverSecretKey::generate(rng), superseded_at: None });
        if self.held.len().saturating_sub(1) > MAX_SUPERSEDED {
            self.retire_first();
        }
        true
    }

    /// Notes which of these keys the contact says it has; tells whether that is news.
    pub fn peer_uses(&mut self, kid: KeyId) -> bool {
        let is_news = kid > self.using && kid <= self.newest().kid;
        if is_news {
            self.using = kid;
        }
        is_news
    }

    /// Tells whether the contact may know none of the keys that are held: what it sends cannot be opened until it is told one.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        self.held.first().is_none_or(|oldest| self.using < oldest.kid)
    }

    /// Notes that the contact was set back, and may have none of the later keys: the newest is announced again.
    pub fn peer_forgot(&mut self) {
        self.using = KeyId::default();
    }

    /// Erases superseded keys that are too old; and those whose successor the contact uses, if `all_received`: if nothing is
    /// missing below what came. Tells whether anything changed.
    ///
    /// A clock that was set back makes no key older than it is now: its time begins anew, once.
    pub fn erase(&mut self, all_received: bool, now: UnixMillis) -> bool {
        let mut changed = false;
        for held in &mut self.held {
            let from_the_future = held.superseded_at.filter(|time| *time > now);
            changed |= from_the_future.is_some();
            held.superseded_at = from_the_future.map_or(held.superseded_at, |_| Some(now));
        }
        while let [first, second, ..] = self.held.as_slice() {
            let is_old = first.superseded_at.is_none_or(|time| now.since(time) >= KEY_LIFE);
            let is_done = all_received && self.using >= second.kid;
            if !is_old && !is_done {
                break;
            }
            self.retire_first();
            changed = true;
        }
        changed
    }

    /// When a key has to be erased at the latest.
    #[must_use]
    pub fn erases_at(&self) -> Option<UnixMillis> {
        self.held.first()?.superseded_at.map(|time| time.plus(KEY_LIFE))
    }

    fn retire_first(&mut self) {
        let first = self.held.remove(0);
        self.retired.push(fingerprint(&first.key.public_key()));
        if self.retired.len() > MAX_RETIRED {
            self.retired.remove(0);
        }
    }
}

/// Takes over a contact's key if it is greater and usable; tells whether it is.
pub fn adopt(current: &mut ReceiverKey, announced: ReceiverKey) -> bool {
    let is_good = announced.kid > current.kid && is_valid_public_key(announced.key.as_bytes());
    if is_good {
        *current = announced;
    }
    is_good
}

/// The number after `kid`, in `epoch` if that has begun since.
fn successor(kid: KeyId, epoch: u64) -> KeyId {
    if epoch > kid.epoch {
        return KeyId { epoch, index: 0 };
    }
    match kid.index.checked_add(1) {
        Some(index) => KeyId { index, ..kid },
        None => KeyId { epoch: kid.epoch.saturating_add(1), index: 0 },
    }
}

fn fingerprint(key: &ReceiverPublicKey) -> Fingerprint {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000_000);

    fn ring() -> (KeyRing, ChaCha20Rng) {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        (KeyRing::new(KeyId { epoch: 5, index: 0 }, ReceiverSecretKey::generate(&mut rng)), rng)
    }

    fn is_held(ring: &KeyRing, key: &ReceiverPublicKey) -> bool {
        matches!(ring.find(key), Holding::Held(_))
    }

    fn is_retired(ring: &KeyRing, key: &ReceiverPublicKey) -> bool {
        matches!(ring.find(key), Holding::Retired)
    }

    #[test]
    fn the_first_use_of_a_key_brings_a_successor_and_later_ones_do_not() {
        let (mut ring, mut rng) = ring();
        let first = ring.newest();
        assert_eq!(ring.packet(first.kid).newest, None, "the introduction published it");
        assert!(ring.used(&first.key, 5, NOW, &mut rng));
        let second = ring.newest();
        assert_eq!(second.kid, KeyId { epoch: 5, index: 1 });
        assert_eq!(ring.packet(first.kid), KeyPacket { newest: Some(second), using: first.kid });
        assert!(!ring.used(&first.key, 6, NOW, &mut rng));
        assert!(ring.used(&second.key, 6, NOW, &mut rng));
        assert_eq!(ring.newest().kid, KeyId { epoch: 6, index: 0 });
        assert!(is_held(&ring, &first.key) && is_held(&ring, &second.key));
    }

    #[test]
    fn a_fresh_key_is_announced() {
        let (_, mut rng) = ring();
        let fresh = KeyRing::generate(7, &mut rng);
        assert_eq!(fresh.packet(KeyId::default()).newest, Some(fresh.newest()));
    }

    #[test]
    fn a_key_goes_when_its_successor_is_used_and_nothing_is_missing() {
        let (mut ring, mut rng) = ring();
        let first = ring.newest().key;
        ring.used(&first, 5, NOW, &mut rng);
        let second = ring.newest().kid;
        assert!(!ring.erase(true, NOW), "the contact does not know the second");
        assert!(!ring.peer_uses(KeyId { epoch: 9, index: 9 }), "nobody knows a key that was never made");
        assert!(ring.peer_uses(second) && !ring.peer_uses(second));
        assert_eq!(ring.packet(second).newest, None);
        assert!(!ring.erase(false, NOW), "something may be under way");
        assert!(ring.erase(true, NOW) && is_retired(&ring, &first));
        ring.peer_forgot();
        assert_eq!(ring.packet(second).newest, Some(ring.newest()));
    }

    #[test]
    fn after_a_day_a_key_goes_whatever_is_missing() {
        let (mut ring, mut rng) = ring();
        let first = ring.newest().key;
        assert_eq!(ring.erases_at(), None);
        ring.used(&first, 5, NOW, &mut rng);
        let end = NOW.plus(KEY_LIFE);
        assert_eq!(ring.erases_at(), Some(end));
        assert!(!ring.erase(false, end.minus(Duration::from_millis(1))) && is_held(&ring, &first));
        assert!(ring.erase(false, end) && is_retired(&ring, &first));
        assert!(!ring.erase(false, end.plus(KEY_LIFE)), "the newest stays");
        assert!(matches!(ring.find(&ReceiverPublicKey::from_bytes([9; 32])), Holding::Unknown));
    }

    #[test]
    fn a_contact_that_knows_no_key_that_is_held_is_out_of_reach() {
        let (mut ring, mut rng) = ring();
        let first = ring.newest().key;
        assert!(!ring.is_out_of_reach());
        ring.used(&first, 5, NOW, &mut rng);
        assert!(!ring.is_out_of_reach(), "the first is still held");
        ring.erase(false, NOW.plus(KEY_LIFE));
        assert!(ring.is_out_of_reach());
        ring.peer_uses(ring.newest().kid);
        assert!(!ring.is_out_of_reach());
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_key_for_ever() {
        let (mut ring, mut rng) = ring();
        let first = ring.newest().key;
        ring.used(&first, 5, UnixMillis(u64::MAX), &mut rng);
        assert!(ring.erase(false, NOW) && is_held(&ring, &first));
        assert!(ring.erase(false, NOW.plus(KEY_LIFE)) && is_retired(&ring, &first));
    }

    #[test]
    fn only_a_greater_and_usable_key_is_adopted() {
        let (ring, mut rng) = ring();
        let (mut current, valid) = (ring.newest(), KeyRing::generate(6, &mut rng).newest());
        assert!(!adopt(&mut current, ReceiverKey { kid: KeyId { epoch: 4, index: 9 }, ..valid }));
        let kid = current.kid;
        assert!(!adopt(&mut current, ReceiverKey { kid, ..valid }));
        assert!(!adopt(&mut current, ReceiverKey { key: ReceiverPublicKey::from_bytes([0; 32]), ..valid }));
        assert!(adopt(&mut current, valid) && current == valid);
    }

    #[test]
    fn numbers_rise_to_the_end() {
        let last = KeyId { epoch: 7, index: u32::MAX };
        assert_eq!(successor(last, 7), KeyId { epoch: 8, index: 0 });
        assert_eq!(successor(last, 3), KeyId { epoch: 8, index: 0 });
    }

    #[derive(Clone, Debug)]
    enum Deed {
        Use(prop::sample::Index),
        PeerUses(prop::sample::Index),
        Erase(bool),
        Pass(u64),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            any::<prop::sample::Index>().prop_map(Deed::Use),
            any::<prop::sample::Index>().prop_map(Deed::PeerUses),
            any::<bool>().prop_map(Deed::Erase),
            (0..30_u64).prop_map(Deed::Pass),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_few_keys_are_held_and_none_for_long(deeds in prop::collection::vec(deed(), 1..300)) {
            let (mut ring, mut rng) = ring();
            let (mut now, mut made) = (NOW, vec![(ring.newest(), NOW)]);
            for deed in deeds {
                let newest = ring.newest();
                match deed {
                    Deed::Use(which) => {
                        let (key, _) = *which.get(&made);
                        if is_held(&ring, &key.key) && ring.used(&key.key, now.0, now, &mut rng) {
                            prop_assert_eq!(key, newest);
                            prop_assert!(ring.newest().kid > newest.kid);
                            made.last_mut().unwrap().1 = now;
                            made.push((ring.newest(), now));
                        }
                    }
                    Deed::PeerUses(which) => drop(ring.peer_uses(which.get(&made).0.kid)),
                    Deed::Erase(all_received) => {
                        ring.erase(all_received, now);
                        for (key, superseded_at) in made.iter().rev().skip(1) {
                            prop_assert!(now.since(*superseded_at) < KEY_LIFE || !is_held(&ring, &key.key));
                        }
                    }
                    Deed::Pass(hours) => now = now.plus(Duration::from_secs(hours.saturating_mul(3_600))),
                }
                prop_assert!(ring.held.len() <= MAX_SUPERSEDED.saturating_add(1));
                prop_assert!(is_held(&ring, &made.last().unwrap().0.key));
                let told_apart = made.iter().rev().take(MAX_RETIRED);
                for (key, _) in told_apart {
                    prop_assert!(is_held(&ring, &key.key) || is_retired(&ring, &key.key));
                }
            }
        }
    }
}
