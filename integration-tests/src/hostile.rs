//! A mailbox server that turns bad: an honest one behind a gate that ends TLS and then passes on, lies, stalls or cuts, as it
//! is told for each path.
//!
//! One request for each connection, HTTP/1.0 towards the server: so an answer is what comes until the end.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use petmail_proto::keys::CertificatePin;
use petmail_proto::server::offer::Offer;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

use crate::mailbox::{MailboxServer, Scheme};

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Deed {
    /// These bytes are the answer; the server learns nothing.
    Say(Vec<u8>),
    /// The answer begins with the first bytes, and then brings the second ones until the client hangs up.
    Flood(Vec<u8>, Vec<u8>),
    /// There is no answer, ever.
    Stall,
    /// The connection ends when the request was read; the server learns nothing.
    HangUp,
    /// The server does what it is asked, but of its answer only so many bytes come back.
    Cut(usize),
    /// The server is asked twice, as whoever has seen the request can ask it.
    AskTwice,
    /// The server's answer comes back with every event twice.
    Repeat,
}

impl Deed {
    /// An answer with a status, a header line and a body.
    #[must_use]
    pub fn answer(status: u16, header: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Whatever\r\nconnection: close\r\n{header}\r\n");
        // Some statuses go without a body.
        let length = if length > 0 { format!("content-length: {length}\r\n") } else { String::new() };
        Self::Say(format!("{head}{length}\r\n{body}").into_bytes())
    }

    /// An event stream that consists of this text.
    #[must_use]
    pub fn events(text: &str) -> Self {
        Self::Say([EVENT_STREAM, text.as_bytes()].concat())
    }
}

/// The head of an event stream that lasts until the connection ends.
pub const EVENT_STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";

/// The server and its gate.
#[derive(Debug)]
pub struct HostileMailbox {
    server: MailboxServer,
    gate: Arc<Gate>,
    address: String,
    pin: CertificatePin,
}

impl HostileMailbox {
    /// Starts a server that is honest for now.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn start(basedir: &Path) -> Self {
        let server = MailboxServer::start(basedir, Scheme::PlainHttp);
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let pin = CertificatePin::from_bytes(Sha256::digest(&certificate).into());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let gate = Arc::new(Gate {
            server: server.address().to_owned(),
            tls: tls(certificate, key),
            deeds: Mutex::default(),
            asked: Mutex::default(),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&gate);
        // Its connections belong to programs that end with the test.
        thread::spawn(move || listener.incoming().flatten().for_each(|client| accepting.admit(client)));
        Self { server, gate, address, pin }
    }

    /// Makes an offer that leads through the gate.
    ///
    /// # Panics
    /// If none is made.
    #[must_use]
    pub fn offer(&self) -> String {
        let mut offer: Offer = self.server.offer().parse().expect("an offer");
        offer.url = format!("https://{}", self.address).parse().expect("a URL");
        // The server does without TLS, and knows nothing of the gate's certificate.
        offer.pin = Some(self.pin);
        offer.expose_text().to_string()
    }

    /// Does this from now on with requests for a path, such as `deliver`.
    pub fn set(&self, path: &str, deed: Deed) {
        lock(&self.gate.deeds).insert(path.to_owned(), deed);
    }

    /// Is honest from now on, and ends all connections, so that nobody waits for an answer that does not come.
    pub fn behave(&self) {
        lock(&self.gate.deeds).clear();
        self.hang_up();
    }

    /// Ends all connections.
    pub fn hang_up(&self) {
        for connection in lock(&self.gate.open).drain(..) {
            // The other end may be gone already.
            connection.shutdown(Shutdown::Both).ok();
        }
    }

    /// How many requests there were for a path.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        lock(&self.gate.asked).get(path).copied().unwrap_or_default()
    }

    /// The honest server behind the gate.
    #[must_use]
    pub fn server(&self) -> &MailboxServer {
        &self.server
    }
}

fn tls(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("there are versions");
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut config = config.expect("certificate and key belong together");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct Gate {
    server: String,
    tls: Arc<ServerConfig>,
    deeds: Mutex<BTreeMap<String, Deed>>,
    asked: Mutex<BTreeMap<String, usize>>,
    open: Mutex<Vec<TcpStream>>,
}

type Client = StreamOwned<ServerConnection, TcpStream>;

impl Gate {
    fn admit(self: &Arc<Self>, client: TcpStream) {
        let Ok(twin) = client.try_clone() else { return };
        lock(&self.open).push(twin);
        let gate = Arc::clone(self);
        // Whoever hangs up early is no concern of ours.
        thread::spawn(move || gate.serve(client).ok());
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let connection = ServerConnection::new(Arc::clone(&self.tls)).map_err(io::Error::other)?;
        let mut client = StreamOwned::new(connection, client);
        let request = Request::read(&mut client)?;
        *lock(&self.asked).entry(request.path.clone()).or_default() += 1;
        let deed = lock(&self.deeds).get(&request.path).cloned();
        match deed {
            None => self.pass(&request, &mut client, usize::MAX, 1)?,
            Some(Deed::Cut(bytes)) => {
                self.pass(&request, &mut client, bytes, 1)?;
                // Without a farewell, as a broken line has none.
                return client.sock.shutdown(Shutdown::Both);
            }
            Some(Deed::AskTwice) => {
                self.ask(&request)?.read_to_end(&mut Vec::new())?;
                self.pass(&request, &mut client, usize::MAX, 1)?;
            }
            Some(Deed::Repeat) => self.pass(&request, &mut client, usize::MAX, 2)?,
            Some(Deed::Say(answer)) => client.write_all(&answer)?,
            Some(Deed::Flood(head, rest)) => {
                client.write_all(&head)?;
                loop {
                    client.write_all(&rest)?;
                }
            }
            // Whatever the client sends meanwhile.
            Some(Deed::Stall) => drop(io::copy(&mut client, &mut io::sink())?),
            Some(Deed::HangUp) => return client.sock.shutdown(Shutdown::Both),
        }
        client.conn.send_close_notify();
        client.flush()?;
        client.sock.shutdown(Shutdown::Both)
    }

    fn ask(&self, request: &Request) -> io::Result<TcpStream> {
        let mut server = TcpStream::connect(&self.server)?;
        server.write_all(&request.bytes)?;
        Ok(server)
    }

    /// Passes a request on, and of the answer, once it comes, so many bytes back, its events so many times.
    fn pass(&self, request: &Request, client: &mut Client, limit: usize, times: usize) -> io::Result<()> {
        let mut answer = io::BufReader::new(self.ask(request)?);
        let mut left = limit;
        loop {
            let part = read_part(&mut answer, times > 1)?;
            let passed = part.get(..left.min(part.len())).unwrap_or_default();
            let is_event = part.starts_with(b"data:");
            for _ in 0..if is_event { times } else { 1 } {
                client.write_all(passed)?;
                client.flush()?;
            }
            left -= passed.len();
            if part.is_empty() || left == 0 {
                return Ok(());
            }
        }
    }
}

/// Reads what there is, or a whole line, which in a stream of our servers is a whole event but for its empty line.
fn read_part(answer: &mut impl io::BufRead, by_lines: bool) -> io::Result<Vec<u8>> {
    let mut part = Vec::new();
    if by_lines {
        answer.read_until(b'\n', &mut part)?;
        if part.starts_with(b"data:") {
            answer.read_until(b'\n', &mut part)?;
        }
    } else {
        part = answer.fill_buf()?.to_vec();
        answer.consume(part.len());
    }
    Ok(part)
}

/// A request, as it goes to the server.
struct Request {
    path: String,
    bytes: Vec<u8>,
}

impl Request {
    fn read(client: &mut Client) -> io::Result<Self> {
        let mut client = io::BufReader::new(client);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if io::BufRead::read_line(&mut client, &mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or_default()];
        client.read_exact(&mut body)?;
        let bytes = [head.replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1).as_bytes(), &body].concat();
        Ok(Self { path, bytes })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
