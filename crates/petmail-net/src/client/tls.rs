//! The client's side of TLS: whom to believe.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

use crate::tls::{PROVIDER, Pin, PinVerifier};

/// The authorities that this system trusts, or Mozilla's where the system has none.
static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Arc::new(roots)
});

/// Makes a configuration with TLS sessions of its own: it believes exactly `pins`, or the authorities if there are none.
pub(crate) fn client_config(pins: &[Pin], alpn: Vec<Vec<u8>>) -> Result<ClientConfig, rustls::Error> {
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&PROVIDER)).with_safe_default_protocol_versions()?;
    let mut config = if pins.is_empty() {
        builder.with_root_certificates(Arc::clone(&ROOTS)).with_no_client_auth()
    } else {
        let verifier = PinVerifier::new(pins.to_vec(), Arc::clone(&PROVIDER));
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
    };
    config.alpn_protocols = alpn;
    Ok(config)
}
