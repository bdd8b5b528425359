use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::keys::CidKey;

struct Pair {
    rng: ChaCha20Rng,
    signing: ChannelSigningKey,
    receiver: ReceiverSecretKey,
    subkeys: CidSubkeys,
    tid: TransportId,
}

const NUMBER: MessageNumber = MessageNumber { epoch: 1_700_000_000_000, seqnum: 3 };
const SIZE: usize = 3_980;

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Self {
            signing: ChannelSigningKey::generate(&mut rng),
            receiver: ReceiverSecretKey::generate(&mut rng),
            subkeys: CidSubkeys::derive(&CidKey::generate(&mut rng)),
            tid: TransportId::generate(&mut rng),
            rng,
        }
    }

    fn seal(&mut self, json: &[u8]) -> Result<Vec<u8>, SealError> {
        let outgoing = Outgoing {
            signing_key: &self.signing,
            receiver_key: &self.receiver.public_key(),
            cid_subkeys: &self.subkeys,
            tid: &self.tid,
            attempt: 0,
            number: NUMBER,
        };
        outgoing.seal(json, SIZE, &mut self.rng)
    }

    fn open(&self, msg_c: &[u8]) -> Result<Vec<u8>, Damaged> {
        let msg_c = MsgC::parse(msg_c)?;
        let envelope = self.subkeys.open(&msg_c.cid_box).map_err(|_| Damaged::Envelope)?;
        if self.subkeys.token(&self.tid, envelope.attempt, envelope.number) != msg_c.token {
            return Err(Damaged::Envelope);
        }
        msg_c.open(&envelope, &self.receiver)?.verify(&self.signing.verifying_key())
    }
}

#[test]
fn a_message_comes_out_as_it_went_in_and_always_has_the_size_asked_for() {
    let mut pair = Pair::new(1);
    let largest = vec![b'x'; SIZE - MSG_C_OVERHEAD_BYTES];
    for json in [b"{}".as_slice(), b"", &largest] {
        let sealed = pair.seal(json).unwrap();
        assert_eq!(sealed.len(), SIZE);
        assert_eq!(pair.open(&sealed).unwrap(), json);
    }
    assert_eq!(pair.seal(&[largest, vec![b'x']].concat()), Err(SealError::TooLarge));
}

#[test]
fn two_encryptions_share_no_key() {
    let mut pair = Pair::new(2);
    let (first, second) = (pair.seal(b"{}").unwrap(), pair.seal(b"{}").unwrap());
    let pubkey2 = |bytes: &[u8]| MsgC::parse(bytes).unwrap().msg_d[..32].to_vec();
    assert_ne!(pubkey2(&first), pubkey2(&second));
}

#[test]
fn another_contact_opens_nothing_and_another_signature_is_refused() {
    let mut pair = Pair::new(3);
    let sealed = pair.seal(b"{}").unwrap();
    assert!(Pair::new(4).open(&sealed).is_err());
    pair.signing = ChannelSigningKey::generate(&mut pair.rng);
    assert_eq!(pair.open(&sealed), Err(Damaged::Signature));
}

#[test]
fn an_envelope_does_not_cover_another_message() {
    let mut pair = Pair::new(5);
    let (first, second) = (pair.seal(b"{}").unwrap(), pair.seal(b"[]").unwrap());
    let head = SUITE_C1.len() + 32 + CID_BOX_BYTES;
    let spliced = [&first[..head], &second[head..]].concat();
    assert_eq!(pair.open(&spliced), Err(Damaged::Envelope));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(seed: u64, position: prop::sample::Index, bit in 0_u8..8) {
        let mut pair = Pair::new(seed);
        let mut sealed = pair.seal(b"{\"a\":1}").unwrap();
        let index = position.index(sealed.len());
        sealed[index] ^= 1 << bit;
        prop_assert!(pair.open(&sealed).is_err());
    }

    #[test]
    fn parsing_never_panics(bytes: Vec<u8>) {
        prop_assert!(Pair::new(6).open(&bytes).is_err());
        prop_assert!(Pair::new(6).open(&[b"c1".as_slice(), &bytes].concat()).is_err());
    }
}
