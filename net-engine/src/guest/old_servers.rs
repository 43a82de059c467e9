use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Servers that are remembered.
const MAX_SERVERS: usize = 256;

/// Servers whose last answer was one of HTTP/1.0: they know no chunks (RFC 9112, section 6.1). At most 256 are
/// remembered.
#[derive(Default)]
pub(crate) struct OldServers(RefCell<BTreeSet<SocketAddr>>);

impl OldServers {
    /// Notes what a server has answered by.
    pub(crate) fn note(&self, server: SocketAddr, is_old: bool) {
        let mut servers = self.0.borrow_mut();
        if !is_old {
            servers.remove(&server);
        } else if servers.insert(server) && servers.len() > MAX_SERVERS {
            servers.pop_first();
        }
    }

    pub(crate) fn have(&self, server: SocketAddr) -> bool {
        self.0.borrow().contains(&server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_remembered_until_they_answer_anew() {
        let servers = OldServers::default();
        let server = |port: usize| SocketAddr::from(([9, 9, 9, 1], u16::try_from(port).expect("a port")));
        for port in 0..=MAX_SERVERS {
            servers.note(server(port), true);
        }
        assert!(!servers.have(server(0)) && servers.have(server(1)) && servers.have(server(MAX_SERVERS)));
        servers.note(server(1), false);
        assert!(!servers.have(server(1)));
    }
}
