//! Key resets: how an agent that has lost all its receiver keys, because it was restored from a backup, tells a contact.
//!
//! A reset travels as a msgC whose envelope names a receiver key of zeros. In place of a message it has
//! msgD = 32 random bytes ‖ secretbox(K_rst, signature ‖ rst ‖ zeros); rst = kid ‖ new key ‖ highest epoch seen ‖
//! var(transports as JSON) ‖ var(channel resets as JSON). The signature covers the token, the hash of the other's verifying
//! key, and rst. Specification: Delivery, "Reset".

use std::time::Duration;

use crypto_secretbox::{
    XSalsa20Poly1305,
    aead::{Aead, AeadCore},
};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    MessageNumber,
    channel_reset::{ChannelReset, MAX_RESETS},
    cid::{CID_BOX_BYTES, CidSubkeys, CidToken, Envelope},
    message::{Damaged, MsgC},
    record::{KeyId, ReceiverKey, SUITE_C1, Transports},
};
use crate::{
    delivery::Bucket,
    keys::{
        ChannelSigningKey, ChannelVerifyingKey, ReceiverPublicKey, SigningContext, TransportId,
        is_valid_public_key,
    },
    time::UnixMillis,
    wire::{Reader, WireError, Writer},
};

const RANDOM_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// What a msgC has around the plaintext of a reset.
const OVERHEAD_BYTES: usize = SUITE_C1.len() + 32 + CID_BOX_BYTES + RANDOM_BYTES + NONCE_BYTES + 16;

/// The shortest time between two resets to one contact.
pub const MIN_PAUSE: Duration = Duration::from_secs(600);
/// The longest time between two resets to one contact.
pub const MAX_PAUSE: Duration = Duration::from_secs(24 * 3_600);

/// The most bytes of transports: with them alone the shortest message is full.
const MAX_TRANSPORTS_BYTES: usize = Bucket::Kib4.msg_c_bytes() - OVERHEAD_BYTES - 64 - RST_BYTES;
/// The most bytes of channel resets.
const MAX_RESETS_BYTES: usize = Bucket::Kib64.msg_c_bytes() / 2;
/// What rst has without transports and channel resets.
const RST_BYTES: usize = 8 + 4 + 32 + 8 + 4 + 4;

/// What a reset says. As a record of the program's own it is JSON; on the wire it is rst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// The sender's new key.
    pub key: ReceiverKey,
    /// The highest epoch that the sender has seen of the receiver; 0 if none.
    pub seen_epoch: u64,
    /// Where the sender can be reached: the key that an ordinary message would need may be lost to it. Left out if they are
    /// longer than a reset holds.
    pub transports: Option<Transports>,
    /// The sender's last channel resets, oldest first: the key that signs may be unknown to the receiver. At most
    /// [`MAX_RESETS`].
    #[serde(default)]
    pub channel_resets: Vec<ChannelReset>,
}

/// An opened reset whose sender is not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedReset {
    reset: Reset,
    transcript: Vec<u8>,
    signature: [u8; 64],
}

impl UnverifiedReset {
    /// Returns the reset if `key` signed it.
    ///
    /// # Errors
    /// [`Damaged::Signature`].
    pub fn verify(&self, key: &ChannelVerifyingKey) -> Result<&Reset, Damaged> {
        key.verify(SigningContext::KeyReset, &self.transcript, &self.signature)
            .map_err(|_| Damaged::Signature)?;
        Ok(&self.reset)
    }

    /// Lets the caller look for a key among the channel resets inside; it then calls [`Self::verify`].
    #[must_use]
    pub fn dangerous_peek(&self) -> &Reset {
        &self.reset
    }
}

/// Everything that sealing a reset needs to know of the channel and the attempt.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingReset<'a> {
    /// The sender's key for this channel.
    pub signing_key: &'a ChannelSigningKey,
    /// The contact's key, which the reset is bound to.
    pub their_verifying_key: &'a ChannelVerifyingKey,
    /// The subkeys of the contact's CIDKey.
    pub cid_subkeys: &'a CidSubkeys,
    /// The transport that the reset is for.
    pub tid: &'a TransportId,
    /// Counts the encryptions of this reset for this transport, from 0.
    pub attempt: u8,
    /// The reset's number.
    pub number: MessageNumber,
}

impl OutgoingReset<'_> {
    /// Seals a reset into a msgC of the smallest size that holds it.
    ///
    /// # Panics
    /// Never: the cipher takes any short plaintext.
    pub fn seal(&self, reset: &Reset, rng: &mut impl CryptoRngCore) -> Vec<u8> {
        let token = self.cid_subkeys.token(self.tid, self.attempt, self.number);
        let rst = reset.encode();
        let signed = transcript(&token, self.their_verifying_key, &rst);
        let mut plain = Writer::new()
            .fixed(&self.signing_key.sign(SigningContext::KeyReset, &signed))
            .fixed(&rst)
            .finish();
        let bucket = Bucket::with_room_for(plain.len().saturating_add(OVERHEAD_BYTES));
        let bytes = bucket.unwrap_or(Bucket::Kib256).msg_c_bytes();
        plain.resize(bytes.saturating_sub(OVERHEAD_BYTES), 0);
        let mut random = [0; RANDOM_BYTES];
        rng.fill_bytes(&mut random);
        let nonce = XSalsa20Poly1305::generate_nonce(&mut *rng);
        let boxed = self.cid_subkeys.reset_cipher().encrypt(&nonce, plain.as_slice());
        let boxed = boxed.expect("the plaintext has a few KiB");
        let msg_d = [random.as_slice(), nonce.as_slice(), &boxed].concat();
        let envelope = Envelope {
            attempt: self.attempt,
            number: self.number,
            msg_d_hash: Sha256::digest(&msg_d).into(),
            receiver_key: ReceiverPublicKey::from_bytes([0; 32]),
        };
        Writer::new()
            .fixed(SUITE_C1.as_bytes())
            .fixed(token.as_bytes())
            .fixed(&self.cid_subkeys.seal(&envelope, rng))
            .fixed(&msg_d)
            .finish()
    }
}

impl Reset {
    /// Opens a reset whose envelope was opened with `subkeys`; what comes out still lacks the check of the signature.
    ///
    /// # Errors
    /// [`Damaged`]: it is damaged, or announces an unusable key.
    pub fn open(
        message: &MsgC<'_>,
        envelope: &Envelope,
        subkeys: &CidSubkeys,
        mine: &ChannelVerifyingKey,
    ) -> Result<UnverifiedReset, Damaged> {
        if !envelope.matches(message.msg_d) || !envelope.is_reset() {
            return Err(Damaged::Envelope);
        }
        let sealed = message.msg_d.get(RANDOM_BYTES..).ok_or(WireError::Truncated)?;
        let (nonce, boxed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(WireError::Truncated)?;
        let plain = subkeys.reset_cipher().decrypt(nonce.into(), boxed).map_err(|_| Damaged::Envelope)?;
        let (signature, rest) = plain.split_first_chunk::<64>().ok_or(WireError::Truncated)?;
        let (reset, signed) = Self::decode(rest)?;
        if !is_valid_public_key(reset.key.key.as_bytes()) {
            return Err(WireError::Malformed.into());
        }
        let transcript = transcript(&message.token, mine, signed);
        Ok(UnverifiedReset { reset, transcript, signature: *signature })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let ReceiverKey { kid, key } = self.key;
        let transports = self.transports.as_ref().and_then(|transports| serde_json::to_vec(transports).ok());
        let transports = transports.filter(|json| json.len() <= MAX_TRANSPORTS_BYTES).unwrap_or_default();
        Writer::new()
            .u64(kid.epoch)
            .u32(kid.index)
            .fixed(key.as_bytes())
            .u64(self.seen_epoch)
            .variable(&transports)
            .variable(&self.encode_channel_resets())
            .finish()
    }

    fn encode_channel_resets(&self) -> Vec<u8> {
        if self.channel_resets.is_empty() {
            return Vec::new();
        }
        serde_json::to_vec(&self.channel_resets).unwrap_or_default()
    }

    /// Returns the reset and its bytes as they were transported.
    fn decode(plain: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let mut reader = Reader::new(plain);
        let kid = KeyId { epoch: reader.u64()?, index: reader.u32()? };
        let key = ReceiverPublicKey::from_bytes(reader.array()?);
        let seen_epoch = reader.u64()?;
        let json = reader.variable(MAX_TRANSPORTS_BYTES)?;
        let transports = serde_json::from_slice(json).ok();
        if !json.is_empty() && transports.as_ref().is_none_or(|sent: &Transports| sent.check().is_err()) {
            return Err(WireError::Malformed);
        }
        let json = reader.variable(MAX_RESETS_BYTES)?;
        let channel_resets: Vec<ChannelReset> = if json.is_empty() {
            Vec::new()
        } else {
            serde_json::from_slice(json).map_err(|_| WireError::Malformed)?
        };
        if channel_resets.len() > MAX_RESETS {
            return Err(WireError::Malformed);
        }
        let padding = reader.rest();
        if padding.iter().any(|byte| *byte != 0) {
            return Err(WireError::Malformed);
        }
        let signed = plain.get(..plain.len().saturating_sub(padding.len())).unwrap_or_default();
        Ok((Self { key: ReceiverKey { kid, key }, seen_epoch, transports, channel_resets }, signed))
    }
}

fn transcript(token: &CidToken, receiver: &ChannelVerifyingKey, rst: &[u8]) -> Vec<u8> {
    let hash: [u8; 32] = Sha256::digest(receiver.as_bytes()).into();
    Writer::new().fixed(token.as_bytes()).fixed(&hash).fixed(rst).finish()
}

/// How often one contact may be sent a reset: two agents that misunderstand each other must not talk for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetLimit {
    last: UnixMillis,
    pause: Duration,
}

impl ResetLimit {
    /// Tells whether a reset may be sent now, and notes that it is. The pause doubles from [`MIN_PAUSE`] to [`MAX_PAUSE`], and
    /// begins anew after a quiet time of four pauses.
    pub fn admits(&mut self, now: UnixMillis) -> bool {
        let quiet = now.since(self.last);
        if quiet < self.pause && self.last <= now {
            return false;
        }
        let is_over = quiet >= self.pause.saturating_mul(4);
        let doubled = self.pause.saturating_mul(2).clamp(MIN_PAUSE, MAX_PAUSE);
        *self = Self { last: now, pause: if is_over { MIN_PAUSE } else { doubled } };
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::{
        channel::{
            channel_reset::NewHalf,
            key_ring::KeyRing,
            own_half::OwnHalf,
            record::{MAX_TRANSPORTS, TransportRecord},
        },
        keys::{CertificatePin, CidKey, ServerIdentityKey},
        token::{SenderToken, TokenKeyId},
    };

    struct Pair {
        rng: ChaCha20Rng,
        signing: ChannelSigningKey,
        receiver: ChannelVerifyingKey,
        subkeys: CidSubkeys,
    }

    const TID: TransportId = TransportId::from_bytes([4; 8]);

    impl Pair {
        fn new(seed: u64) -> Self {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            Self {
                signing: ChannelSigningKey::generate(&mut rng),
                receiver: ChannelSigningKey::generate(&mut rng).verifying_key(),
                subkeys: CidSubkeys::derive(&CidKey::generate(&mut rng)),
                rng,
            }
        }

        fn reset(&mut self) -> Reset {
            let transports = Some(Transports { serial: 8, list: Vec::new() });
            let key = KeyRing::generate(9, &mut self.rng).newest();
            Reset { key, seen_epoch: 7, transports, channel_resets: Vec::new() }
        }

        fn seal(&mut self, reset: &Reset) -> Vec<u8> {
            let number = MessageNumber { epoch: 1, seqnum: 2 };
            let outgoing = OutgoingReset {
                signing_key: &self.signing,
                their_verifying_key: &self.receiver,
                cid_subkeys: &self.subkeys,
                tid: &TID,
                attempt: 0,
                number,
            };
            outgoing.seal(reset, &mut self.rng)
        }

        fn open(&self, msg_c: &[u8]) -> Result<Reset, Damaged> {
            let message = MsgC::parse(msg_c)?;
            let envelope = self.subkeys.open(&message.cid_box).map_err(|_| Damaged::Envelope)?;
            if self.subkeys.token(&TID, envelope.attempt, envelope.number) != message.token {
                return Err(Damaged::Envelope);
            }
            let theirs = self.signing.verifying_key();
            Reset::open(&message, &envelope, &self.subkeys, &self.receiver)?.verify(&theirs).cloned()
        }
    }

    #[test]
    fn a_reset_opens_and_has_the_size_of_a_short_message() {
        let mut pair = Pair::new(1);
        let reset = pair.reset();
        let sealed = pair.seal(&reset);
        assert_eq!(sealed.len(), Bucket::Kib4.msg_c_bytes());
        assert_eq!(pair.open(&sealed), Ok(reset));
    }

    fn transports(count: u8, url_bytes: usize) -> Transports {
        let transport = |number| TransportRecord {
            tid: TransportId::from_bytes([number; 8]),
            url: format!("https://{}.example", "a.".repeat(url_bytes / 2) + "a").parse().unwrap(),
            server: ServerIdentityKey::from_bytes([2; 32]),
            pin: Some(CertificatePin::from_bytes([3; 32])),
            kid: TokenKeyId(4),
            token: SenderToken::from_bytes([0; 64]),
            retention_seconds: 5,
        };
        Transports { serial: u64::MAX, list: (0..count).map(transport).collect() }
    }

    #[test]
    fn as_many_transports_as_there_may_be_fit_and_longer_ones_are_left_out() {
        let mut pair = Pair::new(6);
        let most = u8::try_from(MAX_TRANSPORTS).unwrap();
        let reset = Reset { transports: Some(transports(most, 180)), ..pair.reset() };
        // Their tokens are no group elements: what came is refused, not left out.
        let sealed = pair.seal(&reset);
        assert_eq!(pair.open(&sealed), Err(WireError::Malformed.into()));
        let reset = Reset { transports: Some(transports(3 * most, 180)), ..reset };
        let sealed = pair.seal(&reset);
        assert_eq!(pair.open(&sealed), Ok(Reset { transports: None, ..reset }));
    }

    #[test]
    fn channel_resets_come_along_and_too_many_are_refused() {
        let mut pair = Pair::new(7);
        let (old, own) = (pair.signing.clone(), OwnHalf::generate(3, Transports::default(), &mut pair.rng));
        let mut half = NewHalf { generation: 1, record: own.record() };
        half.record.suites.push("of a later version".repeat(40));
        let packet = ChannelReset::sign(&half, &old, &own.channel.signing_key).unwrap();
        pair.signing = own.channel.signing_key;
        let mut reset = Reset { channel_resets: vec![packet.clone()], ..pair.reset() };
        let sealed = pair.seal(&reset);
        assert_eq!(sealed.len(), Bucket::Kib4.msg_c_bytes());
        assert_eq!(pair.open(&sealed), Ok(reset.clone()));
        reset.channel_resets = vec![packet.clone(); MAX_RESETS];
        let sealed = pair.seal(&reset);
        assert_eq!(sealed.len(), Bucket::Kib16.msg_c_bytes());
        assert_eq!(pair.open(&sealed), Ok(reset.clone()));
        reset.channel_resets.push(packet);
        let sealed = pair.seal(&reset);
        assert_eq!(pair.open(&sealed), Err(WireError::Malformed.into()));
    }

    #[test]
    fn a_reset_is_bound_to_its_sender_and_its_receiver() {
        let mut pair = Pair::new(2);
        let reset = pair.reset();
        let sealed = pair.seal(&reset);
        let other = Pair::new(3);
        let receiver = std::mem::replace(&mut pair.receiver, other.receiver);
        assert_eq!(pair.open(&sealed), Err(Damaged::Signature));
        pair.receiver = receiver;
        pair.signing = other.signing;
        assert_eq!(pair.open(&sealed), Err(Damaged::Signature));
        pair.subkeys = other.subkeys;
        assert_eq!(pair.open(&sealed), Err(Damaged::Envelope));
    }

    #[test]
    fn an_unusable_key_is_refused() {
        let mut pair = Pair::new(4);
        let mut reset = pair.reset();
        reset.key.key = ReceiverPublicKey::from_bytes([0; 32]);
        let sealed = pair.seal(&reset);
        assert_eq!(pair.open(&sealed), Err(WireError::Malformed.into()));
    }

    #[test]
    fn resets_become_rarer_and_after_a_quiet_time_prompt_again() {
        let mut limit = ResetLimit::default();
        let mut now = UnixMillis(1_700_000_000_000);
        let mut sent = Vec::new();
        for minute in 0..60 * 24 * 4_u64 {
            if limit.admits(now) {
                sent.push(minute);
            }
            now = now.plus(Duration::from_secs(60));
        }
        assert_eq!(sent, [0, 10, 30, 70, 150, 310, 630, 1_270, 2_550, 3_990, 5_430]);
        now = now.plus(MAX_PAUSE * 4);
        assert!(
            limit.admits(now) && !limit.admits(now.plus(MIN_PAUSE / 2)) && limit.admits(now.plus(MIN_PAUSE))
        );
        assert!(limit.admits(UnixMillis(5)), "a clock that was set back silences nobody for ever");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(seed: u64, position: prop::sample::Index, bit in 0_u8..8) {
            let mut pair = Pair::new(seed);
            let reset = pair.reset();
            let mut sealed = pair.seal(&reset);
            let index = position.index(sealed.len());
            sealed[index] ^= 1 << bit;
            prop_assert!(pair.open(&sealed).is_err());
        }
    }
}
