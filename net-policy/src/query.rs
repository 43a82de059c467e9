use std::net::IpAddr;
use std::time::Instant;

use net_core::{Direction, HostName, Protocol};

use crate::{Action, DenyReason, HostAddresses, NameTable, RequestLine, Rule, UnixTime};

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

/// What is known of a flow's requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Requests<'r> {
    /// They are decided one by one, later.
    ToCome,
    /// They cannot be seen.
    Unseen,
    /// It is this one.
    This(&'r RequestLine),
}

/// How a rule that is for some requests, and matches otherwise, goes for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It decides.
    Decides,
    /// It denies some of the requests, which are still to come.
    DeniesSome,
    /// It is for other requests.
    OtherRequests,
    /// It allows some, and none can be seen.
    Unseen,
}

impl Query<'_> {
    /// Whether a stream like this can be read as HTTP: datagrams are not, nor is what comes to the guest.
    pub(crate) fn may_show_requests(&self) -> bool {
        self.direction == Direction::Egress && self.protocol == Protocol::Tcp
    }
}

impl Requests<'_> {
    /// What a rule says by its condition on requests, if it has one.
    pub(crate) fn verdict(self, rule: &Rule) -> Verdict {
        let Some(condition) = &rule.http else { return Verdict::Decides };
        match (self, rule.action) {
            (Self::This(request), _) if condition.matches(request) => Verdict::Decides,
            (Self::This(_), _) => Verdict::OtherRequests,
            (Self::ToCome, Action::Allow) | (Self::Unseen, Action::Deny) => Verdict::Decides,
            (Self::ToCome, Action::Deny) => Verdict::DeniesSome,
            (Self::Unseen, Action::Allow) => Verdict::Unseen,
        }
    }

    /// Why a rule that allows some requests to the name was skipped.
    pub(crate) fn skipped(self) -> DenyReason {
        match self {
            Self::This(_) => DenyReason::Request,
            Self::ToCome | Self::Unseen => DenyReason::NotHttp,
        }
    }

    /// Why a rule denies.
    pub(crate) fn denial_by(self, rule: &Rule) -> DenyReason {
        match self {
            Self::Unseen if rule.http.is_some() => DenyReason::NotHttp,
            Self::Unseen | Self::ToCome | Self::This(_) => DenyReason::Rule,
        }
    }
}
