use std::ffi::OsString;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use super::authority_store::{KEPT_DAYS, KEPT_NAME};
use super::sandbox::LinkKind;
use super::secret_action::ActionKey;
use super::shaping::ShapingArgs;

/// What IPv6 asks of a link (RFC 8200, section 5), and what leaves room for an Ethernet header.
pub(super) const MTU_RANGE: std::ops::RangeInclusive<i64> = 1280..=65_520;

const EXAMPLES: &str = "\
Examples:
  net-engine run --allow example.com -- curl -s https://example.com
  net-engine check sandbox.toml
  net-engine explain sandbox.toml tcp api.example.com:443
  net-engine ca new --dir ca

`net-engine run --help` has more.";

/// The network of a sandbox, in user space: names and addresses decided, TLS looked into where you
/// say so, secrets used without being held.
#[derive(Parser)]
#[command(name = "net-engine", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run a command whose only way out is the engine.
    Run(Box<RunArgs>),
    /// Check a configuration file without starting anything.
    Check(CheckArgs),
    /// Say what a configuration file makes of one connection, and why.
    Explain(ExplainArgs),
    /// Make, show and export the authority that signs where TLS is opened
    #[command(after_help = CA_EXAMPLES)]
    Ca {
        #[command(subcommand)]
        command: CaCommand,
    },
}

const CA_EXAMPLES: &str = "\
Examples:
  An authority that is kept, and a command whose TLS it signs:
    net-engine ca new --dir ~/.local/share/net-engine/ca
    net-engine run --ca-dir ~/.local/share/net-engine/ca --allow example.com -- curl https://example.com

  What it is:
    net-engine ca show --dir ~/.local/share/net-engine/ca

  Trust in it, for an image or a machine of your own:
    net-engine ca export --dir ~/.local/share/net-engine/ca --for pem > authority.pem
    net-engine ca export --dir ~/.local/share/net-engine/ca --for java --out trust.p12
    eval \"$(net-engine ca export --dir ~/.local/share/net-engine/ca --for python --out bundle.pem)\"";

#[derive(Subcommand)]
pub(super) enum CaCommand {
    /// Print subject, fingerprint, validity and constraints
    Show(CaSource),
    /// Make an authority and keep it in a directory
    New(CaNewArgs),
    /// Write the certificate, and what makes a runtime trust it; never the key
    #[command(after_help = CA_EXPORT_EXAMPLES)]
    Export(CaExportArgs),
}

#[derive(ClapArgs)]
#[group(required = true, multiple = false)]
pub(super) struct CaSource {
    /// The directory that keeps the authority
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// The certificate of an authority of your own, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub(super) struct CaNewArgs {
    /// The directory, made for you alone; it holds nothing else
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// The common name of its subject, 1 to 64 printable characters
    #[arg(long, value_name = "NAME", default_value = KEPT_NAME)]
    pub(super) name: String,
    /// How many days it is good for
    #[arg(long, value_name = "N", default_value_t = KEPT_DAYS, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(super) days: u16,
}

const CA_EXPORT_EXAMPLES: &str = "\
Examples:
  net-engine ca export --dir ca --for bundle > bundle.pem
    The authority behind what this system trusts.
  net-engine ca export --dir ca --for node --out bundle.pem
    Writes what Node reads and prints export NODE_EXTRA_CA_CERTS='/…/bundle.pem'.

  eval \"$(net-engine ca export --dir ca --for nss --out authority.pem)\"
    Has Chromium trust it, by certutil (Debian package libnss3-tools).

With --out the variables are printed as a shell reads them, with the file's absolute path.";

#[derive(ClapArgs)]
pub(super) struct CaExportArgs {
    #[command(flatten)]
    pub(super) source: CaSource,
    /// What for: pem is the certificate alone, bundle has the system's too
    #[arg(long = "for", value_enum, value_name = "KIND")]
    pub(super) kind: CaExport,
    /// Where to; pem and bundle go to stdout without it
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CaExport {
    /// The certificate alone, PEM
    Pem,
    /// The certificate and what the system trusts, PEM
    Bundle,
    /// Go: SSL_CERT_FILE
    Go,
    /// What links OpenSSL: SSL_CERT_FILE
    Openssl,
    /// Ruby: SSL_CERT_FILE
    Ruby,
    /// curl: CURL_CA_BUNDLE
    Curl,
    /// Python: SSL_CERT_FILE, REQUESTS_CA_BUNDLE, PIP_CERT, and that of gRPC
    Python,
    /// Node: NODE_EXTRA_CA_CERTS
    Node,
    /// Deno: DENO_CERT
    Deno,
    /// git: GIT_SSL_CAINFO
    Git,
    /// gRPC over its C core: GRPC_DEFAULT_SSL_ROOTS_FILE_PATH
    Grpc,
    /// AWS command line and SDKs: AWS_CA_BUNDLE
    Aws,
    /// Rust and Cargo: SSL_CERT_FILE, CARGO_HTTP_CAINFO
    Rust,
    /// Nix: NIX_SSL_CERT_FILE
    Nix,
    /// NSS, for Chromium: NET_ENGINE_CA_CERT, and the certutil command that adds it to ~/.pki/nssdb
    Nss,
    /// Java: a PKCS#12 key store, and JAVA_TOOL_OPTIONS
    Java,
}

const RUN_EXAMPLES: &str = "\
Examples:
  One site and nothing else:
    net-engine run --allow example.com -- curl -s https://example.com

  The public internet, but not one domain, and no host or private network:
    net-engine run --allow public --deny .ads.example -- ./build.sh

  A token the command uses and never holds ($TOKEN inside is a placeholder):
    net-engine run --allow api.example.com --secret TOKEN=env:TOKEN@api.example.com -- ./agent

  A service on this host, and a registry whose TLS is not to be opened:
    net-engine run --allow host:5432 --allow registry.example --bypass registry.example -- make test

  The same from a file, whose rules may change meanwhile:
    net-engine run --config sandbox.toml --watch -- ./agent

PATTERN is a name (example.com), the names below one (*.example.com), both (.example.com), an
address, a prefix (10.0.0.0/8) or a group: public, private, host, loopback, link_local, metadata,
multicast, any. Denials come first; what nothing allows is denied.

SOURCE is env:NAME, file:PATH or cmd:COMMAND; only its name is on the command line. With
dangerous-value:VALUE the value itself is, and `ps` shows it. Otherwise values are in no argument, no log
and no environment of the command.

The command keeps your user and your files: this is a network sandbox, not one of the file system.
Files that secrets come from look empty to it. Agents, buses, displays and proxies of yours are not
passed on (SSH_AUTH_SOCK, DBUS_SESSION_BUS_ADDRESS, DISPLAY, http_proxy and others; give it what it
needs with `-- env NAME=VALUE COMMAND`). Not isolated are: Unix sockets by their path, hard links
and copies of covered files, control groups, the use of processor and memory.

It is given the engine's certificate authority by SSL_CERT_FILE, CURL_CA_BUNDLE and the like, and in
place of the system's bundle.

Exit status: that of the command, or
    128 and the number of the signal that ended it
    127 where there is no such command
    126 where it cannot be run
     86 where it was ended because it sent a secret's placeholder where it may not go
      2 where nothing was started";

#[derive(ClapArgs)]
#[command(after_help = RUN_EXAMPLES)]
pub(super) struct RunArgs {
    /// Read the same settings from a TOML file; flags add to its lists and replace single values
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Take over the rules and the bounds of [shaping] of --config while the command runs, whenever the file
    /// changes: connections that the rules do not allow end at once
    #[arg(long, requires = "config")]
    pub(super) watch: bool,
    #[command(flatten)]
    pub(super) policy: PolicyArgs,
    /// Let others connect to a port of the command: at a port of this machine, of its choice where it is 0,
    /// on an address [default: 127.0.0.1]; or at unix:PATH. With /udp behind it the port is one of UDP; with
    /// /proxy-v1 or /proxy-v2 behind a port of TCP the command is told who connects by the PROXY protocol. Ranges
    /// are written 8000-8010:8000-8010
    #[arg(long, value_name = "[ADDR:]PORT:COMMAND_PORT[/udp|/proxy-v1|/proxy-v2]")]
    pub(super) publish: Vec<String>,
    /// How frames leave the command's namespace: a TAP device, or a veth pair with a packet socket
    #[arg(long, value_enum)]
    pub(super) link: Option<LinkArg>,
    /// Who sets up the command's interface [default: static]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(super) configure: Option<ConfigureArg>,
    /// Let no frame be longer than the MTU, nor without its checksums: slower, but what a capture shows is
    /// what a wire would carry
    #[arg(long)]
    pub(super) no_offload: bool,
    /// The MTU of the command's interface, 1280 to 65520 [default: 1500]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(MTU_RANGE))]
    pub(super) mtu: Option<u16>,
    /// Also say which connections are opened, and how the sandbox was set up
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

#[derive(Clone, ClapArgs, Default)]
pub(super) struct PolicyArgs {
    /// Allow a destination
    #[arg(long, value_name = "PATTERN[:PORTS]")]
    pub(super) allow: Vec<String>,
    /// Deny a destination, whatever is allowed
    #[arg(long, value_name = "PATTERN[:PORTS]")]
    pub(super) deny: Vec<String>,
    /// Look into TLS on these ports, in place of the file's; QUIC to them falls back to TCP [default: 443]
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', conflicts_with = "no_intercept",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) intercept: Vec<u16>,
    /// Open no TLS: names are still decided, content is not seen
    #[arg(long)]
    pub(super) no_intercept: bool,
    /// Pass TLS and QUIC of these names on as they are
    #[arg(long, value_name = "PATTERN")]
    pub(super) bypass: Vec<String>,
    /// Let what is allowed by a name be for others inside: requests for other hosts, and anything but HTTP,
    /// unless a secret is for it or its rule is for some requests
    #[arg(long)]
    pub(super) no_strict_hosts: bool,
    /// Tell the command by which rule and why it is denied, where HTTP can: with 403, also inside TLS that
    /// would have been opened and the authority may sign for (--name-constraints off)
    #[arg(long)]
    pub(super) readable_denials: bool,
    /// Refuse TLS and QUIC that hide a name (ECH), or look as if they did, where they would be passed on
    #[arg(long)]
    pub(super) refuse_ech: bool,
    /// Give the command a placeholder that becomes the secret on its way to HOST, a name pattern
    #[arg(long, value_name = "ENV=SOURCE@HOST[,HOST…]")]
    pub(super) secret: Vec<String>,
    /// What becomes of a placeholder on its way where it may not go, unless its secret says otherwise
    /// [default: block_and_log]
    #[arg(long, value_enum, value_name = "ACTION")]
    pub(super) on_violation: Option<ActionKey>,
    /// End the command at the Nth violation, whatever each leads to
    #[arg(long, value_name = "N")]
    pub(super) terminate_after: Option<NonZeroU32>,
    /// Ask this resolver instead of the host's: an address or a name, with :PORT behind it, tcp:// or tls://
    /// in front where it is so asked, and #NAME where the certificate of a tls:// address is for a name
    #[arg(long, value_name = "ADDR")]
    pub(super) nameserver: Vec<String>,
    /// Connect by this proxy to whatever is not on this machine: socks5://, socks5h://, http:// or https:// with
    /// HOST:PORT behind it. Credentials, and what does not go by it, are said in a file
    #[arg(long, value_name = "URL")]
    pub(super) proxy: Vec<String>,
    /// Lead a port of this machine, as the command sees it (host.internal, and its gateway), to another port of
    /// this machine's loopback: 5432:15432, or 5432:127.0.0.2:15432, over UDP with /udp behind it. Rules are for
    /// the port the command asks for: --allow host:5432
    #[arg(long, value_name = "PORT:[ADDR:]HOST_PORT[/udp]")]
    pub(super) host_port: Vec<String>,
    /// The same to any address, which the rules take for this machine all the same
    #[arg(long, value_name = "PORT:ADDR:PORT[/udp]")]
    pub(super) dangerous_host_port: Vec<String>,
    /// Trust these certificate authorities too, upstream
    #[arg(long, value_name = "FILE")]
    pub(super) upstream_ca: Vec<PathBuf>,
    /// Set a bound of the command's network, such as max_tcp_flows=1000, max_held_bytes="4 MiB" or
    /// connect_timeout=10s; a name there is not has all of them listed
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) limit: Vec<String>,
    #[command(flatten)]
    pub(super) shaping: ShapingArgs,
    #[command(flatten)]
    pub(super) authority: AuthorityArgs,
}

/// Who signs what the command is shown where TLS is opened; by default an authority that is made for
/// this run and forgotten with it.
#[derive(Clone, ClapArgs, Default)]
pub(super) struct AuthorityArgs {
    /// Sign with the authority kept in this directory; it is made where there is none
    #[arg(long, value_name = "DIR", conflicts_with_all = ["ca_cert", "ca_key"])]
    pub(super) ca_dir: Option<PathBuf>,
    /// Sign with an authority of your own: its certificate, PEM
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    pub(super) ca_cert: Option<PathBuf>,
    /// Its key, PEM, which only you can read
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    pub(super) ca_key: Option<PathBuf>,
    /// Whether the authority made for this run is good for the allowed names alone, where only names are
    /// allowed [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(super) name_constraints: Option<ConstraintsArg>,
    /// Append the keys of every TLS session that is opened to FILE, for Wireshark and the like: whoever
    /// has it reads the traffic, with the secrets in it
    #[arg(long, value_name = "FILE")]
    pub(super) dangerous_tls_keylog: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConstraintsArg {
    /// Where every TLS port is allowed to names only, and they are not too many
    #[default]
    Auto,
    /// Never
    Off,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  net-engine check sandbox.toml
    Checks every setting, but opens no secret, certificate or key, and prints the rules in the order
    they are tried, with warnings of what they may not be meant to do; or the first error.";

#[derive(ClapArgs)]
#[command(after_help = CHECK_EXAMPLES)]
pub(super) struct CheckArgs {
    /// The file to check
    #[arg(value_name = "FILE", required_unless_present = "config", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, as `run` has it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl CheckArgs {
    /// One of them is there.
    pub(super) fn file(&self) -> &Path {
        self.file.as_deref().or(self.config.as_deref()).unwrap_or_else(|| Path::new(""))
    }
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  net-engine explain sandbox.toml tcp api.example.com:443
    Whether the name may be resolved, and what becomes of a connection to where it leads.
  net-engine explain sandbox.toml tcp db.example.com:5432 --address 10.0.0.5
    The same where the name leads to this address.
  net-engine explain sandbox.toml tcp api.example.com:443 --method GET --path /v1/models
    What becomes of one request, where rules are for some requests only.
  net-engine explain sandbox.toml udp 192.0.2.1:53
    A flow to an address that no name leads to.

Prints every rule that is looked at and why it matches or not. The exit status is 0 where the
connection is allowed, 1 where it is denied, 2 where there is an error. Nothing is resolved or sent.";

#[derive(ClapArgs)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub(super) struct ExplainArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// The protocol of the connection
    #[arg(value_enum, value_name = "PROTOCOL")]
    pub(super) protocol: ProtocolArg,
    /// Where it goes: NAME:PORT, ADDRESS:PORT or [ADDRESS]:PORT
    #[arg(value_name = "TARGET")]
    pub(super) target: String,
    /// What the name resolves to
    #[arg(long, value_name = "ADDRESS")]
    pub(super) address: Option<IpAddr>,
    /// The method of a request on the connection [default with --path: GET]
    #[arg(long, value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// The path of a request on the connection [default with --method: /]
    #[arg(long, value_name = "PATH")]
    pub(super) path: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ProtocolArg {
    /// RFC 9293
    Tcp,
    /// RFC 768
    Udp,
}

impl From<ProtocolArg> for net_core::Protocol {
    fn from(protocol: ProtocolArg) -> Self {
        match protocol {
            ProtocolArg::Tcp => Self::Tcp,
            ProtocolArg::Udp => Self::Udp,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConfigureArg {
    /// The engine, before the command starts: addresses, routes and the MTU
    #[default]
    Static,
    /// Nobody: it is up and nothing more, and who asks by DHCP or for a router is answered. The command has
    /// no right to set it up; its kernel finds IPv6 by itself, the rest is for whoever enters its namespace
    None,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum LinkArg {
    /// A TAP device where it can be opened, else a packet socket
    Auto,
    /// A TAP device
    Tap,
    /// A veth pair with a packet socket
    Packet,
}

impl LinkArg {
    pub(super) fn kind(self) -> Option<LinkKind> {
        match self {
            Self::Auto => None,
            Self::Tap => Some(LinkKind::Tap),
            Self::Packet => Some(LinkKind::Packet),
        }
    }
}
