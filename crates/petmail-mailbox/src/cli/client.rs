//! The command line's side of the administration: HTTP over a Unix socket or a loopback port.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use petmail_net::program::Failure;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::config::AdminListen;

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer: a hundred thousand accounts.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Talks to a running server.
pub(super) struct AdminClient {
    listen: AdminListen,
}

impl AdminClient {
    pub(super) const fn new(listen: AdminListen) -> Self {
        Self { listen }
    }

    pub(super) async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
    ) -> Result<A, Failure> {
        let body = serde_json::to_vec(question).map_err(Failure::failed)?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<A: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<A, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(Failure::failed)?;
        let asked = tokio::time::timeout(TIMEOUT, self.send(request)).await;
        let answer = asked.map_err(|_| Failure::failed("the running server does not answer"))??;
        serde_json::from_slice(&answer).map_err(|_| Failure::failed("the running server has another version"))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failure> {
        match &self.listen {
            AdminListen::Unix(path) => {
                exchange(UnixStream::connect(path).await.map_err(unreachable)?, request).await
            }
            AdminListen::Loopback(address) => {
                exchange(TcpStream::connect(address).await.map_err(unreachable)?, request).await
            }
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Bytes, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Failure::failed)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(Failure::failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(Failure::failed)?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(Failure::failed(String::from_utf8_lossy(&body))) }
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(Failure::failed(error)),
        },
    }
}

fn unreachable(error: std::io::Error) -> Failure {
    Failure::failed(format_args!("cannot reach the running server: {error}"))
        .hint("name its --admin-listen, or stop it and try again")
}
