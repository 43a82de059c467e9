use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use net_core::{HostName, HostPattern, Limits, Nat64Prefix, Shaping};
use net_policy::dns::DenialStyle;
use net_policy::{Policy, VirtualPools};
use net_secrets::SecretSet;
use net_tls::{Authority, UpstreamTrust};
use rustls::KeyLog;

use super::{HostInterfaces, HostPorts, HostTrust, Nameservers, RawEchoSockets, ViolationReport};
use crate::core::{Autoconfiguration, GuestAddresses};
use crate::proxy::Proxy;

/// Which TLS streams are opened, and by whose authority.
#[derive(Debug, Default)]
pub struct Interception {
    /// Ports whose streams are looked into; empty looks into none. QUIC to them is refused where a stream
    /// would be opened.
    pub ports: BTreeSet<u16>,
    /// Names whose streams, and QUIC, are passed on as they are.
    pub bypass: Vec<HostPattern>,
    /// Whether hellos with an encrypted one inside (ECH) are refused where they would be passed on: the name
    /// inside may be another than the one that is decided. Browsers send extensions that mean nothing and
    /// cannot be told from those that do.
    pub refuse_ech: bool,
    /// Mints what the guest sees. Without it TLS and QUIC are decided by their names and passed on.
    pub authority: Option<Authority>,
}

/// What becomes of a guest that sends a placeholder where it may not go, besides what the secret's own
/// [`Action`](net_secrets::Action) says; the stricter counts. The request is blocked in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViolationAction {
    /// It goes on.
    #[default]
    Block,
    /// Its network ends; the [`TerminationHook`] may end the rest.
    Terminate,
}

/// Why a guest's network ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Termination {
    /// The link failed or was closed.
    LinkClosed,
    /// A violation, under [`ViolationAction::Terminate`] or by what a secret or
    /// [`GuestConfig::terminate_after`] says: this one.
    Violation(Box<ViolationReport>),
}

/// Called once when a guest's network ends without having been told to: the sandbox around it may
/// want to end too.
///
/// It runs on the guest's worker thread, after the guest's flows are gone; it must not block.
pub struct TerminationHook(Box<dyn FnOnce(Termination) + Send>);

impl TerminationHook {
    /// A hook that calls `hook`.
    pub fn new(hook: impl FnOnce(Termination) + Send + 'static) -> Self {
        Self(Box::new(hook))
    }

    pub(crate) fn call(self, why: Termination) {
        (self.0)(why);
    }
}

impl fmt::Debug for TerminationHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TerminationHook")
    }
}

/// Everything one guest's network is made of.
#[derive(Debug)]
pub struct GuestConfig {
    /// The addresses on the guest's link; `None` for those of its slot.
    pub addresses: Option<GuestAddresses>,
    /// What the guest is told when it asks for its network by DHCP or as an IPv6 host does; `None` where
    /// it is set up otherwise, and then only the addresses above are its own.
    pub autoconfiguration: Option<Autoconfiguration>,
    /// What may leave. The default denies everything.
    pub policy: Policy,
    /// Which TLS streams are opened.
    pub interception: Interception,
    /// Which placeholders become which secrets, where.
    pub secrets: SecretSet,
    /// The resolvers names are asked of.
    pub nameservers: Nameservers,
    /// How the guest is told that it may not know a name.
    pub dns_denial: DenialStyle,
    /// Whom upstream certificates must lead to. It must verify them: who is to be believed unseen is named
    /// in `host_trust`.
    pub upstream_trust: UpstreamTrust,
    /// The same for some upstreams, in place of `upstream_trust`; the first that is of one counts.
    pub host_trust: Vec<HostTrust>,
    /// Told the secrets of every TLS session that is opened, on both sides: whoever reads them reads
    /// the streams.
    pub dangerous_tls_key_log: Option<Arc<dyn KeyLog>>,
    /// The name that means the host's loopback.
    pub host_alias: HostName,
    /// Ports of the gateway's that lead to other ports than the same of the host's loopback. The policy sees the port
    /// the guest has asked for.
    pub host_ports: HostPorts,
    /// Addresses of the host's own interfaces: they belong to the group `host` and no other.
    pub host_addresses: HostInterfaces,
    /// Prefixes behind which a translator of the host's network reaches IPv4, besides the well-known
    /// one: what lies behind them is decided as the IPv4 address it is.
    pub nat64: Vec<Nat64Prefix>,
    /// Where the addresses come from that names have of their own, by rules that want it
    /// ([`Rule::virtual_ip`](net_policy::Rule::virtual_ip)). Once a policy has such a rule, what is sent
    /// there is for a name or is denied.
    pub virtual_pools: VirtualPools,
    /// Destinations that are dialled elsewhere. The policy sees where the guest wanted to go, the
    /// host connects to the other address.
    pub redirects: HashMap<SocketAddr, SocketAddr>,
    /// The proxies by which connections go that are not for the host itself. Of those a connection may go by the
    /// first is taken, unless its rule chooses one ([`Rule::proxy`](net_policy::Rule::proxy)).
    pub proxies: Vec<Proxy>,
    /// Whether what was allowed by a name is held to it: every request on a stream is for the stream's name,
    /// and a stream of a rule for a name is HTTP where HTTP is to be expected, or ends.
    pub strict_hosts: bool,
    /// Whether a guest is told by which rule and why it is denied, where HTTP can tell it: with 403, also
    /// inside of TLS that would have been opened.
    pub readable_denials: bool,
    /// What becomes of a guest that violates a binding.
    pub on_violation: ViolationAction,
    /// How many violations end a guest whatever each of them leads to, names it asks for included.
    pub terminate_after: Option<NonZeroU32>,
    /// Told when the guest's network ends by itself.
    pub on_termination: Option<TerminationHook>,
    /// Whether flows that are opened are events too ([`Event::Opened`](crate::Event::Opened)); those
    /// that are refused always are.
    pub reports_opened: bool,
    /// What the guest may send and receive, whatever it is: frames with their headers. What is too much waits
    /// at its sender. What the flows of a rule may carry the rule says ([`Rule::shaped`](net_policy::Rule::shaped)).
    pub shaping: Shaping,
    /// By which sockets it asks for echoes where this process may ask by no others, and has given up the right to these.
    pub raw_echoes: RawEchoSockets,
    /// Bounds.
    pub limits: Limits,
}

/// The name that means the host unless another is chosen.
pub const DEFAULT_HOST_ALIAS: &str = "host.internal";

impl Default for GuestConfig {
    /// A guest that may do nothing: no rules, no interception, no secrets.
    fn default() -> Self {
        Self {
            addresses: None,
            autoconfiguration: Some(Autoconfiguration::default()),
            policy: Policy::default(),
            interception: Interception::default(),
            secrets: SecretSet::default(),
            nameservers: Nameservers::default(),
            dns_denial: DenialStyle::default(),
            upstream_trust: UpstreamTrust::default(),
            host_trust: Vec::new(),
            dangerous_tls_key_log: None,
            host_alias: HostName::parse(DEFAULT_HOST_ALIAS).expect("the constant is a host name"),
            host_ports: HostPorts::default(),
            host_addresses: HostInterfaces::default(),
            nat64: Vec::new(),
            virtual_pools: VirtualPools::default(),
            redirects: HashMap::new(),
            proxies: Vec::new(),
            strict_hosts: true,
            readable_denials: false,
            on_violation: ViolationAction::default(),
            terminate_after: None,
            on_termination: None,
            reports_opened: false,
            shaping: Shaping::default(),
            raw_echoes: RawEchoSockets::default(),
            limits: Limits::default(),
        }
    }
}
