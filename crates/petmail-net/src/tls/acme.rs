//! Certificates from a public authority, got and renewed by the server itself: ACME (RFC 8555) with the TLS-ALPN-01 challenge
//! (RFC 8737), answered on the server's own port.

use std::{fmt, io, path::PathBuf, sync::Arc};

use futures::StreamExt;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
    server::ResolvesServerCert,
};
use rustls_acme::{AcmeConfig, AcmeState, EventOk, caches::DirCache};

use super::{PROVIDER, TlsError, unreadable};
use crate::{client::tls::client_config, program::create_private_dir};

/// Where certificates come from unless another authority is named.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The protocol in TLS by which an authority asks for its challenge.
pub(super) const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// How to get a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The name that it is for. The authority reaches this server there, at port 443.
    pub domain: String,
    /// Whom the authority may write to.
    pub contact: Option<String>,
    /// The authority's directory.
    pub directory: String,
    /// The certificate, PEM, that vouches for the authority's own server; `None` for those that this system trusts.
    pub root: Option<PathBuf>,
    /// Where account, keys and certificates are kept, with mode 0700.
    pub dir: PathBuf,
}

/// Gets certificates for as long as it runs.
pub(crate) struct Acme {
    domain: String,
    state: AcmeState<io::Error>,
}

impl Acme {
    /// Prepares everything; nothing is asked before [`Self::run`].
    pub(super) fn prepare(settings: &AcmeSettings) -> Result<Self, TlsError> {
        let AcmeSettings { domain, contact, directory, root, dir } = settings;
        create_private_dir(dir).map_err(|source| TlsError::Write { path: dir.clone(), source })?;
        let client = match root {
            None => client_config(&[], Vec::new())?,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let root =
                    CertificateDer::from_pem_file(path).map_err(|e| unreadable("a certificate", path, &e))?;
                roots.add(root)?;
                ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(roots)
                    .with_no_client_auth()
            }
        };
        let state = AcmeConfig::new_with_client_config([domain], Arc::new(client))
            .contact(contact.iter().map(|address| format!("mailto:{address}")))
            .directory(directory)
            .cache(DirCache::new(dir.clone()))
            .state();
        Ok(Self { domain: domain.clone(), state })
    }

    /// What presents the certificate, and answers challenges. Until there is one, handshakes fail.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        self.state.resolver()
    }

    /// Gets a certificate, and renews it in time; what fails is logged and tried again, less and less often.
    pub(super) async fn run(mut self) {
        let domain = &self.domain;
        while let Some(event) = self.state.next().await {
            match event {
                Ok(EventOk::DeployedNewCert) => tracing::info!(%domain, "there is a new certificate"),
                Ok(EventOk::DeployedCachedCert) => tracing::info!(%domain, "the certificate is still good"),
                Ok(EventOk::CertCacheStore | EventOk::AccountCacheStore) => {}
                Err(error) => {
                    tracing::error!(%domain, %error, "no certificate yet; it is tried again");
                }
            }
        }
    }
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme").field("domain", &self.domain).finish_non_exhaustive()
    }
}
