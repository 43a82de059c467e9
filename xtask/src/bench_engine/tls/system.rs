//! Who is measured.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::bench_engine::axis::Axis;
use crate::bench_engine::launch::{Joined, Launch};
use crate::bench_engine::mitmproxy;
use crate::bench_engine::network::{ENGINE, REFERENCE, SERVERS};
use crate::bench_engine::system::unbounded_rate;
use crate::bench_engine::tls::certificates;
use crate::load::{ECHO_PORT, HTTP2_PORT, TLS_NAME, TLS_PORT};

/// Whom the reference's guest must trust.
const REFERENCE_TRUST: &str = "/tmp/reference.pem";

/// Where a program finds whom to trust.
const TRUST: &str = "SSL_CERT_FILE";

/// A way for a guest's TLS to reach a server. MTU 1500 where there is a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// TLS is opened and what is in it carried as bytes: its address is allowed
    Ours,
    /// TLS is opened and the HTTP in it parsed: only its name is allowed
    OursHttp,
    /// Likewise, and ten secrets may stand in what is sent
    OursSecrets,
    /// The name is read, TLS is not opened
    Splice,
    /// The crate that is compared with
    Reference,
    /// Likewise, and one secret may stand in heads, as by default
    ReferenceSecret,
    /// Likewise, and in bodies; it refuses those whose stated length is more than 16 MiB, and is sent chunks alone
    ReferenceBodySecret,
    /// In transparent mode, without a device
    Mitmproxy,
    /// No engine: the agent runs on the host's side of the veth pair
    Direct,
}

impl System {
    /// Every system, in the order they take turns.
    pub(crate) const ALL: [Self; 9] = [
        Self::Ours,
        Self::OursHttp,
        Self::OursSecrets,
        Self::Splice,
        Self::Reference,
        Self::ReferenceSecret,
        Self::ReferenceBodySecret,
        Self::Mitmproxy,
        Self::Direct,
    ];

    /// Those that are ours and open TLS.
    pub(super) const OURS: [Self; 3] = [Self::Ours, Self::OursHttp, Self::OursSecrets];

    /// Those beside whom it is put, one of [`OURS`](Self::OURS).
    pub(super) fn peers(self) -> &'static [Self] {
        if self == Self::OursSecrets {
            // Itself without secrets first.
            return &[Self::OursHttp, Self::ReferenceSecret, Self::ReferenceBodySecret, Self::Direct];
        }
        &[Self::Splice, Self::Reference, Self::Mitmproxy, Self::Direct]
    }

    /// Whether it is measured on this axis of TLS.
    pub(super) fn takes_part(self, axis: Axis) -> bool {
        match self {
            Self::OursSecrets | Self::ReferenceSecret | Self::ReferenceBodySecret => axis == Axis::TlsSecrets,
            Self::OursHttp | Self::Direct => true,
            Self::Ours | Self::Splice | Self::Reference | Self::Mitmproxy => axis != Axis::TlsSecrets,
        }
    }

    /// What `--tls-systems` and ids call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursHttp => "ours-http",
            Self::OursSecrets => "ours-secrets",
            Self::Splice => "splice",
            Self::Reference => "reference",
            Self::ReferenceSecret => "reference-secret",
            Self::ReferenceBodySecret => "reference-body-secret",
            Self::Mitmproxy => "mitmproxy",
            Self::Direct => "direct",
        }
    }

    /// Whether the guest meets another certificate than the server's own.
    pub(super) fn opens(self) -> bool {
        !matches!(self, Self::Splice | Self::Direct)
    }

    /// Whether we want to be ahead of it; the others are limits.
    pub(super) fn competes(self) -> bool {
        matches!(self, Self::Reference | Self::ReferenceSecret | Self::ReferenceBodySecret | Self::Mitmproxy)
    }

    /// Whether a body may say at its beginning that it is longer than 16 MiB.
    pub(super) fn takes_large_bodies(self) -> bool {
        self != Self::ReferenceBodySecret
    }

    /// What starts it.
    pub(super) fn launch(self, mitmproxy: Option<&PathBuf>) -> Launch {
        let ports = format!("{TLS_PORT},{HTTP2_PORT}");
        let ours = |policy: &[&str]| {
            let given = ["--nameserver", SERVERS[0], "--upstream-ca", certificates::AUTHORITY];
            let rate = unbounded_rate();
            let words =
                [&[ENGINE, "run", "--intercept", &ports][..], &given, &rate, policy, &["--"]].concat();
            Launch::new(words, Joined::ByItsRunner)
        };
        let reference = [REFERENCE, "--tls", REFERENCE_TRUST, certificates::AUTHORITY, &ports];
        let trusting =
            |file: &str, launch: Launch| Launch { environment: vec![(TRUST, file.to_owned())], ..launch };
        match self {
            Self::Ours => ours(&["--allow", "any"]),
            // What tells that the network is up is asked of an address.
            Self::OursHttp => ours(&["--allow", TLS_NAME, "--allow", &format!("any:{ECHO_PORT}")]),
            Self::OursSecrets => {
                let rules = ["--allow", TLS_NAME, "--allow", &format!("any:{ECHO_PORT}")];
                ours(&[&rules[..], &["--config", certificates::SECRETS_CONF]].concat())
            }
            Self::Splice => ours(&["--allow", "any", "--bypass", TLS_NAME]),
            Self::Reference => Launch::new(reference, Joined::ByItsRunner),
            Self::ReferenceSecret => {
                Launch::new([&reference[..], &["--secret", TLS_NAME]].concat(), Joined::ByItsRunner)
            }
            Self::ReferenceBodySecret => {
                Launch::new([&reference[..], &["--body-secret", TLS_NAME]].concat(), Joined::ByItsRunner)
            }
            Self::Mitmproxy => {
                let joined = Joined::ByMitmproxy { library: mitmproxy.cloned().unwrap_or_default() };
                trusting(mitmproxy::TRUST, Launch::new(["unshare", "--net", "--"], joined))
            }
            Self::Direct => trusting(certificates::AUTHORITY, Launch::new(["env"], Joined::Not)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_called_what_the_command_line_calls_it() {
        for system in System::ALL {
            let value = system.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), system.name());
        }
    }
}
