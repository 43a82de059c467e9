//! What some rows need beyond what every row has, and what to do where it is missing.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::e2e::library;
use crate::e2e::row::Row;
use crate::e2e::scratch::Scratch;
use crate::programs;
use crate::workspace::Workspace;

/// Something that a row needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// [`library::AIOQUIC`].
    Quic,
    /// [`library::CLIENTS`].
    Clients,
    /// [`library::HTTPBIN`].
    Httpbin,
    /// gnutls-cli.
    Gnutls,
    Faketime,
    Wget,
    Git,
    Node,
    Java,
    Chromium,
    Nmap,
    Socat,
    /// Both ends.
    Iperf,
    /// A STUN server with two addresses, and its client.
    Coturn,
    /// Clients of DHCP, and what asks for routers and neighbours.
    Autoconfiguration,
    /// What stands between the engine and upstream.
    Proxies,
    Squid,
    Dante,
    /// What takes core dumps.
    Gdb,
}

impl Need {
    /// Why it is not here, after an attempt to install it.
    fn provide(self, workspace: &Workspace, scratch: &Scratch) -> Result<Option<String>> {
        let wanted = match self {
            Self::Quic => return library::AIOQUIC.provide(workspace, scratch),
            Self::Clients => return library::CLIENTS.provide(workspace, scratch),
            Self::Httpbin => return library::HTTPBIN.provide(workspace, scratch),
            Self::Gnutls => programs::GNUTLS,
            Self::Faketime => programs::FAKETIME,
            Self::Wget => programs::WGET,
            Self::Git => programs::GIT,
            Self::Node => programs::NODE,
            Self::Java => programs::JAVA,
            Self::Chromium => programs::CHROMIUM,
            Self::Nmap => programs::NMAP,
            Self::Socat => programs::SOCAT,
            Self::Iperf => programs::IPERF,
            Self::Coturn => programs::COTURN,
            Self::Autoconfiguration => programs::AUTOCONFIGURATION,
            Self::Proxies => programs::PROXIES,
            Self::Squid => programs::SQUID,
            Self::Dante => programs::DANTE,
            Self::Gdb => programs::GDB,
        };
        let absent = programs::ensure(wanted)?;
        Ok(absent.first().map(|(program, package)| format!("missing {program} ({package})")))
    }
}

/// What was needed, and why what is missing is missing.
#[derive(Default)]
pub(crate) struct Needs {
    missing: BTreeMap<Need, Option<String>>,
}

impl Needs {
    /// Provides what `rows` need, and nothing else.
    ///
    /// # Errors
    /// Where `require_all` holds, the first thing that is missing.
    pub(crate) fn provide(
        rows: &[&Row],
        workspace: &Workspace,
        scratch: &Scratch,
        require_all: bool,
    ) -> Result<Self> {
        let mut missing = BTreeMap::new();
        for need in rows.iter().flat_map(|row| row.setting.needs) {
            if missing.contains_key(need) {
                continue;
            }
            let why = need.provide(workspace, scratch)?;
            if let Some(why) = &why
                && require_all
            {
                bail!("end-to-end tests that need {need:?} cannot run: {why}");
            }
            missing.insert(*need, why);
        }
        Ok(Self { missing })
    }

    /// Whether some row needs it, and it is here.
    pub(crate) fn has(&self, need: Need) -> bool {
        self.missing.get(&need).is_some_and(Option::is_none)
    }

    /// Whether everything that `row` needs is here.
    pub(crate) fn suffice(&self, row: &Row) -> bool {
        row.setting.needs.iter().all(|need| self.has(*need))
    }

    /// A remark for each thing that is missing, with the names of the rows that do not run for want of it.
    pub(crate) fn remarks(&self, rows: &[&Row]) -> Vec<String> {
        let missing = self.missing.iter().filter_map(|(need, why)| Some((need, why.as_ref()?)));
        let remark = |(need, why): (&Need, &String)| {
            let without = rows.iter().filter(|row| row.setting.needs.contains(need));
            let names: Vec<_> = without.map(|row| row.name).collect();
            format!("end-to-end tests skipped, {why}: {}", names.join(", "))
        };
        missing.map(remark).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e2e::row::row;

    #[test]
    fn rows_without_what_they_need_are_named_with_the_reason() {
        let missing = [(Need::Java, Some("missing javac (a-package)".to_owned())), (Need::Git, None)];
        let needs = Needs { missing: missing.into() };
        let rows = [
            row("one", &[], "", &[]),
            row("two", &[], "", &[]).needing(&[Need::Git]),
            row("three", &[], "", &[]).needing(&[Need::Git, Need::Java]),
            row("four", &[], "", &[]).needing(&[Need::Quic]),
        ];
        assert_eq!(rows.each_ref().map(|row| needs.suffice(row)), [true, true, false, false]);
        assert_eq!(
            needs.remarks(&rows.each_ref()),
            ["end-to-end tests skipped, missing javac (a-package): three"]
        );
    }
}
