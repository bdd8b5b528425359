//! The time, as the services take it.

use petmail_proto::time::UnixMillis;

/// Returns the present time.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(petmail_net::clock::unix_ms())
}
