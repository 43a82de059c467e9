//! The network: a host's namespace, and the servers' one behind it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::bench_engine::tls::certificates;
use crate::load;
use crate::peers;
use crate::process;
use crate::space::{Owner, Space};
use crate::workspace::Workspace;

/// Where the servers are: IANA calls the block globally reachable and nobody runs a service in it
/// (AS112, RFC 7535). So many, because a client that reconnects all the time runs out of ports
/// towards one address.
pub(crate) const SERVERS: [&str; 8] = [
    "192.31.196.2",
    "192.31.196.3",
    "192.31.196.4",
    "192.31.196.5",
    "192.31.196.6",
    "192.31.196.7",
    "192.31.196.8",
    "192.31.196.9",
];

/// The host's own, where ports of a guest are published.
pub(crate) const HOST: &str = "192.31.196.1";

/// And where they are for the host's own processes.
pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// The same, for IPv6.
const SERVERS_V6: [&str; 2] = ["2001:4:112::2", "2001:4:112::3"];

/// The host's default gateway. No server has it: pasta maps it to the host itself.
const GATEWAYS: [&str; 2] = ["192.31.196.254", "2001:4:112::fe"];

/// Where the programs are, inside. The directory is gone with the namespaces, and so is all that a
/// system leaves in it.
pub(crate) const LOAD: &str = "/tmp/load";
/// Our engine, likewise.
pub(crate) const ENGINE: &str = "/tmp/net-engine";
/// The crate that is compared with, once it is put inside.
pub(crate) const REFERENCE: &str = "/tmp/reference";

/// The congestion control on both sides of every system.
pub(crate) const CONGESTION_CONTROL: &str = "cubic";

/// What every namespace with a TCP stack is told once it has its routes, the guests' too. The
/// system's own congestion control may be one that paces, which would compare that instead. It is a
/// property of the routes, because a namespace may not choose its default freely; `linkdown` is shown
/// of a route and not understood.
pub(crate) const TCP_SETTINGS: &str = "\
    ip -4 route show | while read -r route; do\n\
        ip -4 route replace ${route%linkdown} congctl cubic\n\
    done\n\
    ip -4 route show table local dev lo | while read -r route; do\n\
        ip -4 route replace table local $route dev lo congctl cubic\n\
    done\n\
    echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range\n\
    echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse\n";

/// Two namespaces and the veth pair between them.
pub(crate) struct Network {
    /// Where the systems run.
    pub(crate) host: Space,
    /// Where the servers run.
    pub(crate) upstream: Space,
}

impl Network {
    /// Makes the namespaces, joins them, and puts both programs inside.
    ///
    /// # Errors
    /// When this user cannot have namespaces here.
    pub(crate) fn new(load: &Path, engine: &Path) -> Result<Self> {
        let is_root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
        let host = Space::new(if is_root { Owner::Root } else { Owner::User })
            .context("this bench needs namespaces: run it as root, or where users may make them")?;
        host.script("mount -t tmpfs -o mode=1777 bench /tmp")?;
        // Made after the mount, so that both see it.
        let upstream = host.sibling()?;
        for (program, inside) in [(load, LOAD), (engine, ENGINE)] {
            put(&host, program, inside)?;
        }
        let [gateway, gateway_v6] = GATEWAYS;
        let addresses: String = SERVERS
            .iter()
            .chain([&gateway])
            .map(|v4| format!("ip address add {v4}/24 dev up0\n"))
            .chain(
                SERVERS_V6
                    .iter()
                    .chain([&gateway_v6])
                    .map(|v6| format!("ip address add {v6}/64 dev up0 nodad\n")),
            )
            .collect();
        upstream.script(&format!(
            "ip link add up0 type veth peer name out0 netns {host}
             echo 65535 > /proc/sys/net/core/somaxconn
             echo 65535 > /proc/sys/net/ipv4/tcp_max_syn_backlog
             ip link set lo up
             ip link set up0 up
             {addresses}
             {TCP_SETTINGS}",
            host = host.pid(),
        ))?;
        host.script(&format!(
            "ip link set lo up
             ip link set out0 up
             ip address add {HOST}/24 dev out0
             ip address add 2001:4:112::1/64 dev out0 nodad
             ip route add default via {gateway}
             ip -6 route add default via {gateway_v6}
             echo nameserver {gateway} > /tmp/resolv.conf
             mount --bind /tmp/resolv.conf /etc/resolv.conf
             {TCP_SETTINGS}"
        ))?;
        Ok(Self { host, upstream })
    }

    /// Builds the reference and puts it inside.
    pub(crate) fn put_reference(&self, workspace: &Workspace) -> Result<()> {
        put(&self.host, &peers::build(workspace, "reference")?, REFERENCE).context("cannot be put inside")
    }

    /// Starts the servers; they end with the child that is returned.
    pub(crate) fn serve(&self) -> Result<Served> {
        let mut command = self.upstream.command(LOAD);
        command.args(["load", "serve"]).args(SERVERS).args(SERVERS_V6);
        let mut served = Served(vec![listening(&mut command)?]);
        self.serve_names(&mut served)?;
        let mut iperf = self.upstream.command("iperf3");
        iperf.args(["--server", "--bind", SERVERS[0]]);
        let child = iperf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        served.0.push(child.context("cannot start iperf3")?);
        Ok(served)
    }

    /// Likewise, and those that speak TLS.
    pub(crate) fn serve_tls(&self) -> Result<Served> {
        let mut served = self.serve()?;
        let mut command = self.upstream.command(LOAD);
        command.args(["load", "serve-tls", "--cert", certificates::LEAF, "--key", certificates::LEAF_KEY]);
        served.0.push(listening(command.args(SERVERS))?);
        let mut nginx = self.upstream.command("nginx");
        nginx.args(["-p", certificates::DIR, "-c", certificates::NGINX_CONF]);
        let child = nginx.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        served.0.push(child.spawn().context("cannot start nginx")?);
        Ok(served)
    }

    fn serve_names(&self, served: &mut Served) -> Result<()> {
        let mut names = self.upstream.command("dnsmasq");
        names.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        // It may not be able to become anybody else.
        names.args(["--user=root", "--group=root", "--pid-file", "--bind-interfaces"]);
        names.arg(format!("--listen-address={}", SERVERS[0]));
        // A public address, which nobody connects to.
        names.arg(format!("--address=/{}/1.1.1.1", load::NAME)).arg("--local-ttl=3600");
        names.args(SERVERS.map(|server| format!("--address=/{}/{server}", load::TLS_NAME)));
        let child =
            names.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start dnsmasq")?;
        served.0.push(child);
        Ok(())
    }
}

/// Starts servers, and waits until they say that they listen.
fn listening(command: &mut Command) -> Result<Child> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() != "listening" {
        let _ = child.wait();
        bail!("`{}` did not start", process::line(command));
    }
    Ok(child)
}

/// Copies a program to where every user of these namespaces may run it.
pub(crate) fn put(space: &Space, program: &Path, inside: &str) -> Result<()> {
    let file = File::open(program).with_context(|| format!("cannot read {}", program.display()))?;
    let mut command = space.command("sh");
    command.args(["-c", "cat > \"$0\" && chmod 755 \"$0\"", inside]).stdin(file);
    process::run(&mut command)
}

/// The running servers; they end when this is dropped.
pub(crate) struct Served(Vec<Child>);

impl Served {
    /// What needs no servers of its own.
    pub(crate) fn nobody() -> Self {
        Self(Vec::new())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
