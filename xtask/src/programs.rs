//! Programs that tests need and Rust does not bring, and where apt has them.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// The search path of everything the end-to-end tests run: only what the system installed, never
/// a user's own, which another user may not be able to read.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program and the Debian package it comes from.
type Program = (&'static str, &'static str);

/// What the end-to-end tests run, in guests and as servers.
pub(crate) const E2E: &[Program] = &[
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("nginx", "nginx-light"),
    ("dig", "dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("kdig", "knot-dnsutils"),
    ("ping", "iputils-ping"),
    ("traceroute", "traceroute"),
    ("mtr", "mtr-tiny"),
    ("python3", "python3"),
    ("setpriv", "util-linux"),
    ("sha256sum", "coreutils"),
    ("bash", "bash"),
];

/// What installs the Python libraries of the end-to-end tests, and is a client itself.
pub(crate) const PIP: &[Program] = &[("pip3", "python3-pip")];

/// A client with a TLS stack of its own.
pub(crate) const GNUTLS: &[Program] = &[("gnutls-cli", "gnutls-bin")];

/// What sets a guest's clock.
pub(crate) const FAKETIME: &[Program] = &[("faketime", "faketime")];

/// Clients whose rows are skipped where they are missing.
pub(crate) const WGET: &[Program] = &[("wget", "wget")];
/// The client, and what runs its server behind nginx.
pub(crate) const GIT: &[Program] = &[("git", "git"), ("fcgiwrap", "fcgiwrap")];
pub(crate) const NODE: &[Program] = &[("node", "nodejs"), ("npm", "npm")];
/// The compiler too: a single file is compiled as it is launched.
pub(crate) const JAVA: &[Program] = &[("java", "default-jdk-headless"), ("javac", "default-jdk-headless")];
/// The browser, and what tells it whom to trust.
pub(crate) const CHROMIUM: &[Program] = &[("chromium", "chromium"), ("certutil", "libnss3-tools")];

/// What people look at a network with.
pub(crate) const NMAP: &[Program] = &[("nmap", "nmap")];
pub(crate) const SOCAT: &[Program] = &[("socat", "socat")];
pub(crate) const IPERF: &[Program] = &[("iperf3", "iperf3")];

pub(crate) const COTURN: &[Program] = &[("turnserver", "coturn"), ("turnutils_natdiscovery", "coturn")];

/// What sets up an interface that is not set up. Of dhcpcd only what starts by no service of its own.
pub(crate) const AUTOCONFIGURATION: &[Program] =
    &[("dhclient", "isc-dhcp-client"), ("udhcpc", "udhcpc"), ("dhcpcd", "dhcpcd-base"), ("rdisc6", "ndisc6")];

/// What captures the end-to-end tests and judges the captures.
pub(crate) const CAPTURE: &[Program] =
    &[("tshark", "tshark"), ("dumpcap", "wireshark-common"), ("ethtool", "ethtool")];

/// Proxies of SOCKS 5 and of HTTP, and what puts TLS before one.
pub(crate) const PROXIES: &[Program] =
    &[("microsocks", "microsocks"), ("tinyproxy", "tinyproxy-bin"), ("stunnel4", "stunnel4")];

/// A proxy of HTTP that many networks have.
pub(crate) const SQUID: &[Program] = &[("squid", "squid")];

/// A server of SOCKS that is nobody's sample.
pub(crate) const DANTE: &[Program] = &[("danted", "dante-server")];

/// What takes core dumps of a process that runs.
pub(crate) const GDB: &[Program] = &[("gcore", "gdb")];

/// Who judges the certificates that net-tls makes.
pub(crate) const JUDGES: &[Program] = &[("openssl", "openssl"), ("certtool", "gnutls-bin")];

/// What compiling a fuzz crate runs: libFuzzer is C++.
pub(crate) const FUZZ: &[Program] = &[("c++", "g++")];

/// What counts the cost of the data path.
pub(crate) const COST: &[Program] = &[("valgrind", "valgrind"), ("strace", "strace")];

/// Installs what is missing where that is possible: as root on a Debian-like system. Returns the
/// programs that are still missing.
pub(crate) fn ensure(programs: &[Program]) -> Result<Vec<Program>> {
    let absent = missing(programs);
    let root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    if absent.is_empty() || !root || !on_path("apt-get") {
        return Ok(absent);
    }
    let packages: Vec<_> = absent.iter().map(|(_, package)| *package).collect();
    eprintln!("installing {}", packages.join(", "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["--quiet", "--quiet"]).args(args);
        process::run(&mut command)
    };
    let installed = apt(&["update"])
        .and_then(|()| apt(&[&["install", "--yes", "--no-install-recommends"], &*packages].concat()));
    if let Err(error) = installed {
        // What is missing is reported by whoever needs it.
        eprintln!("{error:#}");
    }
    Ok(missing(programs))
}

/// Those of `programs` that the search path does not lead to.
fn missing(programs: &[Program]) -> Vec<Program> {
    programs.iter().copied().filter(|(program, _)| !on_path(program)).collect()
}

fn on_path(program: &str) -> bool {
    env::split_paths(PATH).any(|dir| Path::new(&dir).join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_absent_is_missing() {
        assert_eq!(missing(&[("sh", "dash"), ("no-such-program", "none")]), [("no-such-program", "none")]);
    }
}
