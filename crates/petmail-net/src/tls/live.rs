//! A certificate whose files may be replaced while the server runs, as those who renew certificates do.
//!
//! Connections keep the certificate that they began with. What cannot be used changes nothing.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{PROVIDER, TlsError, read_chain, unreadable};
use crate::{clock, metrics};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// How long before its end a certificate is worth a warning: renewals are due much earlier.
const NOTICE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often that is said again.
const REMIND_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// A certificate from files.
#[derive(Debug)]
pub(crate) struct Live {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<[Option<Mark>; 2]>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Live {
    /// Loads the certificate.
    pub(super) fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let seen = Mutex::new([mark(cert), mark(key)]);
        let current = RwLock::new(Arc::new(load(cert, key)?));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current, seen })
    }

    /// Returns the server's own certificate.
    pub(super) fn leaf(&self) -> Option<CertificateDer<'static>> {
        self.current().cert.first().cloned()
    }

    /// Looks at the files now and then, and on SIGHUP, for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut looking = tokio::time::interval(LOOK_INTERVAL);
        let mut reminding = tokio::time::interval(REMIND_INTERVAL);
        loop {
            let is_asked = tokio::select! {
                _ = reminding.tick() => {
                    self.remind();
                    continue;
                }
                _ = looking.tick() => false,
                () = hangup(&mut hangups) => true,
            };
            let live = Arc::clone(&self);
            // The files may lie on a disk that does not answer.
            let looked = tokio::task::spawn_blocking(move || live.look(is_asked)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "cannot look at the certificate's files");
            }
        }
    }

    /// Takes the files' certificate if they have changed, or if somebody asks.
    fn look(&self, is_asked: bool) {
        let marks = [mark(&self.cert), mark(&self.key)];
        let seen = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), marks);
        if seen == marks && !is_asked {
            return;
        }
        match load(&self.cert, &self.key) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!("the certificate's files were read again");
                self.remind();
            }
            Err(error) => tracing::error!(%error, "the new certificate is of no use: the former one stays"),
        }
    }

    /// Shows when the certificate ends, and warns if that is soon.
    fn remind(&self) {
        let Some(end) = self.leaf().and_then(|leaf| end(&leaf)) else { return };
        metrics::set("petmail_net_certificate_end_timestamp_seconds", end.as_second());
        let now = Timestamp::from_millisecond(i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX));
        if let Some(warning) = now.ok().and_then(|now| warning(end, now)) {
            tracing::warn!(%end, "{warning}");
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Live {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("a private key", key, &e))?;
    Ok(CertifiedKey::from_der(chain, key, &PROVIDER)?)
}

/// A file that is not there, or cannot be looked at, has no mark.
fn mark(path: &Path) -> Option<Mark> {
    let found = fs::metadata(path).ok()?;
    Some(Mark {
        device: found.dev(),
        inode: found.ino(),
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

/// Waits for ever if the signal cannot be had.
async fn hangup(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

fn end(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

fn warning(end: Timestamp, now: Timestamp) -> Option<&'static str> {
    if end <= now {
        return Some("the certificate has expired: clients refuse it; renew it");
    }
    let is_soon = end.duration_since(now).unsigned_abs() <= NOTICE;
    is_soon.then_some("the certificate expires within a week: renew it")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a new certificate, and returns it.
    fn renew(dir: &Path) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.join("cert"), made.cert.pem()).unwrap();
        fs::write(dir.join("key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    #[test]
    fn new_files_are_taken_and_broken_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        let first = renew(dir.path());
        let live = Live::load(&cert, &key).unwrap();
        assert_eq!(live.leaf(), Some(first.clone()));
        let old_key = fs::read(&key).unwrap();
        let second = renew(dir.path());
        live.look(false);
        assert_eq!(live.leaf(), Some(second.clone()));
        fs::write(&key, old_key).unwrap();
        live.look(false);
        assert_eq!(live.leaf(), Some(second.clone()), "the key belongs to another certificate");
        fs::write(&cert, "nonsense").unwrap();
        live.look(false);
        assert_eq!(live.leaf(), Some(second.clone()));
        fs::remove_file(&cert).unwrap();
        live.look(true);
        assert_eq!(live.leaf(), Some(second));
        let third = renew(dir.path());
        live.look(false);
        assert_eq!(live.leaf(), Some(third));
    }

    #[test]
    fn an_end_that_is_near_is_told() {
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2030, 1, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let end = end(parameters.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(end.to_string(), "2030-01-31T00:00:00Z");
        let at = |text: &str| warning(end, text.parse().unwrap());
        assert_eq!(at("2030-01-01T00:00:00Z"), None);
        assert!(at("2030-01-25T00:00:00Z").unwrap().contains("within a week"));
        assert!(at("2030-02-01T00:00:00Z").unwrap().contains("expired"));
    }
}
