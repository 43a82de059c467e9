//! The test network: an engine side, and behind its default route "the internet".
//!
//! The internet's addresses are from blocks that IANA calls globally reachable and that nobody
//! runs a service in (AS112: RFC 7535, RFC 7534; AMT: RFC 7450), because an engine rightly
//! refuses answers and dials into the documentation blocks.

use std::fs;

use anyhow::Result;

use crate::e2e::scratch::Scratch;
use crate::space::{Owner, Space};

/// Two namespaces and the veth pair between them.
pub(crate) struct World {
    /// Where the engine runs: has a default route, for both families.
    pub(crate) host: Space,
    /// Where every server runs.
    pub(crate) upstream: Space,
    /// Behind one more router.
    _far: Space,
}

/// nginx and `openssl s_server`.
pub(crate) const WEB: [&str; 2] = ["192.31.196.2", "2001:4:112::2"];
/// The servers with a habit.
pub(crate) const PEER: [&str; 2] = ["192.31.196.3", "2001:4:112::3"];
/// The name server.
pub(crate) const DNS: [&str; 2] = ["192.31.196.53", "2001:4:112::53"];
/// dnsmasq, with the zone of `upstream/dnsmasq.conf`.
pub(crate) const DNSMASQ: [&str; 2] = ["192.31.196.54", "2001:4:112::54"];
/// nginx again, where it speaks HTTP/2 too.
pub(crate) const HTTP2: [&str; 2] = ["192.31.196.4", "2001:4:112::4"];
/// gRPC.
pub(crate) const GRPC: [&str; 2] = ["192.31.196.5", "2001:4:112::5"];
/// WebSocket.
pub(crate) const WEBSOCKET: [&str; 2] = ["192.31.196.6", "2001:4:112::6"];
/// Inside a private network, where a rebinding name leads; nginx listens here too.
pub(crate) const PRIVATE: [&str; 2] = ["10.99.0.5", "fd00:99::5"];

/// Who is there: nobody but the kernel, which answers an echo and refuses what it has no server for.
const FAR: [&str; 2] = ["192.52.193.9", "2001:3::9"];

/// No error is kept back because there were others: for one destination, or (the masks: errors that count
/// towards the limit of the whole namespace, 50 in a burst) for another row that runs meanwhile.
const UNLIMITED_ICMP: &str = "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
             echo 0 > /proc/sys/net/ipv4/icmp_ratemask
             echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
             echo 255 > /proc/sys/net/ipv6/icmp/ratemask";

impl World {
    /// Makes the namespaces and joins them.
    pub(crate) fn new(owner: Owner, scratch: &Scratch) -> Result<Self> {
        let host = Space::new(owner)?;
        let upstream = host.sibling()?;
        let host_pid = host.pid();
        let addresses: String = [WEB, PEER, DNS, DNSMASQ, HTTP2, GRPC, WEBSOCKET]
            .iter()
            .map(|[v4, v6]| format!("ip address add {v4}/24 dev up0\nip address add {v6}/64 dev up0 nodad\n"))
            .collect();
        let [private_v4, private_v6] = PRIVATE;
        upstream.script(&format!(
            "ip link add up0 type veth peer name out0 netns {host_pid}
             echo cubic > /proc/sys/net/ipv4/tcp_congestion_control || true
             echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             {UNLIMITED_ICMP}
             ip link set lo up
             ip link set up0 up
             {addresses}
             ip address add {private_v4}/32 dev lo
             ip address add {private_v6}/128 dev lo nodad
             # Destinations that are told to be unreachable, and ones that swallow everything.
             ip route add unreachable 192.52.193.0/24
             ip route add unreachable 2001:3::/32
             ip route add blackhole 192.175.48.0/24
             ip route add blackhole 2620:4f:8000::/48"
        ))?;
        let far = upstream.sibling()?;
        let [far_v4, far_v6] = FAR;
        let [router_v4, router_v6] = WEB;
        upstream.script(&format!(
            "ip link add down0 type veth peer name far0 netns {far_pid}
             ip link set down0 up
             ip route add {far_v4}/32 dev down0 src {router_v4}
             ip -6 address add fe80::1/64 dev down0 nodad
             ip route add {far_v6}/128 dev down0 src {router_v6}",
            far_pid = far.pid(),
        ))?;
        far.script(&format!(
            "ip link set lo up
             ip link set far0 up
             {UNLIMITED_ICMP}
             ip address add {far_v4}/32 dev far0
             ip address add {far_v6}/128 dev far0 nodad
             ip route add default dev far0 via {router_v4} onlink
             ip -6 route add default via fe80::1 dev far0"
        ))?;
        let resolv_conf = scratch.path("resolv.conf");
        fs::write(&resolv_conf, format!("nameserver {}\nnameserver {}\n", DNS[0], DNS[1]))?;
        // Proxies resolve names too.
        upstream.script(&format!("mount --bind {} /etc/resolv.conf", resolv_conf.display()))?;
        host.script(&format!(
            "echo cubic > /proc/sys/net/ipv4/tcp_congestion_control || true
             echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range ||
             echo 0 0 > /proc/sys/net/ipv4/ping_group_range || true
             ip link set lo up
             ip link set out0 up
             ip address add 192.31.196.1/24 dev out0
             ip address add 2001:4:112::1/64 dev out0 nodad
             ip route add default via 192.31.196.2
             ip -6 route add default via 2001:4:112::2
             mount --bind {resolv_conf} /etc/resolv.conf",
            resolv_conf = resolv_conf.display(),
        ))?;
        Ok(Self { host, upstream, _far: far })
    }
}
