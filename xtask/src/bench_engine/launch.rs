//! How a system is started.

use std::path::PathBuf;

/// A command that runs the agent, and who gives that one its network.
pub(crate) struct Launch {
    /// The agent's own words follow.
    pub(crate) words: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) joined: Joined,
}

/// Who gives the agent its network.
pub(crate) enum Joined {
    /// What runs it.
    ByItsRunner,
    /// slirp4netns, from outside.
    BySlirp { mtu: u16 },
    /// A veth pair, and mitmproxy at its other end.
    ByMitmproxy {
        /// Where Python finds it.
        library: PathBuf,
    },
    /// Nobody: it runs on the host's side.
    Not,
}

impl Launch {
    /// A command of these words.
    pub(crate) fn new<'w>(words: impl IntoIterator<Item = &'w str>, joined: Joined) -> Self {
        let words = words.into_iter().map(str::to_owned).collect();
        Self { words, environment: Vec::new(), joined }
    }
}
