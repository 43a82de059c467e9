//! Who is measured.

use clap::ValueEnum;

use crate::bench_engine::launch::{Joined, Launch};
use crate::bench_engine::network::{ENGINE, HOST, LOOPBACK, REFERENCE, SERVERS};
use crate::load::Habit;

/// A way for a guest to reach the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    #[value(name = "ours-1500")]
    Ours1500,
    #[value(name = "ours-65520")]
    Ours65520,
    #[value(name = "pasta-1500")]
    Pasta1500,
    #[value(name = "pasta-65520")]
    Pasta65520,
    #[value(name = "slirp4netns-1500")]
    Slirp1500,
    #[value(name = "slirp4netns-65520")]
    Slirp65520,
    /// The crate that is compared with
    #[value(name = "reference-1500")]
    Reference1500,
    /// No engine: the agent runs on the host's side of the veth pair.
    #[value(name = "direct")]
    Direct,
}

/// The program, whatever the MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Maker {
    Ours,
    Pasta,
    Slirp,
    Reference,
    Direct,
}

impl System {
    /// Every system, in the order they take turns.
    pub(crate) const ALL: [Self; 8] = [
        Self::Ours1500,
        Self::Pasta1500,
        Self::Slirp1500,
        Self::Reference1500,
        Self::Ours65520,
        Self::Pasta65520,
        Self::Slirp65520,
        Self::Direct,
    ];

    /// Ours, and their MTU.
    pub(crate) const OURS: [(Self, u16); 2] = [(Self::Ours1500, 1500), (Self::Ours65520, 65520)];

    /// Those that ours with this MTU is compared to.
    pub(crate) fn peers(mtu: u16) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |system| {
            system.maker() != Maker::Ours && system.mtu().is_none_or(|other| other == mtu)
        })
    }

    pub(crate) fn maker(self) -> Maker {
        match self {
            Self::Ours1500 | Self::Ours65520 => Maker::Ours,
            Self::Pasta1500 | Self::Pasta65520 => Maker::Pasta,
            Self::Slirp1500 | Self::Slirp65520 => Maker::Slirp,
            Self::Reference1500 => Maker::Reference,
            Self::Direct => Maker::Direct,
        }
    }

    /// The MTU of the guest's interface, where there is such an interface.
    pub(crate) fn mtu(self) -> Option<u16> {
        match self {
            Self::Ours1500 | Self::Pasta1500 | Self::Slirp1500 | Self::Reference1500 => Some(1500),
            Self::Ours65520 | Self::Pasta65520 | Self::Slirp65520 => Some(65520),
            Self::Direct => None,
        }
    }

    /// What starts it.
    pub(crate) fn launch(self) -> Launch {
        let mtu = self.mtu().unwrap_or_default();
        let text = mtu.to_string();
        match self.maker() {
            Maker::Ours => {
                let policy = ["--allow", "any", "--no-intercept", "--nameserver", SERVERS[0]];
                // For the most idle flows there are beside others.
                let limits = ["--limit", "max_tcp_flows=60000", "--limit", "max_flows_per_destination=60000"];
                let publish = ["--publish", &published(HOST), "--publish", &published(LOOPBACK)];
                let given = [&policy[..], &limits, &unbounded_rate(), &publish, &["--mtu", &text, "--"]];
                Launch::new([&[ENGINE, "run"][..], &given.concat()].concat(), Joined::ByItsRunner)
            }
            Maker::Pasta => {
                // As root it would become nobody, who has no namespaces to give.
                let words = ["pasta", "--foreground", "--config-net", "--runas", "0", "--mtu", &text];
                // Else it takes its own listeners for servers of the host, and their ports in the guest.
                let publish = ["--tcp-ports", &ports("-"), "--tcp-ns", "none", "--udp-ns", "none", "--"];
                Launch::new([&words[..], &publish].concat(), Joined::ByItsRunner)
            }
            Maker::Slirp => {
                let words = ["unshare", "--user", "--map-root-user", "--net", "--"];
                Launch::new(words, Joined::BySlirp { mtu })
            }
            Maker::Reference => Launch::new([REFERENCE], Joined::ByItsRunner),
            Maker::Direct => Launch::new(["env"], Joined::Not),
        }
    }

    /// What starts ours with the bounds it has by itself.
    pub(crate) fn launch_with_defaults(self) -> Launch {
        let mtu = self.mtu().unwrap_or_default().to_string();
        let words = [ENGINE, "run", "--allow", "any", "--no-intercept", "--nameserver", SERVERS[0]];
        Launch::new([&words[..], &["--mtu", &mtu, "--"]].concat(), Joined::ByItsRunner)
    }

    /// What `--systems` calls it.
    pub(crate) fn name(self) -> String {
        self.mtu()
            .map_or_else(|| self.maker().name().to_owned(), |mtu| format!("{}-{mtu}", self.maker().name()))
    }
}

/// The ports of every habit, as a range.
fn ports(between: &str) -> String {
    let ports = Habit::ALL.map(Habit::port);
    let [first, last] =
        [ports.iter().min(), ports.iter().max()].map(|port| port.copied().unwrap_or_default());
    format!("{first}{between}{last}")
}

/// So that our bound on how many connections may begin is not what is measured.
pub(super) fn unbounded_rate() -> [&'static str; 4] {
    ["--limit", "new_flows_per_second=1000000", "--limit", "new_flow_burst=1000000"]
}

/// The same ports of the guest, at an address of the host.
fn published(address: &str) -> String {
    format!("{address}:{ports}:{ports}", ports = ports("-"))
}

impl Maker {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Pasta => "pasta",
            Self::Slirp => "slirp4netns",
            Self::Reference => "reference",
            Self::Direct => "direct",
        }
    }

    /// The program that must be installed.
    pub(crate) fn program(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Ours | Self::Reference | Self::Direct => None,
            Self::Pasta => Some(("pasta", "passt")),
            Self::Slirp => Some(("slirp4netns", "slirp4netns")),
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
