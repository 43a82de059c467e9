//! mitmproxy in transparent mode: the guest's namespace, a veth pair, and a redirect on the host's side.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::bench_engine::network::Network;
use crate::bench_engine::tls::certificates;
use crate::load::{HTTP2_PORT, TLS_PORT};
use crate::programs;
use crate::workspace::Workspace;
use crate::{process, python};

/// The proxy and all it needs, each in the version it was tried with.
const PACKAGES: &str = include_str!("mitmproxy.txt");

/// Where it listens, and where the guest's connections are led to.
const PORT: u16 = 8080;

/// Where it keeps its authority.
pub(crate) const CONFIG: &str = "/tmp/mitmproxy";

/// The authority's certificate, as it calls it.
pub(crate) const TRUST: &str = "/tmp/mitmproxy/mitmproxy-ca-cert.pem";

/// What its entry point runs.
const MAIN: &str = "from mitmproxy.tools.main import mitmdump; mitmdump()";

/// Installs it below the target directory; `Err` within says why it is not there.
pub(crate) fn provide(workspace: &Workspace) -> Result<Result<std::path::PathBuf, String>> {
    if let [(program, package), ..] = programs::ensure(&[("nft", "nftables"), ("python3", "python3")])?[..] {
        return Ok(Err(format!("missing {program} ({package})")));
    }
    python::provide(workspace, "mitmproxy", PACKAGES)
}

/// Connects the guest's namespace with the host's, and leads its TLS to the proxy.
pub(crate) fn join(network: &Network, agent: u32) -> Result<()> {
    // Also what a system before may have left, had it been interrupted.
    let _ = undo(network).status();
    network.host.script(&format!(
        "ip link add mitm0 type veth peer name eth0 netns {agent}
         ip address add 192.168.213.1/24 dev mitm0
         ip link set mitm0 up
         nsenter --net --target {agent} sh -eu <<END
             ip link set lo up
             ip address add 192.168.213.2/24 dev eth0
             ip link set eth0 up
             ip route add default via 192.168.213.1
END
         echo 1 > /proc/sys/net/ipv4/ip_forward
         nft -f - <<END
             table ip bench {{
                 chain to {{
                     type nat hook prerouting priority dstnat;
                     iifname mitm0 tcp dport {{ {TLS_PORT}, {HTTP2_PORT} }} redirect to :{PORT}
                 }}
                 chain from {{
                     type nat hook postrouting priority srcnat;
                     ip saddr 192.168.213.0/24 oifname out0 masquerade
                 }}
             }}
END
         mkdir -p {CONFIG}"
    ))
}

/// What takes the redirect back; the veth pair ends with its namespace.
pub(crate) fn undo(network: &Network) -> Command {
    let mut command = network.host.command("nft");
    command.args(["delete", "table", "ip", "bench"]).stderr(std::process::Stdio::null());
    command
}

/// The proxy itself.
pub(crate) fn command(network: &Network, library: &Path) -> Command {
    let mut command = network.host.command("python3");
    command.env("PYTHONPATH", library).args(["-c", MAIN, "--quiet"]);
    let port = PORT.to_string();
    command.args(["--mode", "transparent", "--listen-port", &port]);
    let trusted = format!("ssl_verify_upstream_trusted_ca={}", certificates::AUTHORITY);
    for setting in [&*format!("confdir={CONFIG}"), &*trusted, "stream_large_bodies=64k", "flow_detail=0"] {
        command.args(["--set", setting]);
    }
    command
}

/// Makes the authority before the first guest is told whom to trust.
pub(crate) fn make_authority(network: &Network, library: &Path) -> Result<()> {
    let make =
        format!("from mitmproxy.certs import CertStore; CertStore.from_store({CONFIG:?}, 'mitmproxy', 2048)");
    network.host.script(&format!("mkdir -p {CONFIG}"))?;
    let mut command = network.host.command("python3");
    process::run(command.env("PYTHONPATH", library).args(["-c", &make]))
}
