//! How a server proves who it is: certificate files, certificates that it gets itself, a self-signed one known by its pin, or
//! not at all.
//!
//! One provider everywhere (aws-lc-rs, post-quantum key exchange preferred), TLS 1.2 and 1.3, ALPN for HTTP/2 and
//! HTTP/1.1. The peer's side is in [`crate::client`].

pub mod acme;
mod live;
mod pin;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
    server::ResolvesServerCert,
};

pub use self::acme::AcmeSettings;
pub use self::pin::{Pin, PinError};
pub(crate) use self::pin::{PinMismatch, PinVerifier};
use self::{acme::Acme, live::Live};
use crate::program::write_private_file;

/// The certificate of a self-signed server, in its directory.
const CERT_FILE: &str = "tls-cert.pem";
/// The key belonging to it.
const KEY_FILE: &str = "tls-key.pem";

/// The one provider of cryptography for TLS.
pub(crate) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// How a server protects its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// A certificate chain and its key from PEM files, as certificate authorities give them out. New files are taken while the
    /// server runs, within seconds, or on SIGHUP.
    CertFiles {
        /// The chain, the server's own certificate first.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// A certificate made once and kept, which clients know by its [`Pin`].
    SelfSigned {
        /// Where certificate and key are kept.
        dir: PathBuf,
        /// Host names and addresses for a certificate that has yet to be made.
        names: Vec<String>,
    },
    /// A certificate of a public authority, got and renewed by the server itself.
    Acme(AcmeSettings),
    /// No TLS: for loopback, reverse proxies and onion services.
    PlainHttp,
}

/// Why a certificate cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file is missing, unreadable, or holds nothing of the kind.
    #[error("cannot read {} from {}: {reason}", .what, .path.display())]
    Read {
        /// `a certificate` or `a private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        reason: String,
    },
    /// Certificate and key do not belong together, or use an algorithm that TLS does not.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// A self-signed certificate could not be made, mostly because of an impossible name.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The certificate that was made could not be kept.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Makes the self-signed certificate of `dir` unless it is there, and returns its pin: for programs that must know it
/// before they serve.
///
/// # Errors
/// The certificate cannot be made, kept, or read back.
pub fn ensure_self_signed(dir: &Path, names: &[String]) -> Result<Pin, TlsError> {
    let (cert, key) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    if !cert.exists() {
        let made = rcgen::generate_simple_self_signed(names)?;
        // The certificate comes last: once it is there, both are.
        keep(&key, &made.signing_key.serialize_pem())?;
        keep(&cert, &made.cert.pem())?;
    }
    Ok(Pin::of(&read_leaf(&cert)?))
}

fn keep(path: &Path, pem: &str) -> Result<(), TlsError> {
    write_private_file(path, pem.as_bytes())
        .map_err(|source| TlsError::Write { path: path.to_owned(), source })
}

/// The TLS side of a server.
#[derive(Debug)]
pub(crate) struct ServerTls {
    config: Arc<ServerConfig>,
    pin: Option<Pin>,
    upkeep: Upkeep,
}

/// What looks after the certificate while the server runs.
#[derive(Debug)]
pub(crate) enum Upkeep {
    /// Follows its files.
    Files(Arc<Live>),
    /// Gets it, and renews it.
    Acme(Box<Acme>),
}

impl Upkeep {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        match self {
            Self::Files(live) => live.follow().await,
            Self::Acme(acme) => acme.run().await,
        }
        std::future::pending().await
    }
}

impl ServerTls {
    /// Loads what `mode` asks for; `None` for plain HTTP.
    pub(crate) fn load(mode: &TlsMode) -> Result<Option<Self>, TlsError> {
        match mode {
            TlsMode::PlainHttp => Ok(None),
            TlsMode::CertFiles { cert, key } => Self::from_files(cert, key).map(Some),
            TlsMode::SelfSigned { dir, names } => {
                ensure_self_signed(dir, names)?;
                Self::from_files(&dir.join(CERT_FILE), &dir.join(KEY_FILE)).map(Some)
            }
            TlsMode::Acme(settings) => {
                let acme = Acme::prepare(settings)?;
                let mut config = server_config(acme.resolver())?;
                config.alpn_protocols.push(acme::CHALLENGE_PROTOCOL.to_vec());
                Ok(Some(Self { config: Arc::new(config), pin: None, upkeep: Upkeep::Acme(Box::new(acme)) }))
            }
        }
    }

    /// Returns the pin of the certificate, if it is always the same.
    pub(crate) fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// Takes it apart into what handshakes need, and what has to run beside them.
    pub(crate) fn into_parts(self) -> (Arc<ServerConfig>, Upkeep) {
        (self.config, self.upkeep)
    }

    fn from_files(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let pin = Some(Pin::of(&read_leaf(cert)?));
        let live = Arc::new(Live::load(cert, key)?);
        let config = server_config(Arc::clone(&live) as _)?;
        Ok(Self { config: Arc::new(config), pin, upkeep: Upkeep::Files(live) })
    }
}

fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = alpn();
    Ok(config)
}

/// The name of HTTP/1.1 inside TLS (RFC 7301).
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// The protocols offered inside TLS, best first.
pub(crate) fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), HTTP_1_1.to_vec()]
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|e| unreadable("a certificate", path, &e))?;
    certificates.collect::<Result<_, _>>().map_err(|e| unreadable("a certificate", path, &e))
}

fn read_leaf(path: &Path) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_file(path).map_err(|e| unreadable("a certificate", path, &e))
}

fn unreadable(what: &'static str, path: &Path, reason: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Read { what, path: path.to_owned(), reason: reason.to_string() }
}
