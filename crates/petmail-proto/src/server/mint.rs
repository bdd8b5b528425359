//! Minting: how the owner of an account that may give mailboxes makes an offer of its server.
//!
//! The owner draws the redeem token and tells the server its hash alone, so the answer has nothing to keep secret, and the
//! same request again, after a lost answer, changes nothing. Specification: Servers, accounts, offers.

use rand_core::CryptoRngCore;

use super::{
    account::{AccountError, AccountKeys, open_sealed},
    offer::RedeemTokenHash,
};
use crate::{
    keys::{AccountVerifyingKey, RetrievalPublicKey, RetrievalSecretKey, ServerIdentityKey, SigningContext},
    wire::{Reader, Writer},
};

/// The length of a mint request, in bytes.
pub const MINT_REQUEST_BYTES: usize = 2 + 32 + 32 + 8 + 8 + 8 + 8 + 64 + 48;

const PREFIX: &[u8; 2] = b"o1";

/// What an offer is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintTerms {
    /// How much the account may hold, in bytes.
    pub mailbox_bytes: u64,
    /// How much it may store beside its mailbox, in bytes.
    pub storage_bytes: u64,
    /// How long its messages are kept, in seconds.
    pub retention_seconds: u64,
    /// For how long the offer can be redeemed, in seconds.
    pub life_seconds: u64,
}

/// A verified request to make an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintRequest {
    /// Who gives.
    pub owner: AccountVerifyingKey,
    /// Finds the offer.
    pub offer: RedeemTokenHash,
    /// What it gives.
    pub terms: MintTerms,
}

impl AccountKeys {
    /// Makes the request for an offer; after a lost answer, the same again.
    ///
    /// # Errors
    /// [`AccountError::BadKey`] if the server's retrieval key is invalid.
    pub fn seal_mint(
        &self,
        offer: RedeemTokenHash,
        terms: MintTerms,
        server: &ServerIdentityKey,
        key: &RetrievalPublicKey,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, AccountError> {
        let request = MintRequest { owner: self.signing.verifying_key(), offer, terms };
        let signature = self.signing.sign(SigningContext::Mint, &request.transcript(server));
        let plaintext = Writer::new()
            .fixed(PREFIX)
            .fixed(request.owner.as_bytes())
            .fixed(&request.asks_for())
            .fixed(&signature);
        key.seal(&plaintext.finish(), rng).map_err(|_| AccountError::BadKey)
    }
}

impl MintRequest {
    /// Opens and verifies a request, at the server.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn open(
        bytes: &[u8],
        keys: &[RetrievalSecretKey],
        server: &ServerIdentityKey,
    ) -> Result<Self, AccountError> {
        let (plaintext, _) = open_sealed(bytes, keys)?;
        let mut reader = Reader::new(&plaintext);
        reader.expect(PREFIX)?;
        let request = Self {
            owner: AccountVerifyingKey::from_bytes(reader.array()?),
            offer: RedeemTokenHash::from_bytes(reader.array()?),
            terms: MintTerms {
                mailbox_bytes: reader.u64()?,
                storage_bytes: reader.u64()?,
                retention_seconds: reader.u64()?,
                life_seconds: reader.u64()?,
            },
        };
        let signature = reader.array()?;
        reader.finish()?;
        request
            .owner
            .verify(SigningContext::Mint, &request.transcript(server), &signature)
            .map_err(|_| AccountError::BadSignature)?;
        Ok(request)
    }

    fn transcript(&self, server: &ServerIdentityKey) -> Vec<u8> {
        Writer::new().fixed(server.as_bytes()).fixed(&self.asks_for()).finish()
    }

    fn asks_for(&self) -> Vec<u8> {
        Writer::new()
            .fixed(self.offer.as_bytes())
            .u64(self.terms.mailbox_bytes)
            .u64(self.terms.storage_bytes)
            .u64(self.terms.retention_seconds)
            .u64(self.terms.life_seconds)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::{
        keys::{RedeemToken, ServerSigningKey},
        server::account::RedeemRequest,
    };

    #[test]
    fn a_request_is_the_owners_for_one_server_and_one_purpose() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let owner = AccountKeys::generate(rng);
        let [server, other] = [(); 2].map(|()| ServerSigningKey::generate(rng).verifying_key());
        let keys = [RetrievalSecretKey::generate(rng)];
        let public = keys[0].public_key();
        let token = RedeemToken::generate(rng);
        let terms = MintTerms { mailbox_bytes: 5, storage_bytes: 8, retention_seconds: 6, life_seconds: 7 };
        let sealed = owner.seal_mint(token.hash(), terms, &server, &public, rng).unwrap();
        assert_eq!(sealed.len(), MINT_REQUEST_BYTES);
        let request = MintRequest::open(&sealed, &keys, &server).unwrap();
        assert_eq!(request, MintRequest { owner: owner.signing.verifying_key(), offer: token.hash(), terms });
        assert_eq!(MintRequest::open(&sealed, &keys, &other).unwrap_err(), AccountError::BadSignature);
        let redeem = owner.seal_redeem(&token, &server, &public, rng).unwrap();
        assert_eq!(MintRequest::open(&redeem, &keys, &server).unwrap_err(), AccountError::Malformed);
        let opened = RedeemRequest::open(&sealed, &keys, &server);
        assert_eq!(opened.unwrap_err(), AccountError::Malformed);
        let mut damaged = sealed;
        damaged[60] ^= 1;
        assert_eq!(MintRequest::open(&damaged, &keys, &server).unwrap_err(), AccountError::DoesNotOpen);
    }
}
