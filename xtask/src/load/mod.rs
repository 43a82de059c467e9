//! The load that `bench engine` puts on a network: servers with habits, and an agent that runs as
//! the guest's command and is told what to do a line at a time.
//!
//! Plain threads and blocking sockets, so that both ends are the same whatever is between them.
//! Each habit is a file that holds both its ends.

mod agent;
mod answer;
mod asking;
mod bulk;
mod datagrams;
mod fin;
mod flood;
mod habit;
mod idle;
mod names;
mod order;
mod paced;
mod ping;
mod rank;
mod serve;
mod servers;
mod short;
mod tls;

pub(crate) use agent::agent;
pub(crate) use answer::{Answer, Pace};
pub(crate) use datagrams::Way;
pub(crate) use flood::{Flood, flood};
pub(crate) use habit::{ECHO_PORT, Habit};
pub(crate) use names::NAME;
pub(crate) use order::Order;
pub(crate) use rank::quantile;
pub(crate) use serve::serve;
pub(crate) use tls::{
    AUTHORITY as TLS_AUTHORITY, FLOOD, HTTP2_PORT, NAME as TLS_NAME, PORT as TLS_PORT, serve as serve_tls,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Allows this process and its children as many descriptors as the system lets them have; how many.
pub(crate) fn raise_descriptor_limit() -> usize {
    const ENOUGH: u64 = 200_000;
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    // Only root may raise the second limit; the first goes as far as it can without.
    if setrlimit(Resource::RLIMIT_NOFILE, ENOUGH.max(hard), ENOUGH.max(hard)).is_err() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(now, _)| usize::try_from(now).unwrap_or(usize::MAX))
}
