//! A client for services that their user has chosen and pays for.

use reqwest::{Client, Proxy, redirect};

use super::{ClientError, ClientSettings, client_config, reason_of};
use crate::tls::alpn;

/// Makes a client for a person's own account at a commodity service: certificates of the authorities that this system trusts, no redirects,
/// and no way around the proxy, if there is one. Private addresses are allowed: nobody else has named them.
///
/// # Errors
/// The system's certificates cannot be used, or the proxy's address.
pub fn service_client(settings: &ClientSettings) -> Result<Client, ClientError> {
    let unusable = |reason| ClientError::Tls { host: "the storage service".to_owned(), reason };
    let tls = client_config(&[], alpn()).map_err(|error| unusable(error.to_string()))?;
    let builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .tls_backend_preconfigured(tls)
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.request_timeout)
        .pool_idle_timeout(settings.pool_idle_timeout);
    let builder = match &settings.socks5 {
        None => builder,
        Some(proxy) => {
            let way = Proxy::all(format!("socks5h://{proxy}"));
            // Tor builds a circuit of its own for it.
            let way = way.map(|way| way.basic_auth("service", "service"));
            builder.proxy(way.map_err(|error| ClientError::unreachable(proxy.as_str(), reason_of(&error)))?)
        }
    };
    builder.build().map_err(|error| unusable(reason_of(&error)))
}
