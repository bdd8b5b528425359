//! Opener tokens: how the control panel's page gets the access token, so that no lasting secret is ever in a URL.
//!
//! `open` makes one and puts it into the fragment of the page's address, which browsers send to nobody; the page trades it by
//! POST. It works once, for a minute, and on Linux only for a program of the node's own user: other users of the machine can
//! see the browser's arguments.

use std::{sync::Mutex, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use petmail_net::address::ClientAddr;
use rand_core::{CryptoRng, RngCore};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long an opener token works.
const LIFE: Duration = Duration::from_secs(60);

/// How many work at a time; with one more the oldest goes. Nobody opens more pages a minute.
const MAX_OPEN: usize = 32;

/// Bytes of randomness in an opener token.
const TOKEN_BYTES: usize = 32;

/// The opener tokens of a running node.
#[derive(Default)]
pub(super) struct Openers(Mutex<Vec<Opener>>);

struct Opener {
    text: Zeroizing<String>,
    ends: Instant,
}

impl Openers {
    /// Makes an opener token: base64url without padding.
    pub(super) fn make(&self, rng: &mut (impl RngCore + CryptoRng)) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        rng.fill_bytes(bytes.as_mut_slice());
        let text = Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_slice()));
        let now = Instant::now();
        let mut open = self.lock();
        open.retain(|opener| opener.ends > now);
        if open.len() >= MAX_OPEN {
            open.remove(0);
        }
        open.push(Opener { text: text.clone(), ends: now + LIFE });
        text
    }

    /// Uses an opener token up. Tells whether it was one, in a time that does not depend on where it differs.
    pub(super) fn redeem(&self, presented: &str) -> bool {
        let now = Instant::now();
        let mut open = self.lock();
        let position =
            open.iter().position(|opener| bool::from(opener.text.as_bytes().ct_eq(presented.as_bytes())));
        position.is_some_and(|position| open.remove(position).ends > now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Opener>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Openers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Openers(…)")
    }
}

/// Tells whether the connection from `client` to this node is a program's of the node's own user. Who cannot be found is not.
#[cfg(target_os = "linux")]
pub(super) fn is_own_user(client: ClientAddr, port: u16) -> bool {
    let ClientAddr::Network(address) = client else { return false };
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let sockets = tables.into_iter().flatten().flatten();
    let mut owners = sockets
        .filter(|socket| {
            same(socket.local_address, address)
                && socket.remote_address.port() == port
                && socket.state == procfs::net::TcpState::Established
        })
        .map(|socket| socket.uid)
        .peekable();
    owners.peek().is_some() && owners.all(|uid| uid == rustix::process::geteuid().as_raw())
}

/// Elsewhere only the token's own secrecy counts.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_own_user(_: ClientAddr, _: u16) -> bool {
    true
}

/// Compares addresses, of which one may be written as an IPv6 address though it is none.
#[cfg(target_os = "linux")]
fn same(one: std::net::SocketAddr, other: std::net::SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;

    #[test]
    fn an_opener_token_works_once() {
        let openers = Openers::default();
        let (one, two) = (openers.make(&mut OsRng), openers.make(&mut OsRng));
        assert!(
            !openers.redeem("")
                && !openers.redeem(one.get(1..).unwrap())
                && !openers.redeem(&format!("{}A", *one))
        );
        assert!(openers.redeem(&two) && !openers.redeem(&two));
        assert!(openers.redeem(&one) && !openers.redeem(&one));
    }

    #[tokio::test(start_paused = true)]
    async fn an_opener_token_works_for_a_minute() {
        let openers = Openers::default();
        let (early, late) = (openers.make(&mut OsRng), openers.make(&mut OsRng));
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert!(openers.redeem(&early));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!openers.redeem(&late));
    }

    #[test]
    fn few_work_at_a_time_and_none_is_shown() {
        let openers = Openers::default();
        let first = openers.make(&mut OsRng);
        let second = openers.make(&mut OsRng);
        for _ in 1..MAX_OPEN {
            openers.make(&mut OsRng);
        }
        assert!(!openers.redeem(&first) && openers.redeem(&second));
        assert_eq!(format!("{openers:?}"), "Openers(…)");
    }
}
