//! Offers: the short text that turns into an account, once.
//!
//! Owns the text form. Whether an offer is still good is for its server to say; whether it was copied correctly shows in its
//! checksum, so that a typing mistake is never taken for a used offer. Specification: Servers, accounts, offers.
//!
//! `PETMAIL-OFFER:` ‖ base32(version u8 ‖ redeem token, 16 bytes ‖ identity key, 32 ‖ pinned u8 ‖ pin, 32, if pinned ‖
//! base URL ‖ checksum, 4). Upper case and base32, because QR codes hold these characters in 5½ bits.

use core::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    base_url::{BaseUrl, MAX_BASE_URL_BYTES},
    keys::{CertificatePin, RedeemToken, ServerIdentityKey, macros},
    wire::{Reader, WireError, Writer},
};

/// What every offer begins with.
pub const OFFER_PREFIX: &str = "PETMAIL-OFFER:";

/// The longest text that is looked at, in bytes: twice what an offer can need, for the spaces that mail programs add.
pub const MAX_OFFER_TEXT_BYTES: usize = 2 * (MAX_BASE_URL_BYTES + 96) * 8 / 5;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

macros::public_bytes! {
    /// The SHA-256 of a redeem token: what a server stores, so that a stolen copy of its store redeems nothing.
    RedeemTokenHash, 32
}

impl RedeemToken {
    /// Returns what the server stores in place of the token.
    #[must_use]
    pub fn hash(&self) -> RedeemTokenHash {
        RedeemTokenHash::from_bytes(Sha256::digest(self.expose_bytes()).into())
    }
}

/// An offer as text, on its way to whoever redeems it. Shown by nobody's `Debug`, and wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct OfferText(String);

impl OfferText {
    /// Writes an offer.
    #[must_use]
    pub fn of(offer: &Offer) -> Self {
        Self(offer.expose_text())
    }

    /// Returns its length, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// Takes it apart.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn parse(&self) -> Result<Offer, OfferError> {
        self.0.parse()
    }
}

impl fmt::Debug for OfferText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfferText(redacted)")
    }
}

/// An offer, taken apart.
#[derive(Clone)]
pub struct Offer {
    /// Where the server is.
    pub url: BaseUrl,
    /// Who the server is: verifies its descriptor.
    pub identity: ServerIdentityKey,
    /// The certificate that the server presents, if no public authority vouches for it.
    pub pin: Option<CertificatePin>,
    /// Redeems the offer, once.
    pub token: RedeemToken,
}

/// Why a text is no offer, in words for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfferError {
    /// It begins otherwise.
    #[error("this is no Petmail offer: an offer begins with {OFFER_PREFIX}")]
    NotAnOffer,
    /// Characters are missing, wrong, or too many.
    #[error("the offer was not copied correctly: copy the whole of it again")]
    Damaged,
    /// The checksum holds, but the format is of a later version.
    #[error("the offer was made by a newer Petmail: update this program")]
    NewerVersion,
    /// The checksum holds, but what it protects makes no sense: its server is at fault.
    #[error("the offer's server made it wrongly: ask its operator for another")]
    Malformed,
}

impl From<WireError> for OfferError {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

impl Offer {
    /// Returns the text to hand out. It is a secret until it is redeemed.
    #[must_use]
    pub fn expose_text(&self) -> String {
        let payload = Writer::new()
            .u8(VERSION)
            .fixed(self.token.expose_bytes())
            .fixed(self.identity.as_bytes())
            .u8(u8::from(self.pin.is_some()))
            .fixed(self.pin.as_ref().map_or(&[], |pin| pin.as_bytes().as_slice()))
            .fixed(self.url.as_str().as_bytes());
        let sum = checksum(&payload.clone().finish());
        format!("{OFFER_PREFIX}{}", BASE32_NOPAD.encode(&payload.fixed(&sum).finish()))
    }

    fn decode(payload: &[u8]) -> Result<Self, OfferError> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != VERSION {
            return Err(OfferError::NewerVersion);
        }
        let token = RedeemToken::from_bytes(reader.array()?);
        let identity = ServerIdentityKey::from_bytes(reader.array()?);
        let pin = match reader.u8()? {
            0 => None,
            1 => Some(CertificatePin::from_bytes(reader.array()?)),
            _ => return Err(OfferError::Malformed),
        };
        let text = core::str::from_utf8(reader.rest()).map_err(|_| OfferError::Malformed)?;
        let url: BaseUrl = text.parse().map_err(|_| OfferError::Malformed)?;
        if url.as_str() == text { Ok(Self { url, identity, pin, token }) } else { Err(OfferError::Malformed) }
    }
}

impl FromStr for Offer {
    type Err = OfferError;

    /// Reads an offer; letter case does not count, nor do spaces and line breaks anywhere.
    fn from_str(text: &str) -> Result<Self, OfferError> {
        if text.len() > MAX_OFFER_TEXT_BYTES {
            return Err(OfferError::NotAnOffer);
        }
        let text: String =
            text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
        let body = text.strip_prefix(OFFER_PREFIX).ok_or(OfferError::NotAnOffer)?;
        let bytes = BASE32_NOPAD.decode(body.as_bytes()).map_err(|_| OfferError::Damaged)?;
        let (payload, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(OfferError::Damaged)?;
        if checksum(payload) != *sum {
            return Err(OfferError::Damaged);
        }
        Self::decode(payload)
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("url", &self.url)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Tells mistakes of copying only; it protects from nobody.
fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..]: [u8; 32] =
        Sha256::digest(Writer::labelled("petmail.org/v1/offer").fixed(payload).finish()).into();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer() -> Offer {
        Offer {
            url: "https://mail.example.org".parse().unwrap(),
            identity: ServerIdentityKey::from_bytes([1; 32]),
            pin: Some(CertificatePin::from_bytes([2; 32])),
            token: RedeemToken::from_bytes([3; 16]),
        }
    }

    fn with_checksum(payload: &[u8]) -> String {
        format!("{OFFER_PREFIX}{}", BASE32_NOPAD.encode(&[payload, &checksum(payload)].concat()))
    }

    #[test]
    fn an_offer_survives_a_mail_program() {
        let text = offer().expose_text();
        let (first, second) = text.split_at(40);
        let wrapped = format!("  {first}\r\n {}\n", second.to_lowercase());
        let back: Offer = wrapped.parse().unwrap();
        assert_eq!(back.url, offer().url);
        assert_eq!(back.identity, offer().identity);
        assert_eq!(back.pin, offer().pin);
        assert_eq!(back.token.expose_bytes(), offer().token.expose_bytes());
        assert_eq!(back.expose_text(), text);
    }

    #[test]
    fn mistakes_are_told_apart() {
        let text = offer().expose_text();
        let cases = [
            ("7-guitarist-revenge", OfferError::NotAnOffer),
            ("", OfferError::NotAnOffer),
            (&"A".repeat(MAX_OFFER_TEXT_BYTES + 1), OfferError::NotAnOffer),
            (OFFER_PREFIX, OfferError::Damaged),
            (text.get(..text.len() - 1).unwrap(), OfferError::Damaged),
            (&format!("{text}A"), OfferError::Damaged),
            (&with_checksum(&[2; 80]), OfferError::NewerVersion),
            (&with_checksum(&[1; 20]), OfferError::Malformed),
            (&with_checksum(&[&[1; 49][..], &[0], b"ftp://x"].concat()), OfferError::Malformed),
            (&with_checksum(&[&[1; 49][..], &[0], b"https://x/"].concat()), OfferError::Malformed),
            (&with_checksum(&[&[1; 49][..], &[2], b"https://x"].concat()), OfferError::Malformed),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Offer>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let text = format!("{:?}", offer());
        assert!(!text.contains("token") && text.contains("mail.example.org"), "{text}");
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_a_copying_mistake(position: prop::sample::Index, wrong in "[A-Z2-7]") {
            let text = offer().expose_text();
            let body_bytes = text.strip_prefix(OFFER_PREFIX).unwrap().len();
            let index = OFFER_PREFIX.len().saturating_add(position.index(body_bytes));
            let mut typo = text.clone();
            typo.replace_range(index..=index, &wrong);
            prop_assume!(typo != text);
            prop_assert_eq!(typo.parse::<Offer>().unwrap_err(), OfferError::Damaged);
        }

        #[test]
        fn parsing_never_panics(text: String, payload: Vec<u8>) {
            prop_assert!(text.parse::<Offer>().is_err());
            let text = with_checksum(&payload);
            if let Ok(offer) = text.parse::<Offer>() {
                prop_assert_eq!(offer.expose_text(), text);
            }
        }
    }
}
