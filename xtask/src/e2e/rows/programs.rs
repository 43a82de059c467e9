//! What people look at a network with: nmap, socat and iperf3 see of it what the policy says, and no more.

use super::lines::DENIED;
use super::with_rights::{once_done, with_rights};
use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Err, Exit, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Row, row};

/// Sends datagrams through both ends of iperf3, and prints how many of them arrived.
///
/// The server is there for one client at a time, and other cells have theirs.
macro_rules! iperf {
    ($flags:literal) => {
        concat!(
            "for i in $(seq 20); do iperf3 --json --udp --time 1 ",
            $flags,
            " > {dir}/started/{id}.json && break; sleep 1; done; python3 -c '
import json, sys
end = json.load(open(sys.argv[1]))[\"end\"][\"sum\"]
print(\"arrived\" if end[\"packets\"] > 100 and end[\"lost_percent\"] < 50 else end)
print(\"figure iperf3/udp/loss\", round(end[\"lost_percent\"], 2), \"% of\", end[\"packets\"])
' {dir}/started/{id}.json"
        )
    };
}

pub(crate) const ROWS: &[Row] = &[
    row(
        "nmap_finds_what_is_open_and_nothing_else",
        &["--allow", "192.31.196.2", "--allow", "[2001:4:112::2]"],
        "nmap -n -Pn -sT -oG - -p 80,81,443,7006 192.31.196.2 192.31.196.3; \
         nmap -6 -n -Pn -sT -oG - -p 80,81,443,7006 2001:4:112::2 2001:4:112::3",
        &[
            Exit(0),
            Out("Host: 192.31.196.2 ()\tPorts: 80/open/tcp//http///, 81/closed/tcp//hosts2-ns///, \
                 443/open/tcp//https///, 7006/open/"),
            Out("Host: 192.31.196.3 ()\tPorts: 80/closed/tcp//http///, 81/closed/tcp//hosts2-ns///, \
                 443/closed/tcp//https///, 7006/closed/"),
            Out("Host: 2001:4:112::2 ()\tPorts: 80/open/tcp//http///, 81/closed/tcp//hosts2-ns///, \
                 443/open/tcp//https///, 7006/open/"),
            Out("Host: 2001:4:112::3 ()\tPorts: 80/closed/tcp//http///, 81/closed/tcp//hosts2-ns///, \
                 443/closed/tcp//https///, 7006/closed/"),
            Err(&[DENIED, "192.31.196.3"]),
        ],
    )
    .needing(&[Need::Nmap])
    .judged(),
    row(
        "nmap_finds_no_port_behind_a_name_it_never_asked_for",
        &["--allow", "web.test"],
        "nmap -n -Pn -sT -oG - -p 22,80,443,7006 192.31.196.2; nmap -6 -n -Pn -sT -oG - -p 80,443 2001:4:112::2",
        &[Exit(0), Out("80/closed/"), Out("443/closed/"), NotOut("/open"), Err(&[DENIED, "192.31.196.2"])],
    )
    .needing(&[Need::Nmap])
    .judged(),
    row(
        "nmap_with_half_open_connections",
        &["--allow", "192.31.196.2", "--allow", "[2001:4:112::2]"],
        once_done!("true"),
        &[
            Exit(0),
            Out("80/open/tcp//http///, 81/closed/tcp//hosts2-ns///, 443/open/"),
            Out("80/closed/tcp//http///, 81/closed/tcp//hosts2-ns///, 443/closed/"),
            NotOut("filtered"),
        ],
    )
    .wrapped(with_rights!(
        "nmap --privileged -n -Pn -sS -oG - -p 80,81,443 192.31.196.2 192.31.196.3; \
         nmap --privileged -6 -n -Pn -sS -oG - -p 80,81,443 2001:4:112::2 2001:4:112::3"
    ))
    .needing(&[Need::Nmap])
    .judged(),
    row(
        "nmap_finds_udp_open_closed_or_filtered",
        &["--allow", "192.31.196.3", "--allow", "[2001:4:112::3]"],
        once_done!("true"),
        &[
            Exit(0),
            Out("Host: 192.31.196.3 ()\tPorts: 9/closed/udp//discard///, 7000/open/udp/"),
            Out("Host: 192.31.196.2 ()\tPorts: 9/filtered/udp//discard///, 7000/filtered/udp/"),
            Out("Host: 2001:4:112::3 ()\tPorts: 9/closed/udp//discard///, 7000/open/udp/"),
            Out("Host: 2001:4:112::2 ()\tPorts: 9/filtered/udp//discard///, 7000/filtered/udp/"),
        ],
    )
    .wrapped(with_rights!(
        "nmap --privileged -n -Pn -sU --data-string hello -oG - -p 9,7000 192.31.196.3 192.31.196.2; \
         nmap --privileged -6 -n -Pn -sU --data-string hello -oG - -p 9,7000 2001:4:112::3 2001:4:112::2"
    ))
    .needing(&[Need::Nmap])
    .patient()
    .judged(),
    row(
        "nmap_finds_the_hosts_that_answer",
        &["--allow", "192.31.196.2", "--allow", "192.175.48.1", "--allow", "[2001:4:112::2]"],
        once_done!("true"),
        &[
            Exit(0),
            Out("Host: 192.31.196.2 ()\tStatus: Up"),
            Out("Host: 2001:4:112::2 ()\tStatus: Up"),
            Out("3 IP addresses (1 host up)"),
            Out("2 IP addresses (1 host up)"),
            // By ARP: the gateway, and the guest itself.
            Out("Host: 172.16.0.1 ()\tStatus: Up"),
            Out("4 IP addresses (2 hosts up)"),
        ],
    )
    .wrapped(with_rights!(
        "nmap --privileged -n -sn -PE -oG - 192.31.196.2 192.31.196.3 192.175.48.1; \
         nmap --privileged -6 -n -sn -PE -oG - 2001:4:112::2 2001:4:112::3; \
         nmap --privileged -n -sn -oG - 172.16.0.0/30"
    ))
    .needing(&[Need::Nmap])
    .patient()
    .judged(),
    row(
        "socat_over_udp_and_tcp",
        &["--allow", "public"],
        "for at in UDP4:192.31.196.3:7000 UDP6:[2001:4:112::3]:7000 UDP:peer.test:7000; do \
         echo {id}-$at | socat -t 1 - $at; done; \
         for at in TCP4:192.31.196.3:7000 TCP6:[2001:4:112::3]:7000 TCP:peer.test:7000; do \
         echo {id}-$at | socat -t 2 - $at; done",
        &[
            Exit(0),
            Out("{id}-UDP4:192.31.196.3:7000\n{id}-UDP6:[2001:4:112::3]:7000\n{id}-UDP:peer.test:7000\n"),
            Out("220 peer.test ready\r\n{id}-TCP4:192.31.196.3:7000\n"),
            Out("220 peer.test ready\r\n{id}-TCP6:[2001:4:112::3]:7000\n"),
            Out("220 peer.test ready\r\n{id}-TCP:peer.test:7000\n"),
            Upstream(&["udp 7000", "{id}-UDP4"]),
            Upstream(&["udp 7000", "{id}-UDP6"]),
        ],
    )
    .needing(&[Need::Socat])
    .patient(),
    row(
        "socat_that_is_denied",
        &["--allow", "192.31.196.2"],
        "for at in TCP4:192.31.196.3:7000 TCP6:[2001:4:112::3]:7000 UDP4:192.31.196.3:7000; do \
         echo {id} | socat -t 2 - $at 2>&1; done",
        &[
            Out("Connection refused"),
            Out("No route to host"),
            NotOut("220 peer.test"),
            Err(&[DENIED, "tcp", "192.31.196.3:7000"]),
            Err(&[DENIED, "tcp", "[2001:4:112::3]:7000"]),
            Err(&[DENIED, "udp", "192.31.196.3:7000"]),
            NotUpstream("{id}"),
        ],
    )
    .needing(&[Need::Socat])
    .judged(),
    row(
        "iperf3_sends_datagrams",
        &["--allow", "public"],
        iperf!("--client 192.31.196.3 --bitrate 20M --length 1400"),
        &[Exit(0), Out("arrived")],
    )
    .needing(&[Need::Iperf]),
    row(
        "iperf3_receives_datagrams",
        &["--allow", "public"],
        iperf!("--client 192.31.196.3 --bitrate 20M --length 1400 --reverse"),
        &[Exit(0), Out("arrived")],
    )
    .needing(&[Need::Iperf]),
    row(
        "iperf3_sends_and_receives_small_datagrams_v6",
        &["--allow", "public"],
        iperf!("--client 2001:4:112::3 --bitrate 2M --length 64 --bidir"),
        &[Exit(0), Out("arrived")],
    )
    .needing(&[Need::Iperf]),
];
