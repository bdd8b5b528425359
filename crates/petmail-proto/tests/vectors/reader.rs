//! Reads the vectors in this folder, and replays the randomness that they were made with.

use core::fmt::Debug;

use data_encoding::HEXLOWER;
use rand_core::{CryptoRng, RngCore};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// "Randomness" that was written down before; running out of it fails the test.
pub(crate) struct Recorded(Vec<u8>);

impl Recorded {
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }
}

impl RngCore for Recorded {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        let rest = self.0.split_off(dest.len());
        dest.copy_from_slice(&self.0);
        self.0 = rest;
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Recorded {}

pub(crate) struct Vectors(pub(crate) Value);

impl Vectors {
    pub(crate) fn new(json: &str) -> Self {
        Self(serde_json::from_str(json).unwrap())
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no {name}"))
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        HEXLOWER.decode(self.text(name).as_bytes()).unwrap()
    }

    pub(crate) fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap()
    }

    /// Checks that each bad input of a list gives exactly its error.
    pub(crate) fn check_refused<T: Debug, E: Debug>(&self, list: &str, open: impl Fn(&[u8]) -> Result<T, E>) {
        let cases = self.0[list].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let fault = case["fault"].as_str().unwrap();
            let bytes = HEXLOWER.decode(case["bytes"].as_str().unwrap().as_bytes()).unwrap();
            match open(&bytes) {
                Ok(opened) => panic!("{list}: {fault}: opened as {opened:?}"),
                Err(error) => assert_eq!(format!("{error:?}"), case["error"], "{list}: {fault}"),
            }
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}
