//! WebSocket connections out.

use std::sync::Arc;

use axum::{Router, extract::ws::WebSocketUpgrade, routing::get};
use futures::{SinkExt, StreamExt};
use petmail_net::{
    client::{ClientError, UrlError},
    tls::{Pin, TlsMode},
    ws::{self, Message, WsError, WsSettings},
};
use tokio::net::TcpListener;

use crate::{
    client::socks,
    support::{Running, SOON, World, patient, serve, within},
};

/// Answers every message with one twice as long.
fn doubling() -> Router {
    Router::new().route(
        "/v1",
        get(|upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(axum::extract::ws::Message::Text(text))) = socket.recv().await {
                    let doubled = axum::extract::ws::Message::text(text.repeat(2));
                    if socket.send(doubled).await.is_err() {
                        return;
                    }
                }
            })
        }),
    )
}

async fn start(mode: TlsMode) -> Running {
    serve(mode, patient(), doubling(), Arc::new(World::default())).await
}

async fn ask(url: &str, settings: &WsSettings, text: &str) -> Result<Message, WsError> {
    let mut socket = ws::connect(url, settings).await.unwrap();
    socket.send(Message::text(text)).await.unwrap();
    within(socket.next()).await.unwrap()
}

#[tokio::test]
async fn messages_go_both_ways_and_are_bounded() {
    let server = start(TlsMode::PlainHttp).await;
    let url = format!("ws://{}/v1", server.addr);
    let settings = WsSettings { max_message_bytes: 10, ..WsSettings::default() };
    assert_eq!(ask(&url, &settings, "hello").await.unwrap(), Message::text("hellohello"));
    assert!(matches!(ask(&url, &settings, "hello!").await, Err(WsError::Capacity(_))));
}

#[tokio::test]
async fn tls_needs_the_pinned_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let mode = TlsMode::SelfSigned { dir: dir.path().to_owned(), names: vec!["x.example".into()] };
    let server = start(mode).await;
    let url = format!("wss://{}/v1", server.addr);
    let pinned = |pin| WsSettings { pins: vec![pin], ..WsSettings::default() };
    let answer = ask(&url, &pinned(server.pin.unwrap()), "ab").await.unwrap();
    assert_eq!(answer, Message::text("abab"));
    let refused = ws::connect(&url, &pinned(Pin::from_bytes([1; 32]))).await.unwrap_err();
    assert_eq!(refused, ClientError::PinMismatch { host: "127.0.0.1".into() });
    let unknown = ws::connect(&url, &WsSettings::default()).await.unwrap_err();
    assert!(matches!(unknown, ClientError::Tls { .. }), "{unknown:?}");
}

#[tokio::test]
async fn a_proxy_gets_the_name_and_the_credentials() {
    let server = start(TlsMode::PlainHttp).await;
    let (proxy, seen) = socks(server.addr).await;
    let isolation = ("rendezvous".to_owned(), "7".to_owned());
    let settings = WsSettings { socks5: Some(proxy), isolation, ..WsSettings::default() };
    ask("ws://meet.onion/v1", &settings, "ab").await.unwrap();
    assert_eq!(*seen.lock().await, ["rendezvous:7@meet.onion:80"]);
}

#[tokio::test]
async fn what_is_no_websocket_is_told() {
    let server = start(TlsMode::PlainHttp).await;
    let missing = ws::connect(&format!("ws://{}/v2", server.addr), &WsSettings::default()).await.unwrap_err();
    assert!(matches!(missing, ClientError::Status { status: 404, .. }), "{missing:?}");
    let refuse =
        |url: &'static str| async move { ws::connect(url, &WsSettings::default()).await.unwrap_err() };
    assert_eq!(refuse("https://example.org").await, UrlError::WebSocketScheme.into());
    assert_eq!(refuse("example").await, UrlError::Malformed.into());
    assert_eq!(refuse("ws://me:word@example.org/v1").await, UrlError::NotPlain.into());
    assert_eq!(refuse("ws://meet.onion/v1").await, UrlError::OnionWithoutProxy.into());
}

#[tokio::test]
async fn a_server_that_is_away_or_mute_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1", listener.local_addr().unwrap());
    let settings = WsSettings { connect_timeout: SOON, ..WsSettings::default() };
    let mute = within(ws::connect(&url, &settings)).await.unwrap_err();
    assert_eq!(mute, ClientError::TimedOut { host: "127.0.0.1".into() });
    drop(listener);
    let away = ws::connect(&url, &WsSettings::default()).await.unwrap_err();
    assert!(matches!(away, ClientError::Unreachable { .. }), "{away:?}");
}
