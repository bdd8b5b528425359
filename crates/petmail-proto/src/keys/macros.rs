//! The macros that make key newtypes, so that every role gets the same rules.

macro_rules! public_bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Draws a random value.
            pub fn generate(rng: &mut impl rand_core::CryptoRngCore) -> Self {
                let mut bytes = [0; $length];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }
        }

        $crate::keys::macros::public_text!($name, $length);
    };
}

/// What every public value can do, given `from_bytes`-like validation in `TryFrom<[u8; N]>` or an infallible constructor.
macro_rules! public_text {
    ($name:ident, $length:literal) => {
        impl $name {
            /// Returns the bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&data_encoding::BASE64URL_NOPAD.encode(&self.0))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let text: String = self.to_string().chars().take(8).collect();
                write!(f, concat!(stringify!($name), "({}…)"), text)
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::keys::MalformedKey;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let malformed = $crate::keys::MalformedKey { what: stringify!($name) };
                let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| malformed)?;
                bytes.try_into().map(Self::from_bytes).map_err(|_| malformed)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::keys::stored_secret::serialize_bytes(&self.0, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::keys::stored_secret::deserialize_bytes(deserializer).map(Self)
            }
        }
    };
}

macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Draws a random value.
            pub fn generate(rng: &mut impl rand_core::CryptoRngCore) -> Self {
                let mut bytes = [0; $length];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }

            /// Returns the secret bytes; the caller must not print or keep them.
            #[must_use]
            pub const fn expose_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        $crate::keys::macros::secret_rules!($name, $length);
    };
}

/// Redacted `Debug`, constant-time equality, and the opt-in storage of a secret.
macro_rules! secret_rules {
    ($name:ident, $length:literal) => {
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }

        impl subtle::ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> subtle::Choice {
                self.expose_bytes().ct_eq(other.expose_bytes())
            }
        }

        impl $crate::keys::stored_secret::StoredSecret<$length> for $name {
            fn to_stored(&self) -> zeroize::Zeroizing<[u8; $length]> {
                zeroize::Zeroizing::new(*self.expose_bytes())
            }

            fn from_stored(bytes: zeroize::Zeroizing<[u8; $length]>) -> Self {
                Self::from_bytes(*bytes)
            }
        }
    };
}

macro_rules! signing_keys {
    ($(#[$secret_doc:meta])* $secret:ident, $(#[$public_doc:meta])* $public:ident) => {
        $crate::keys::macros::secret_bytes! { $(#[$secret_doc])* $secret, 32 }

        impl $secret {
            /// Returns the public half.
            #[must_use]
            pub fn verifying_key(&self) -> $public {
                $public(ed25519_dalek::SigningKey::from_bytes(&self.0).verifying_key().to_bytes())
            }

            /// Signs `message` under `context` (Ed25519, RFC 8032; label, zero byte, message).
            #[must_use]
            pub fn sign(&self, context: $crate::keys::SigningContext, message: &[u8]) -> [u8; 64] {
                $crate::keys::signing::sign(&self.0, context, message)
            }
        }

        $crate::keys::macros::public_bytes! { $(#[$public_doc])* $public, 32 }

        impl $public {
            /// Checks a signature strictly: small-order keys and non-canonical signatures are refused.
            ///
            /// # Errors
            /// [`BadSignature`](crate::keys::BadSignature), whatever is wrong.
            pub fn verify(
                &self,
                context: $crate::keys::SigningContext,
                message: &[u8],
                signature: &[u8; 64],
            ) -> Result<(), $crate::keys::BadSignature> {
                $crate::keys::signing::verify(&self.0, context, message, signature)
            }
        }
    };
}

macro_rules! box_keys {
    ($(#[$secret_doc:meta])* $secret:ident, $(#[$public_doc:meta])* $public:ident) => {
        $crate::keys::macros::secret_bytes! { $(#[$secret_doc])* $secret, 32 }

        impl $secret {
            /// Returns the public half (X25519, RFC 7748).
            #[must_use]
            pub fn public_key(&self) -> $public {
                $public($crate::keys::boxes::public_key(&self.0))
            }

            /// Opens a NaCl sealed box that was made for this key.
            ///
            /// # Errors
            /// [`BoxError`](crate::keys::BoxError) if the box is truncated, forged, or made with a low-order key.
            pub fn open_sealed(&self, sealed: &[u8]) -> Result<Vec<u8>, $crate::keys::BoxError> {
                $crate::keys::boxes::open_sealed(&self.0, sealed)
            }

            /// Opens a NaCl box (nonce first) from the holder of `sender`'s secret key.
            ///
            /// # Errors
            /// As [`Self::open_sealed`].
            pub fn open_box(&self, sender: &[u8; 32], boxed: &[u8]) -> Result<Vec<u8>, $crate::keys::BoxError> {
                $crate::keys::boxes::open_box(&self.0, sender, boxed)
            }

            /// Makes a NaCl box (random 24-byte nonce first) from this key to `recipient`.
            ///
            /// # Errors
            /// [`BoxError`](crate::keys::BoxError) if `recipient` is a low-order or non-canonical key.
            pub fn seal_box(
                &self,
                recipient: &[u8; 32],
                plaintext: &[u8],
                rng: &mut impl rand_core::CryptoRngCore,
            ) -> Result<Vec<u8>, $crate::keys::BoxError> {
                $crate::keys::boxes::seal_box(&self.0, recipient, plaintext, rng)
            }
        }

        $crate::keys::macros::public_bytes! { $(#[$public_doc])* $public, 32 }

        impl $public {
            /// Makes a NaCl sealed box (48 bytes longer than `plaintext`) that only the secret half opens.
            ///
            /// # Errors
            /// [`BoxError`](crate::keys::BoxError) if this is a low-order or non-canonical key.
            pub fn seal(
                &self,
                plaintext: &[u8],
                rng: &mut impl rand_core::CryptoRngCore,
            ) -> Result<Vec<u8>, $crate::keys::BoxError> {
                $crate::keys::boxes::seal(&self.0, plaintext, rng)
            }
        }
    };
}

pub(crate) use {box_keys, public_bytes, public_text, secret_bytes, secret_rules, signing_keys};
