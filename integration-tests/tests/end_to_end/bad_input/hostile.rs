//! What a hostile client does below HTTP, and what no log may hold.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rand_core::{OsRng, RngCore};

/// Stands in everything that is sent, and must never stand in a log.
pub(crate) const CONFIDENTIAL: &str = "tattletale";

/// Time-outs short enough for a test of slow clients, and long enough for honest ones on a busy machine.
pub(crate) const IMPATIENT: &str = "[network]\nheader_timeout_seconds = 2\nbody_timeout_seconds = 2\n";

/// A server that keeps a slow client for so long has no time-out.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Sends bytes without any library, and returns what came until the server hung up.
pub(crate) fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that has seen enough may hang up before it has read everything.
    drop(stream.write_all(bytes));
    read_to_end(&mut stream)
}

/// As [`raw`], but says that nothing will follow.
pub(crate) fn cut_off(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    read_to_end(&mut stream)
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the server waits for ever"),
        // A reset ends a connection as well.
        Ok(_) | Err(_) => String::from_utf8_lossy(&answer).into_owned(),
    }
}

/// Nonsense, halves and slowness on the socket of any of our servers.
pub(crate) fn abuse_socket(address: &str) {
    for length in [1, 100, 100_000] {
        let answer = cut_off(address, &random(length));
        assert!(answer.is_empty() || answer.contains(" 400 "), "{answer}");
    }
    let answer = cut_off(address, format!("{CONFIDENTIAL} {CONFIDENTIAL}\r\n\r\n").as_bytes());
    assert!(answer.contains(" 400 "), "{answer}");
    let half = format!("POST /{CONFIDENTIAL} HTTP/1.1\r\nhost: {address}\r\nx-{CONFIDENTIAL}: ");
    drop(cut_off(address, half.as_bytes()));
    let long = format!("{half}{}\r\n\r\n", CONFIDENTIAL.repeat(10_000));
    let answer = cut_off(address, long.as_bytes());
    assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
}

/// Heads that never end, so that only a time-out ends them.
pub(crate) fn dawdle(address: &str) {
    let head = format!("GET / HTTP/1.1\r\nhost: {address}\r\nx-{CONFIDENTIAL}: ");
    let answer = raw(address, head.as_bytes());
    assert!(answer.is_empty() || answer.contains(" 408 "), "{answer}");
}

/// A log may name neither what was sent nor who sent it, and has nothing to say of panics.
pub(crate) fn check_log(log: &str) {
    for forbidden in [CONFIDENTIAL, "panicked"] {
        assert!(!log.contains(forbidden), "{forbidden}: {log}");
    }
}
