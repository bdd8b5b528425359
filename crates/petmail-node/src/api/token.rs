//! The access token of the control API: who can read the file in the basedir may command the node.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64URL_NOPAD;
use petmail_net::program::write_private_file;
use rand_core::{CryptoRng, RngCore};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// The secret that commands must carry, as text: base64url without padding.
#[derive(Clone)]
pub struct ApiToken {
    text: Zeroizing<String>,
}

impl ApiToken {
    /// Makes a new token.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        rng.fill_bytes(bytes.as_mut_slice());
        Self { text: Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_slice())) }
    }

    /// Reads the token from the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read or holds no token.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let content = Zeroizing::new(
            fs::read_to_string(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?,
        );
        let text = Zeroizing::new(content.trim_end().to_owned());
        match BASE64URL_NOPAD.decode(text.as_bytes()).map(Zeroizing::new) {
            Ok(bytes) if bytes.len() == TOKEN_BYTES => Ok(Self { text }),
            _ => Err(TokenError::Malformed { path: path.to_owned() }),
        }
    }

    /// Writes the token to the file at `path`, mode 0600.
    ///
    /// # Errors
    /// Those of the system.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        write_private_file(path, Zeroizing::new(format!("{}\n", *self.text)).as_bytes())
    }

    /// Returns the text that goes after `Bearer` in an `Authorization` header.
    #[must_use]
    pub fn expose_text(&self) -> &str {
        &self.text
    }

    /// Compares with what a request carries, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.text.as_bytes().ct_eq(presented).into()
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

/// Why the access token cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the access token {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no access token", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rand_core::OsRng;

    use super::*;

    #[test]
    fn a_stored_token_is_private_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api-token");
        let token = ApiToken::generate(&mut OsRng);
        token.store(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(ApiToken::load(&path).unwrap().matches(token.expose_text().as_bytes()));
    }

    #[test]
    fn only_the_same_text_matches() {
        let token = ApiToken::generate(&mut OsRng);
        let text = token.expose_text().to_owned();
        assert_eq!(text.len(), 43);
        for wrong in ["", "x", &format!("{text}="), &format!("x{text}"), &text.to_uppercase()] {
            assert!(!token.matches(wrong.as_bytes()), "{wrong}");
        }
        assert!(!ApiToken::generate(&mut OsRng).matches(text.as_bytes()));
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let token = ApiToken::generate(&mut OsRng);
        assert_eq!(format!("{token:?}"), "ApiToken(…)");
    }

    #[test]
    fn files_that_hold_no_token_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api-token");
        assert!(matches!(ApiToken::load(&path), Err(TokenError::Read { .. })));
        for wrong in ["", "AAAA\n", "not base64!\n"] {
            fs::write(&path, wrong).unwrap();
            assert!(matches!(ApiToken::load(&path), Err(TokenError::Malformed { .. })), "{wrong}");
        }
    }
}
