//! A way to a server on which one answer gets lost.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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
