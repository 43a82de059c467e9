//! Ports of this machine as the command sees it, and where they lead: read and checked.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, anyhow, bail};

use super::config::Written;
use super::ports::{bare_address, range};
use crate::{HostPorts, HostTarget};

const SHAPE: &str = "write PORT:[ADDR:]HOST_PORT[/udp], as in `5432:15432`, with IPv6 in brackets";

/// How many ports one setting has at most: those of a range are held one by one.
const MAX_RANGE: usize = 1_024;

/// Ports by one setting.
struct Led {
    is_udp: bool,
    from: RangeInclusive<u16>,
    address: Option<IpAddr>,
    to: RangeInclusive<u16>,
}

/// The ports that settings lead elsewhere on this machine, and those that others lead anywhere.
///
/// # Errors
/// One line that names the setting and what is wrong with it.
pub(super) fn host_ports(own: &[Written], dangerous: &[Written]) -> Result<HostPorts> {
    let all =
        own.iter().map(|setting| (setting, false)).chain(dangerous.iter().map(|setting| (setting, true)));
    let mut ports = HostPorts::default();
    for (setting, is_dangerous) in all {
        ports = enter(ports, &setting.text, is_dangerous).with_context(|| setting.named())?;
    }
    Ok(ports)
}

fn enter(mut ports: HostPorts, text: &str, is_dangerous: bool) -> Result<HostPorts> {
    let Led { is_udp, from, address, to } = parse(text)?;
    for (port, to) in from.zip(to) {
        let target = match address.map(|address| SocketAddr::new(address, to)) {
            None if is_dangerous => bail!("say which address it leads to: {SHAPE}"),
            None => HostTarget::Loopback(to),
            Some(address) if is_dangerous => HostTarget::DangerousElsewhere(address),
            Some(address) => HostTarget::Address(address),
        };
        ports = if is_udp { ports.udp(port, target) } else { ports.tcp(port, target) }?;
    }
    Ok(ports)
}

fn parse(text: &str) -> Result<Led> {
    let shape = || anyhow!("{SHAPE}");
    let (text, is_udp) = match text.rsplit_once('/') {
        None => (text, false),
        Some((text, "tcp")) => (text, false),
        Some((text, "udp")) => (text, true),
        Some(_) => return Err(shape()),
    };
    let (from, to) = text.split_once(':').ok_or_else(shape)?;
    let (address, to) = match to.rsplit_once(':') {
        None => (None, to),
        Some((address, to)) => (Some(bare_address(address).ok_or_else(shape)?), to),
    };
    let from = range(from).ok_or_else(shape)?;
    let to = range(to).ok_or_else(shape)?;
    if from.clone().count() != to.clone().count() {
        bail!("as many ports have to stand on the one side as on the other");
    }
    if from.clone().count() > MAX_RANGE {
        bail!("a range has {MAX_RANGE} ports at most");
    }
    Ok(Led { is_udp, from, address, to })
}

/// What is said of each port that leads elsewhere.
pub(super) fn lines(ports: &HostPorts) -> impl Iterator<Item = String> {
    ports.iter().map(|(protocol, port, to)| format!("{protocol} port {port} of this machine leads to {to}"))
}

/// What its owner may not have meant. `may_reach_host`: whether some rule could allow it.
pub(super) fn warnings(ports: &HostPorts, may_reach_host: bool) -> Vec<String> {
    let mut all: Vec<_> = ports
        .iter()
        .filter_map(|(protocol, port, to)| match to {
            HostTarget::DangerousElsewhere(to) if !to.ip().is_loopback() => Some(format!(
                "{protocol} port {port} of this machine leads to {to}, which the rules take for this machine \
                 (dangerous_host_ports)"
            )),
            HostTarget::Loopback(_) | HostTarget::Address(_) | HostTarget::DangerousElsewhere(_) => None,
        })
        .collect();
    all.extend(ports.to_resolvers().map(|(protocol, port, to)| {
        format!(
            "{protocol} port {port} of this machine leads to {to}, where names are asked for: no rule decides which"
        )
    }));
    if ports.iter().next().is_some() && !may_reach_host {
        all.push("host_ports may lead nowhere: no rule is for this machine (host)".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(own: &[&str], dangerous: &[&str]) -> Result<HostPorts> {
        let written = |texts: &[&str]| -> Vec<Written> {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            Written::on_command_line("--host-port", &texts)
        };
        host_ports(&written(own), &written(dangerous))
    }

    #[test]
    fn what_leads_where() {
        let ports = read(
            &["5432:15432", "80-81:8080-8081", "9:127.0.0.9:10", "9:[::1]:11/udp"],
            &["70:192.0.2.7:71", "72:127.0.0.1:73"],
        )
        .expect("ports");
        assert_eq!(
            lines(&ports).collect::<Vec<_>>(),
            [
                "tcp port 9 of this machine leads to 127.0.0.9:10",
                "tcp port 70 of this machine leads to 192.0.2.7:71",
                "tcp port 72 of this machine leads to 127.0.0.1:73",
                "tcp port 80 of this machine leads to port 8080 of this machine's loopback",
                "tcp port 81 of this machine leads to port 8081 of this machine's loopback",
                "tcp port 5432 of this machine leads to port 15432 of this machine's loopback",
                "udp port 9 of this machine leads to [::1]:11",
            ]
        );
        let elsewhere = "tcp port 70 of this machine leads to 192.0.2.7:71, which the rules take for this machine \
                         (dangerous_host_ports)";
        assert_eq!(warnings(&ports, true), [elsewhere]);
        let nowhere = "host_ports may lead nowhere: no rule is for this machine (host)";
        assert_eq!(warnings(&ports, false), [elsewhere, nowhere]);
        assert!(warnings(&HostPorts::default(), false).is_empty());
    }

    #[test]
    fn what_leads_to_a_resolver_is_warned_of() {
        let own = ["1053:127.0.0.53:53/udp", "1054:53", "1055:853", "1056:54"];
        let ports = read(&own, &["1057:127.0.0.1:853"]).expect("ports");
        let said = |port: &str, to: &str| {
            format!("{port} of this machine leads to {to}, where names are asked for: no rule decides which")
        };
        let expected = [
            said("tcp port 1054", "port 53 of this machine's loopback"),
            said("tcp port 1055", "port 853 of this machine's loopback"),
            said("tcp port 1057", "127.0.0.1:853"),
            said("udp port 1053", "127.0.0.53:53"),
        ];
        assert_eq!(warnings(&ports, true), expected);
    }

    #[test]
    fn what_is_wrong_names_the_setting() {
        const CASES: &[(&[&str], &[&str], &str)] = &[
            (&["80"], &[], "\"80\": write PORT:["),
            (&[""], &[], "\"\": write PORT:["),
            (&["80:"], &[], "\"80:\": write PORT:["),
            (&["80:::1:81"], &[], "\"80:::1:81\": write PORT:["),
            (&["80:localhost:81"], &[], "\"80:localhost:81\": write PORT:["),
            (&["80:81/sctp"], &[], "\"80:81/sctp\": write PORT:["),
            (&["65536:81"], &[], "\"65536:81\": write PORT:["),
            (&["80-81:82"], &[], "\"80-81:82\": as many ports"),
            (&["1000-3000:1000-3000"], &[], "\"1000-3000:1000-3000\": a range has 1024 ports"),
            (&["0:81"], &[], "\"0:81\": 0 is no port"),
            (&["80:0"], &[], "\"80:0\": 0 is no port"),
            (&["53:5353"], &[], "\"53:5353\": port 53 is for names"),
            (&["5350-5355:1-6/udp"], &[], "\"5350-5355:1-6/udp\": udp port 5353 is for names"),
            (&["80:81", "80:82"], &[], "\"80:82\": port 80 leads somewhere already"),
            (&["80-81:80-81"], &["81:192.0.2.7:9"], "\"81:192.0.2.7:9\": port 81 leads somewhere already"),
            (
                &["80:192.0.2.7:81"],
                &[],
                "\"80:192.0.2.7:81\": 192.0.2.7 is no address of this machine's loopback",
            ),
            (&[], &["80:81"], "\"80:81\": say which address it leads to"),
        ];
        for (own, dangerous, expected) in CASES {
            let error = format!("{:#}", read(own, dangerous).expect_err(expected));
            assert!(error.starts_with(&format!("--host-port {expected}")), "{error}");
        }
    }
}
