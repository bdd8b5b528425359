//! Ways to a server on which something gets lost: one answer, or the end of most connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::chance::Chance;

/// After how many bytes one half of the connections is cut, at the latest: the handshake takes some 5,000, a message 4,000.
const SHORT_LIFE_BYTES: u64 = 40_000;

/// After how many bytes the other half is cut: enough for an event with some messages, mostly at the first attempt.
const LONG_LIFE_BYTES: u64 = 150_000;

/// Listens on loopback, and passes everything on to the server at `address` and back; but the first answer to a request
/// that begins with `request` never comes back, although the server has given it. Returns where it listens.
///
/// # Panics
/// If it cannot listen.
#[must_use]
pub fn losing_first_answer(address: &str, request: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let here = listener.local_addr().expect("a bound socket has an address");
    let (address, lost) = (address.to_owned(), Arc::new(AtomicBool::new(false)));
    // Both ends of its connections belong to programs that end with the test.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if let Ok(server) = TcpStream::connect(&address) {
                let connection = Connection { client, server, request, lost: Arc::clone(&lost) };
                thread::spawn(move || connection.carry());
            }
        }
    });
    here.to_string()
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    request: &'static str,
    lost: Arc<AtomicBool>,
}

impl Connection {
    /// Carries requests and answers in turn, as an HTTP/1.1 client without pipelining sends them.
    fn carry(self) {
        let Self { mut client, mut server, request, lost } = self;
        let (Ok(mut answers), Ok(mut back)) = (server.try_clone(), client.try_clone()) else { return };
        let is_losing = Arc::new(AtomicBool::new(false));
        let losing = Arc::clone(&is_losing);
        thread::spawn(move || {
            let mut buffer = [0; 16_384];
            while let Ok(length @ 1..) = answers.read(&mut buffer) {
                let answer = buffer.get(..length).unwrap_or_default();
                if losing.load(Ordering::SeqCst) || back.write_all(answer).is_err() {
                    break;
                }
            }
            // The other end may be gone already.
            back.shutdown(Shutdown::Both).ok();
        });
        let mut buffer = [0; 16_384];
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            let part = buffer.get(..length).unwrap_or_default();
            if part.starts_with(request.as_bytes()) && !lost.swap(true, Ordering::SeqCst) {
                is_losing.store(true, Ordering::SeqCst);
            }
            if server.write_all(part).is_err() {
                break;
            }
        }
        server.shutdown(Shutdown::Both).ok();
    }
}

/// A way on which connections are cut after a random number of bytes, once it is told how many.
#[derive(Debug)]
pub struct CuttingWay {
    address: String,
    scissors: Arc<Scissors>,
}

/// How many connections are still to be cut.
#[derive(Debug, Default)]
struct Scissors(AtomicUsize);

impl Scissors {
    /// Takes one of the cuts that are left; false if there is none.
    fn cut(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl CuttingWay {
    /// Listens on loopback, and passes everything on to the server at `address` and back.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn to(address: &str, mut chance: Chance) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let here = listener.local_addr().expect("a bound socket has an address").to_string();
        let (address, scissors) = (address.to_owned(), Arc::<Scissors>::default());
        let way = Self { address: here, scissors: Arc::clone(&scissors) };
        // Both ends of its connections belong to programs that end with the test.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&address) else { continue };
                let longest = chance.one_of(&[SHORT_LIFE_BYTES, LONG_LIFE_BYTES]);
                carry_until_cut([client, server], chance.below(longest), &scissors);
            }
        });
        way
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Cuts `times` connections from now on, also those that are open; what comes then passes.
    pub fn cut(&self, times: usize) {
        self.scissors.0.store(times, Ordering::SeqCst);
    }

    /// Whether it has yet to cut.
    #[must_use]
    pub fn is_cutting(&self) -> bool {
        self.scissors.0.load(Ordering::SeqCst) > 0
    }
}

/// Carries bytes both ways until so many have passed, in both directions together.
fn carry_until_cut(ends: [TcpStream; 2], life: u64, scissors: &Arc<Scissors>) {
    let [Ok(from_client), Ok(from_server)] = ends.each_ref().map(TcpStream::try_clone) else { return };
    let [to_client, to_server] = ends;
    let life = Arc::new(Mutex::new(life));
    for (from, to) in [(from_client, to_server), (from_server, to_client)] {
        let (life, scissors) = (Arc::clone(&life), Arc::clone(scissors));
        thread::spawn(move || carry_one_way(from, to, &life, &scissors));
    }
}

fn carry_one_way(mut from: TcpStream, mut to: TcpStream, life: &Mutex<u64>, scissors: &Scissors) {
    let mut buffer = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let left = {
            let mut life = life.lock().unwrap_or_else(PoisonError::into_inner);
            let left = usize::try_from(*life).unwrap_or(usize::MAX);
            *life = life.saturating_sub(length as u64);
            left
        };
        let is_cut = length > left && scissors.cut();
        let passed = if is_cut { left } else { length };
        if to.write_all(buffer.get(..passed).unwrap_or_default()).is_err() {
            break;
        }
        if is_cut {
            break;
        }
    }
    // The other ends may be gone already.
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
