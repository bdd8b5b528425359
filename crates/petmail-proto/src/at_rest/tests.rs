use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use zeroize::Zeroizing;

use super::{passphrase::Stretching, *};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn wrapped(purpose: Purpose) -> WrappedKey {
    let stretching = Stretching::cheap([5; 16]);
    let (id, key) = (DataKeyId::from_bytes([2; 16]), DataKey::from_bytes([3; 32]));
    WrappedKey::wrap_with(purpose, id, &key, (&passphrase("correct horse"), stretching), &mut rng())
}

#[test]
fn a_sealed_value_opens_at_its_place_only() {
    let key = DataKey::from_bytes([7; 32]);
    let sealed = key.seal(b"contacts\0\x01", b"Bob", &mut rng());
    assert_eq!(sealed.len(), 3 + SEALED_OVERHEAD_BYTES);
    assert_eq!(key.open(b"contacts\0\x01", &sealed).unwrap(), b"Bob");
    assert_eq!(key.open(b"contacts\0\x02", &sealed), Err(Damaged));
    assert_eq!(DataKey::from_bytes([8; 32]).open(b"contacts\0\x01", &sealed), Err(Damaged));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(key.open(b"contacts\0\x01", &changed), Err(Damaged), "byte {at}");
        assert_eq!(key.open(b"contacts\0\x01", &sealed[..at]), Err(Damaged), "cut at {at}");
    }
}

#[test]
fn passphrases_are_one_line_and_not_empty() {
    for (text, error) in [
        ("", PassphraseError::Empty),
        (&*"x".repeat(MAX_PASSPHRASE_BYTES + 1), PassphraseError::TooLong),
        ("a\nb", PassphraseError::NotOneLine),
        ("a\r", PassphraseError::NotOneLine),
    ] {
        assert_eq!(Passphrase::new(Zeroizing::new(text.to_owned())).unwrap_err(), error);
    }
    assert_eq!(format!("{:?}", passphrase("secret")), "Passphrase(redacted)");
}

#[test]
fn a_wrapped_key_opens_with_its_passphrase_only() {
    let bytes = wrapped(Purpose::Vault).encode();
    assert_eq!(bytes.len(), WrappedKey::BYTES);
    let read = WrappedKey::decode(Purpose::Vault, &bytes).unwrap();
    assert_eq!(read, wrapped(Purpose::Vault));
    assert_eq!(read.unwrap(&passphrase("correct horse")).unwrap().expose_bytes(), &[3; 32]);
    assert_eq!(read.unwrap(&passphrase("Correct horse")).unwrap_err(), WrongPassphrase);
    assert_eq!(WrappedKey::decode(Purpose::Backup, &bytes), Err(HeaderError::Foreign));
}

#[test]
fn todays_cost_is_what_the_specification_says() {
    let (id, key) = (DataKeyId::from_bytes([2; 16]), DataKey::from_bytes([3; 32]));
    let bytes = WrappedKey::wrap(Purpose::Backup, id, &key, &passphrase("x"), &mut rng()).encode();
    let [memory, passes, lanes] =
        [18, 22, 26].map(|at| u32::from_be_bytes(*bytes[at..].first_chunk().unwrap()));
    assert_eq!((memory, passes, lanes), (65_536, 3, 1));
    let read = WrappedKey::decode(Purpose::Backup, &bytes).unwrap();
    assert_eq!(read.unwrap(&passphrase("x")).unwrap().expose_bytes(), &[3; 32]);
}

#[test]
fn damage_is_told_from_a_wrong_passphrase() {
    let bytes = wrapped(Purpose::Vault).encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let error = WrappedKey::decode(Purpose::Vault, &changed).unwrap_err();
        match at {
            0..16 => assert_eq!(error, HeaderError::Foreign, "byte {at}"),
            16 => assert_eq!(error, HeaderError::Newer { found: 257 }),
            _ => assert_eq!(error, HeaderError::Damaged, "byte {at}"),
        }
        assert!(WrappedKey::decode(Purpose::Vault, &bytes[..at]).is_err(), "cut at {at}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(WrappedKey::decode(Purpose::Vault, &longer), Err(HeaderError::Damaged));
    let newer = [&bytes[..16], &[0, 2], &bytes[18..]].concat();
    let error = WrappedKey::decode(Purpose::Vault, &newer).unwrap_err();
    assert_eq!(error, HeaderError::Newer { found: 2 });
}

fn sealed_stream(lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut sealer = StreamSealer::new(&DataKey::from_bytes([9; 32]));
    let (last, full) = lengths.split_last().unwrap();
    let mut sealed: Vec<_> = full.iter().map(|length| sealer.next(&vec![6; *length]).unwrap()).collect();
    sealed.push(sealer.last(&vec![6; *last]).unwrap());
    sealed
}

fn open_stream(chunks: &[Vec<u8>]) -> Result<usize, StreamError> {
    let mut opener = StreamOpener::new(&DataKey::from_bytes([9; 32]));
    let (last, full) = chunks.split_last().ok_or(StreamError)?;
    let mut content = Vec::new();
    for chunk in full {
        content.extend_from_slice(&opener.next(chunk)?);
    }
    content.extend_from_slice(&opener.last(last)?);
    Ok(content.len())
}

#[test]
fn a_stream_opens_whole_and_in_order_only() {
    let chunks = sealed_stream(&[CHUNK_BYTES, CHUNK_BYTES, 10]);
    assert_eq!(open_stream(&chunks), Ok(2 * CHUNK_BYTES + 10));
    let [first, second, last] = chunks.as_slice() else { panic!("three chunks") };
    for wrong in [
        vec![],
        vec![first.clone()],
        vec![first.clone(), second.clone()],
        vec![second.clone(), first.clone(), last.clone()],
        vec![first.clone(), first.clone(), last.clone()],
        vec![first.clone(), last.clone()],
        vec![last.clone()],
        vec![first.clone(), second.clone(), last.clone(), last.clone()],
        vec![first.clone(), second.clone(), last[..25].to_vec()],
        vec![first.clone(), second.clone(), vec![]],
    ] {
        assert_eq!(open_stream(&wrong), Err(StreamError));
    }
    assert_eq!(open_stream(&sealed_stream(&[0])), Ok(0));
    let mut sealer = StreamSealer::new(&DataKey::from_bytes([9; 32]));
    assert_eq!(sealer.next(&[6; 10]).unwrap_err(), StreamError);
    assert_eq!(sealer.last(&vec![6; CHUNK_BYTES + 1]).unwrap_err(), StreamError);
}

proptest! {
    #[test]
    fn any_changed_byte_of_a_stream_is_refused(chunk in 0..2_usize, at in 0..CHUNK_BYTES + 16, bit in 0..8) {
        let mut chunks = sealed_stream(&[CHUNK_BYTES, 100]);
        let chunk = &mut chunks[chunk];
        let at = at.min(chunk.len().saturating_sub(1));
        chunk[at] ^= 1_u8 << bit;
        prop_assert_eq!(open_stream(&chunks), Err(StreamError));
    }

    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(WrappedKey::decode(Purpose::Vault, &bytes));
        let titled = [b"petmail backup \n".as_slice(), &[0, 1], &bytes].concat();
        drop(WrappedKey::decode(Purpose::Backup, &titled));
    }
}
