//! One encryption of one message for one mailbox: the same bytes however often it is repeated.
//!
//! Its randomness is derived from a secret of the message and from everything that goes into it. So whoever repeats an
//! attempt whose answer was lost, even after a crash, posts the very bytes that the server may have, which stores them once;
//! and whatever differs gets randomness of its own.

use hkdf::Hkdf;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    message::{self, MSG_C_OVERHEAD_BYTES, Outgoing},
    reset::{OutgoingReset, Reset},
};
use crate::{
    delivery::{self, Bucket, MsgA, seal_delivery},
    keys::{ChannelVerifyingKey, DeliveryPublicKey, SealSeed},
    token::{BadToken, SenderToken, TokenPublicKey},
    wire::Writer,
};

/// Separates the randomness of attempts from any other use of a message's seed.
const LABEL: &str = "petmail.org/v1/attempt";

/// Why an attempt cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The message cannot be sealed for the contact.
    #[error(transparent)]
    Message(#[from] message::SealError),
    /// The contact's token, or its server's key for it, is invalid.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The message cannot be sealed for the server.
    #[error(transparent)]
    Delivery(#[from] delivery::SealError),
}

/// A message for a certain transport, whose server's keys are known.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The channel, the message's number, the transport.
    pub outgoing: Outgoing<'a>,
    /// The contact's token for the transport.
    pub token: &'a SenderToken,
    /// The server's key that the token was made for.
    pub token_key: &'a TokenPublicKey,
    /// The server's key for deliveries.
    pub delivery_key: &'a DeliveryPublicKey,
}

impl Attempt<'_> {
    /// Seals `json` into the smallest msgA that holds it.
    ///
    /// # Errors
    /// [`AttemptError`].
    pub fn seal(&self, seed: &SealSeed, json: &[u8]) -> Result<MsgA, AttemptError> {
        let bucket = bucket_for(json.len()).ok_or(message::SealError::TooLarge)?;
        let mut rng = self.rng(seed, json);
        let msg_c = self.outgoing.seal(json, bucket.msg_c_bytes(), &mut rng)?;
        self.seal_delivery(&msg_c, &mut rng)
    }

    /// Seals a key reset, bound to the contact that has this verifying key.
    ///
    /// # Errors
    /// [`AttemptError`].
    pub fn seal_reset(
        &self,
        seed: &SealSeed,
        reset: &Reset,
        their_verifying_key: &ChannelVerifyingKey,
    ) -> Result<MsgA, AttemptError> {
        let Outgoing { signing_key, receiver_key: _, cid_subkeys, tid, attempt, number } = self.outgoing;
        let outgoing = OutgoingReset { signing_key, their_verifying_key, cid_subkeys, tid, attempt, number };
        let mut rng = self.rng(seed, &reset.encode());
        let msg_c = outgoing.seal(reset, &mut rng);
        self.seal_delivery(&msg_c, &mut rng)
    }

    fn seal_delivery(&self, msg_c: &[u8], rng: &mut ChaCha20Rng) -> Result<MsgA, AttemptError> {
        let token = self.token.for_message(self.token_key, rng)?;
        Ok(seal_delivery(msg_c, &token, self.delivery_key, rng)?)
    }

    fn rng(&self, seed: &SealSeed, json: &[u8]) -> ChaCha20Rng {
        let Outgoing { signing_key, receiver_key, cid_subkeys: _, tid, attempt, number } = self.outgoing;
        let info = Writer::labelled(LABEL)
            .fixed(signing_key.verifying_key().as_bytes())
            .fixed(receiver_key.as_bytes())
            .fixed(self.outgoing.cid_subkeys.token(tid, attempt, number).as_bytes())
            .fixed(self.token.as_bytes())
            .fixed(self.token_key.as_bytes())
            .fixed(self.delivery_key.as_bytes())
            .fixed(json)
            .finish();
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, seed.expose_bytes())
            .expand(&info, derived.as_mut())
            .expect("32 bytes are less than HKDF's limit");
        ChaCha20Rng::from_seed(*derived)
    }
}

/// The size of the msgA that holds `json_bytes` of payload; none if it is too long.
#[must_use]
pub fn bucket_for(json_bytes: usize) -> Option<Bucket> {
    Bucket::with_room_for(json_bytes.saturating_add(MSG_C_OVERHEAD_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::{MessageNumber, cid::CidSubkeys, message::MsgC},
        delivery::open_delivery,
        keys::{ChannelSigningKey, CidKey, DeliverySecretKey, ReceiverSecretKey, TransportId},
        token::{SlotElement, TokenSecretKey},
    };

    struct Keys {
        signing: ChannelSigningKey,
        receiver: ReceiverSecretKey,
        subkeys: CidSubkeys,
        tid: TransportId,
        token: SenderToken,
        token_key: TokenPublicKey,
        delivery: DeliverySecretKey,
        seed: SealSeed,
    }

    impl Keys {
        fn new() -> Self {
            let mut rng = ChaCha20Rng::seed_from_u64(7);
            let token_key = TokenSecretKey::generate(&mut rng).public_key();
            let account = SlotElement::generate(&mut rng).seal(&token_key, &mut rng).unwrap();
            Self {
                signing: ChannelSigningKey::generate(&mut rng),
                receiver: ReceiverSecretKey::generate(&mut rng),
                subkeys: CidSubkeys::derive(&CidKey::generate(&mut rng)),
                tid: TransportId::generate(&mut rng),
                token: account.for_contact(&token_key, &mut rng).unwrap(),
                token_key,
                delivery: DeliverySecretKey::generate(&mut rng),
                seed: SealSeed::generate(&mut rng),
            }
        }

        fn seal(&self, attempt: u8, json: &[u8]) -> MsgA {
            let receiver_key = self.receiver.public_key();
            let outgoing = Outgoing {
                signing_key: &self.signing,
                receiver_key: &receiver_key,
                cid_subkeys: &self.subkeys,
                tid: &self.tid,
                attempt,
                number: MessageNumber { epoch: 1, seqnum: 2 },
            };
            let delivery_key = self.delivery.public_key();
            let (token, token_key) = (&self.token, &self.token_key);
            Attempt { outgoing, token, token_key, delivery_key: &delivery_key }
                .seal(&self.seed, json)
                .unwrap()
        }

        fn pubkey2(&self, msg_a: &MsgA) -> [u8; 32] {
            let delivery = open_delivery(msg_a.as_bytes(), std::slice::from_ref(&self.delivery)).unwrap();
            MsgC::parse(&delivery.msg_c).unwrap().msg_d[..32].try_into().unwrap()
        }
    }

    #[test]
    fn a_repeated_attempt_has_the_same_bytes_and_opens() {
        let keys = Keys::new();
        let [first, again] = [(); 2].map(|()| keys.seal(0, b"{}"));
        assert_eq!(first, again);
        let delivery = open_delivery(first.as_bytes(), std::slice::from_ref(&keys.delivery)).unwrap();
        let message = MsgC::parse(&delivery.msg_c).unwrap();
        let envelope = keys.subkeys.open(&message.cid_box).unwrap();
        let opened = message.open(&envelope, &keys.receiver).unwrap();
        assert_eq!(opened.verify(&keys.signing.verifying_key()).unwrap(), b"{}");
    }

    #[test]
    fn whatever_differs_has_randomness_of_its_own() {
        let keys = Keys::new();
        let mut seen = vec![keys.pubkey2(&keys.seal(0, b"{}"))];
        let mut differs = |keys: &Keys, attempt, json: &[u8], opener: &Keys| {
            let pubkey2 = opener.pubkey2(&keys.seal(attempt, json));
            assert!(!seen.contains(&pubkey2));
            seen.push(pubkey2);
        };
        differs(&keys, 1, b"{}", &keys);
        differs(&keys, 0, b"[]", &keys);
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let other = Keys { receiver: ReceiverSecretKey::generate(&mut rng), ..Keys::new() };
        differs(&other, 0, b"{}", &keys);
        let other = Keys { delivery: DeliverySecretKey::generate(&mut rng), ..Keys::new() };
        differs(&other, 0, b"{}", &other);
        let other = Keys { tid: TransportId::generate(&mut rng), ..Keys::new() };
        differs(&other, 0, b"{}", &keys);
        let other = Keys { seed: SealSeed::generate(&mut rng), ..Keys::new() };
        differs(&other, 0, b"{}", &keys);
    }
}
