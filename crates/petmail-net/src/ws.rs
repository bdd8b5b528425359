//! WebSocket connections to a server that the person chose (a rendezvous server): bounded, pinned if wished, through the
//! proxy if there is one. The address is no learnt one, so plain `ws` and private addresses are allowed.
//!
//! Source: RFC 6455; `docs/protocol/`, "Invitations".

use std::{sync::Arc, time::Duration};

use hyper_util::client::legacy::connect::{HttpConnector, proxy::SocksV5};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{self, protocol::WebSocketConfig},
};
use tower::ServiceExt;
use url::{Host, Url};

use crate::{
    client::{ClientError, MAX_URL_BYTES, SocksProxy, UrlError, client_config, reason_of},
    tls::Pin,
};

/// An open WebSocket connection; its messages are those of [`tungstenite::Message`].
pub type WsStream = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub use tokio_tungstenite::tungstenite::{Error as WsError, Message};

/// How to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsSettings {
    /// Certificates of which the server must show one; if empty the system's authorities decide.
    pub pins: Vec<Pin>,
    /// A SOCKS5 proxy (Tor) that gets the name unresolved.
    pub socks5: Option<SocksProxy>,
    /// User name and password for the proxy: Tor builds a circuit for each pair.
    pub isolation: (String, String),
    /// From the first packet to the open connection. Default 20 s.
    pub connect_timeout: Duration,
    /// Largest message, and frame, in bytes. Default 64 KiB.
    pub max_message_bytes: usize,
}

impl Default for WsSettings {
    fn default() -> Self {
        Self {
            pins: Vec::new(),
            socks5: None,
            isolation: ("websocket".to_owned(), "0".to_owned()),
            connect_timeout: Duration::from_secs(20),
            max_message_bytes: 64 * 1024,
        }
    }
}

/// Opens a connection to `url` (`ws://` or `wss://`).
///
/// # Errors
/// The URL is none for WebSocket, or the server cannot be reached, proves nobody, or speaks something else.
pub async fn connect(url: &str, settings: &WsSettings) -> Result<WsStream, ClientError> {
    let url = parse(url)?;
    let host = url.host_str().ok_or(UrlError::Malformed)?;
    if settings.socks5.is_none() && host.trim_end_matches('.').ends_with(".onion") {
        return Err(UrlError::OnionWithoutProxy.into());
    }
    let opening = Box::pin(open(&url, host, settings));
    let opened = tokio::time::timeout(settings.connect_timeout, opening).await;
    opened.unwrap_or_else(|_| Err(ClientError::timed_out(host)))
}

fn parse(text: &str) -> Result<Url, UrlError> {
    if text.len() > MAX_URL_BYTES {
        return Err(UrlError::TooLong);
    }
    let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(UrlError::WebSocketScheme);
    }
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if plain { Ok(url) } else { Err(UrlError::NotPlain) }
}

async fn open(url: &Url, host: &str, settings: &WsSettings) -> Result<WsStream, ClientError> {
    let stream = match &settings.socks5 {
        Some(proxy) => connect_through(proxy, &settings.isolation, url, host).await?,
        None => connect_directly(url, host).await?,
    };
    stream.set_nodelay(true).map_err(|e| ClientError::unreachable(host, e))?;
    let tls = client_config(&settings.pins, vec![b"http/1.1".to_vec()])
        .map_err(|e| ClientError::Tls { host: host.to_owned(), reason: e.to_string() })?;
    let bounds = WebSocketConfig::default()
        .max_message_size(Some(settings.max_message_bytes))
        .max_frame_size(Some(settings.max_message_bytes));
    let connector = Connector::Rustls(Arc::new(tls));
    let opened = client_async_tls_with_config(url.as_str(), stream, Some(bounds), Some(connector)).await;
    opened.map(|(stream, _)| stream).map_err(|e| refused(host, &e))
}

async fn connect_directly(url: &Url, host: &str) -> Result<TcpStream, ClientError> {
    let port = url.port_or_known_default().ok_or(UrlError::Malformed)?;
    let connected = match url.host() {
        Some(Host::Ipv4(v4)) => TcpStream::connect((v4, port)).await,
        Some(Host::Ipv6(v6)) => TcpStream::connect((v6, port)).await,
        Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
        None => return Err(UrlError::Malformed.into()),
    };
    connected.map_err(|e| ClientError::unreachable(host, e))
}

async fn connect_through(
    proxy: &SocksProxy,
    (user, password): &(String, String),
    url: &Url,
    host: &str,
) -> Result<TcpStream, ClientError> {
    let port = url.port_or_known_default().ok_or(UrlError::Malformed)?;
    let uri = |authority: String| format!("http://{authority}").parse().map_err(|_| UrlError::Malformed);
    let (via, to) = (uri(proxy.to_string())?, uri(format!("{host}:{port}"))?);
    let connector = SocksV5::new(via, HttpConnector::new()).with_auth(user.clone(), password.clone());
    let connected = connector.oneshot(to).await;
    connected
        .map(hyper_util::rt::TokioIo::into_inner)
        .map_err(|e| ClientError::unreachable(host, reason_of(&e)))
}

fn refused(host: &str, error: &tungstenite::Error) -> ClientError {
    if let Some(known) = ClientError::from_cause(host, error) {
        return known;
    }
    match error {
        tungstenite::Error::Http(answer) => {
            ClientError::Status { host: host.to_owned(), status: answer.status().as_u16(), retry_after: None }
        }
        other => ClientError::broken(host, reason_of(other)),
    }
}
