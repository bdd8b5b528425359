//! Invitation codes: what two people tell each other and type.
//!
//! Owns how a code is made, written in one canonical form, and judged strong enough; and the memory of human-made codes
//! that are used up. It must not know how a code becomes a key. Specification: `docs/protocol/`, invitations (§2).

use core::{fmt, str::FromStr, time::Duration};

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{time::UnixMillis, wire::Writer};

use super::{
    words,
    wormhole::{FieldError, Nameplate},
};

/// The longest code that is read, in bytes of its canonical form.
pub const MAX_CODE_BYTES: usize = 128;

/// How long a burnt human-made code is refused.
pub const BURNT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The least strength of a human-made code: an attacker has one guess, so one chance in a million.
const MIN_BITS: f64 = 20.0;

/// Keeps a burnt code's hash apart from every other hash of a code.
const BURNT_LABEL: &str = "petmail.org/v1/burnt-code";

/// A code in canonical form: a nameplate, a hyphen, and the secret part.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(String);

/// Why a text is not accepted as a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// There is no number, hyphen, and something after it.
    #[error("a code is a number, a hyphen, and words, like 4-adroitness-aardvark-adviser")]
    Shape,
    /// The number in front is too long.
    #[error("the number at the front of the code is too long")]
    Nameplate,
    /// The text is too long.
    #[error("the code is longer than {MAX_CODE_BYTES} bytes")]
    TooLong,
    /// A human-made code could be guessed.
    #[error("the code is too easy to guess; use at least four unrelated words, or let Petmail make one")]
    TooWeak,
}

/// How many words a generated code has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct WordCount(u8);

/// A number of words outside 2 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code has 2 to 8 words")]
pub struct BadWordCount;

/// The memory of a human-made code that somebody has answered, so that it is not used again too soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BurntCode {
    /// The code's hash; the code itself is not kept.
    pub digest: [u8; 32],
    /// When the memory may be forgotten.
    pub until: UnixMillis,
}

impl Code {
    /// Makes a code for a nameplate, with fresh random words.
    ///
    /// # Errors
    /// [`CodeError::Nameplate`] if the nameplate is too long for a code.
    pub fn generate(
        nameplate: &Nameplate,
        count: WordCount,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, CodeError> {
        let mut bytes = Zeroizing::new([0; WordCount::MAX as usize]);
        rng.fill_bytes(bytes.as_mut_slice());
        let chosen = bytes.get(..usize::from(count.0)).unwrap_or(bytes.as_slice());
        let words = Zeroizing::new(words::spell(chosen).join("-"));
        if nameplate.as_str().len() > MAX_NAMEPLATE_BYTES {
            return Err(CodeError::Nameplate);
        }
        Ok(Self(format!("{nameplate}-{}", *words)))
    }

    /// The number that the rendezvous server knows.
    ///
    /// # Panics
    /// Never: every constructor checks the nameplate.
    #[must_use]
    pub fn nameplate(&self) -> Nameplate {
        Nameplate::new(self.parts().0).expect("constructors check the nameplate")
    }

    /// Whether a person made this code up, rather than [`Code::generate`].
    #[must_use]
    pub fn is_human_made(&self) -> bool {
        !is_generated(self.parts().1)
    }

    /// The canonical text; it is a secret until the code is used.
    #[must_use]
    pub fn expose_text(&self) -> &str {
        &self.0
    }

    /// What to remember of this code when somebody has answered it; nothing for a generated one, which cannot recur.
    #[must_use]
    pub fn burn(&self, now: UnixMillis) -> Option<BurntCode> {
        self.is_human_made().then(|| BurntCode { digest: self.burnt_digest(), until: now.plus(BURNT_FOR) })
    }

    /// Whether `burnt` forbids this code.
    #[must_use]
    pub fn is_refused(&self, burnt: &BurntCode, now: UnixMillis) -> bool {
        now < burnt.until && self.burnt_digest() == burnt.digest
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('-').unwrap_or((&self.0, ""))
    }

    fn burnt_digest(&self) -> [u8; 32] {
        let transcript = Zeroizing::new(Writer::labelled(BURNT_LABEL).variable(self.0.as_bytes()).finish());
        Sha256::digest(&*transcript).into()
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// Reads what a person typed.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() > MAX_TYPED_BYTES {
            return Err(CodeError::TooLong);
        }
        let code = Self(canonical(text));
        if code.0.len() > MAX_CODE_BYTES {
            return Err(CodeError::TooLong);
        }
        let (number, secret) = code.parts();
        check_nameplate(number)?;
        if secret.is_empty() {
            return Err(CodeError::Shape);
        }
        if !is_generated(secret) && bits(secret) < MIN_BITS {
            return Err(CodeError::TooWeak);
        }
        Ok(code)
    }
}

impl TryFrom<String> for Code {
    type Error = CodeError;

    fn try_from(text: String) -> Result<Self, CodeError> {
        Zeroizing::new(text).parse()
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0.clone()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(redacted)")
    }
}

impl WordCount {
    /// The most words of a generated code.
    pub const MAX: u8 = 8;

    /// The fewest words of a generated code.
    pub const MIN: u8 = 2;

    /// Checks a number of words.
    ///
    /// # Errors
    /// [`BadWordCount`] outside 2 to 8.
    pub const fn new(count: u8) -> Result<Self, BadWordCount> {
        if count < Self::MIN || count > Self::MAX { Err(BadWordCount) } else { Ok(Self(count)) }
    }
}

impl Default for WordCount {
    /// Three words, 24 bits: an attacker has one guess.
    fn default() -> Self {
        Self(3)
    }
}

impl TryFrom<u8> for WordCount {
    type Error = BadWordCount;

    fn try_from(count: u8) -> Result<Self, BadWordCount> {
        Self::new(count)
    }
}

impl From<WordCount> for u8 {
    fn from(count: WordCount) -> Self {
        count.0
    }
}

/// The longest nameplate in a code: servers hand out the shortest that is free.
const MAX_NAMEPLATE_BYTES: usize = 10;

/// The longest text that is canonicalised at all; spaces and decomposed accents may vanish from it.
const MAX_TYPED_BYTES: usize = 4 * MAX_CODE_BYTES;

fn check_nameplate(number: &str) -> Result<(), CodeError> {
    match Nameplate::new(number) {
        Ok(_) if number.len() <= MAX_NAMEPLATE_BYTES => Ok(()),
        Ok(_) | Err(FieldError::TooLong { .. }) => Err(CodeError::Nameplate),
        Err(FieldError::Empty(_) | FieldError::NotDigits | FieldError::NotHex) => Err(CodeError::Shape),
    }
}

/// NFC, ASCII lower case, runs of white space and hyphens to one hyphen, none at either end.
fn canonical(text: &str) -> String {
    let normal: Zeroizing<String> = Zeroizing::new(text.nfc().collect());
    let mut canonical = String::with_capacity(normal.len());
    for part in normal.split(|c: char| c.is_whitespace() || c == '-').filter(|part| !part.is_empty()) {
        if !canonical.is_empty() {
            canonical.push('-');
        }
        canonical.extend(part.chars().map(|c| c.to_ascii_lowercase()));
    }
    canonical
}

fn is_generated(secret: &str) -> bool {
    let count = u8::try_from(secret.split('-').count()).unwrap_or(u8::MAX);
    WordCount::new(count).is_ok() && words::are_words(secret.split('-'))
}

fn bits(secret: &str) -> f64 {
    // An attacker tries our own words first, and `zxcvbn` does not know that they are words.
    zxcvbn::zxcvbn(secret, &words::all()).guesses_log10() * core::f64::consts::LOG2_10
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn parse(text: &str) -> Result<Code, CodeError> {
        text.parse()
    }

    #[test]
    fn generated_codes_have_the_words_asked_for_and_parse() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for count in 2..=8 {
            let nameplate = Nameplate::new("42").unwrap();
            let code = Code::generate(&nameplate, WordCount::new(count).unwrap(), &mut rng).unwrap();
            assert_eq!(code.expose_text().split('-').count(), usize::from(count) + 1);
            assert_eq!(parse(code.expose_text()), Ok(code.clone()));
            assert_eq!(code.nameplate(), nameplate);
            assert!(!code.is_human_made());
        }
    }

    #[test]
    fn typing_is_forgiven() {
        let expected = parse("4-adroitness-aardvark-adviser").unwrap();
        for typed in [" 4 Adroitness  aardvark -- ADVISER \n", "4 - adroitness-aardvark\u{a0}adviser"] {
            assert_eq!(parse(typed), Ok(expected.clone()), "{typed}");
        }
        assert_eq!(
            parse("9-cafe\u{301} umbrella sandwich violet"),
            parse("9-caf\u{e9}-umbrella-sandwich-violet")
        );
    }

    #[test]
    fn bad_codes_are_refused_by_name() {
        let long = format!("4-{}", "ab ".repeat(60));
        let endless = "4-x".repeat(10_000);
        for (text, error) in [
            ("", CodeError::Shape),
            ("4", CodeError::Shape),
            ("4-", CodeError::Shape),
            ("four-adroitness-aardvark", CodeError::Shape),
            ("-4-adroitness", CodeError::TooWeak),
            ("٤-adroitness-aardvark", CodeError::Shape),
            ("12345678901-adroitness-aardvark", CodeError::Nameplate),
            ("4-adroitness", CodeError::TooWeak),
            ("4-password", CodeError::TooWeak),
            ("4-aaaaaaaaaaaaaaaaaaaa", CodeError::TooWeak),
            (&long, CodeError::TooLong),
            (&endless, CodeError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text:.40}");
        }
    }

    #[test]
    fn a_burnt_human_made_code_is_refused_for_thirty_days() {
        let now = UnixMillis(1_000);
        let code = parse("7-purple elephants never dance").unwrap();
        assert!(code.is_human_made());
        let burnt = code.burn(now).unwrap();
        assert!(code.is_refused(&burnt, now));
        assert!(!code.is_refused(&burnt, now.plus(BURNT_FOR)));
        assert!(!parse("7-purple elephants never sing").unwrap().is_refused(&burnt, now));
        assert_eq!(parse("4-adroitness-aardvark-adviser").unwrap().burn(now), None);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", parse("4-adroitness-aardvark").unwrap()), "Code(redacted)");
    }

    proptest! {
        #[test]
        fn canonicalisation_is_idempotent(text in "\\PC{0,60}") {
            let once = canonical(&text);
            prop_assert_eq!(canonical(&once), once);
        }

        #[test]
        fn parsing_never_panics_and_gives_the_canonical_form(text in "[0-9]{0,3}[- ]\\PC{0,60}") {
            if let Ok(code) = parse(&text) {
                prop_assert_eq!(parse(code.expose_text()), Ok(code));
            }
        }
    }
}
