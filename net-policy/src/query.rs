use std::net::IpAddr;
use std::time::Instant;

use net_core::{Direction, HostName, Protocol};

use crate::{HostAddresses, NameTable, UnixTime};

/// A flow to decide.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    /// Who opens it.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The far end's address.
    pub address: IpAddr,
    /// Upstream's port (egress) or the guest's (ingress).
    pub port: u16,
    /// The name the flow itself shows, once it has shown one.
    pub name: Option<&'q HostName>,
    /// Which addresses belong to which names.
    pub pins: &'q NameTable,
    /// Which addresses are the host's.
    pub hosts: &'q HostAddresses,
    /// When, by the clock that pins expire by.
    pub now: Instant,
    /// When, by the clock that rules expire by.
    pub wall: UnixTime,
}

impl Query<'_> {
    /// Whether nothing is ever sent there, whatever the rules say: the unspecified addresses mean the
    /// machine that dials, and dialling them reaches the host's loopback.
    pub(crate) fn is_reserved(&self) -> bool {
        let address = self.hosts.normalise(self.address);
        self.direction == Direction::Egress
            && (address.is_unspecified() || address.is_loopback())
            && !self.hosts.contains(address)
    }
}
