//! UDP: echoes, whose port is seen, what fits no packet, and what ICMP says.

use super::lines::{DENIED, VIOLATION};
use crate::e2e::row::Expect::{Err, Exit, NotUpstream, Out, Upstream};
use crate::e2e::row::{Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "udp_echo_v4",
        &["--allow", "192.31.196.3:7000"],
        "python3 {dir}/guest.py say 192.31.196.3 7000 {id}",
        &[Exit(0), Out("{id} fast"), Upstream(&["udp 7000", "{id}"])],
    ),
    row(
        "udp_echo_v6",
        &["--allow", "[2001:4:112::3]:7000"],
        "python3 {dir}/guest.py say 2001:4:112::3 7000 {id}",
        &[Exit(0), Out("{id} fast"), Upstream(&["udp 7000", "{id}"])],
    ),
    row(
        "udp_echo_by_name",
        &["--allow", "peer.test"],
        "python3 {dir}/guest.py say peer.test 7000 {id}",
        &[Exit(0), Out("{id} fast")],
    ),
    row(
        "udp_is_told_with_v",
        &["-v", "--allow", "192.31.196.3"],
        "python3 {dir}/guest.py say 192.31.196.3 7000 {id}",
        &[Exit(0), Err(&["opened udp 192.31.196.3:7000", "rule 1"])],
    )
    .judged(),
    row(
        "udp_one_port_for_every_destination",
        &["--allow", "public"],
        "python3 {dir}/guest.py seen_as 7006 192.31.196.2 192.31.196.3 && \
         python3 {dir}/guest.py seen_as 7006 2001:4:112::2 2001:4:112::3",
        &[Exit(0), Out("1 port for 2 destinations\n1 port for 2 destinations")],
    ),
    row(
        "udp_in_fragments_v4",
        &["--allow", "public"],
        "for size in 1472 1473 9000 60000 65507; do python3 {dir}/guest.py say_much 192.31.196.3 7000 $size; done",
        &[Exit(0), Out("all of 1473 bytes"), Out("all of 60000 bytes"), Out("all of 65507 bytes, ten times")],
    ),
    row(
        "udp_in_fragments_v6",
        &["--allow", "public"],
        "for size in 1452 1453 9000 60000 65507; do python3 {dir}/guest.py say_much 2001:4:112::3 7000 $size; done",
        &[Exit(0), Out("all of 1453 bytes"), Out("all of 60000 bytes"), Out("all of 65507 bytes, ten times")],
    ),
    row(
        "udp_in_fragments_at_a_large_mtu",
        &["--allow", "public", "--mtu", "9000"],
        "for size in 9000 60000; do python3 {dir}/guest.py say_much 192.31.196.3 7000 $size; done",
        &[Exit(0), Out("all of 9000 bytes"), Out("all of 60000 bytes, ten times")],
    )
    .judged(),
    row(
        "udp_segmented_by_the_link",
        &["--allow", "public"],
        "python3 {dir}/guest.py say_much 192.31.196.3 7000 4800 1200; \
         python3 {dir}/guest.py say_much 2001:4:112::3 7000 4800 1200",
        &[Exit(0), Out("the same [1200, 1200, 1200, 1200]\nthe same [1200, 1200, 1200, 1200]")],
    ),
    row(
        "udp_that_comes_all_at_once",
        &["--allow", "public"],
        "for size in 1 64 1200 1452; do python3 {dir}/guest.py hears_many 192.31.196.3 7007 $size 40; \
         python3 {dir}/guest.py hears_many 2001:4:112::3 7007 $size 40; done; \
         awk '/^Udp:/ {print \"wrong sums:\", $8}' /proc/net/snmp; grep Udp6InCsumErrors /proc/net/snmp6",
        &[
            Exit(0),
            Out("all of 41\nall of 41\nall of 41\nall of 41\nall of 41\nall of 41\nall of 41\nall of 41\n"),
            Out("wrong sums: 0\nUdp6InCsumErrors                \t0"),
        ],
    ),
    row(
        "udp_where_nobody_listens",
        &["--allow", "public"],
        "python3 {dir}/guest.py say 192.31.196.3 9 {id}; python3 {dir}/guest.py say 2001:4:112::3 9 {id}",
        &[Exit(0), Out("ECONNREFUSED fast\nECONNREFUSED fast")],
    ),
    row(
        "udp_to_unreachable_networks",
        &["--allow", "public"],
        "python3 {dir}/guest.py say 192.52.193.1 7000 {id}; python3 {dir}/guest.py say 2001:3::1 7000 {id}",
        &[Exit(0), Out("EHOSTUNREACH fast\nENETUNREACH fast")],
    ),
    row(
        "udp_denied",
        &["--allow", "192.31.196.2"],
        "python3 {dir}/guest.py say 192.31.196.3 7000 {id}; python3 {dir}/guest.py say 2001:4:112::3 7000 {id}",
        &[
            Exit(0),
            Out("EHOSTUNREACH fast\nEACCES fast"),
            Err(&[DENIED, "udp 192.31.196.3:7000"]),
            Err(&[DENIED, "udp [2001:4:112::3]:7000"]),
            NotUpstream("{id}"),
        ],
    )
    .judged(),
    row(
        "udp_to_other_name_services",
        &["--allow", "public"],
        "for port in 137 853 5353 5355; do python3 {dir}/guest.py say 192.31.196.3 $port {id}; done",
        &[Exit(0), Out("ECONNREFUSED fast\nECONNREFUSED fast\nECONNREFUSED fast\nECONNREFUSED fast")],
    )
    .judged(),
    row(
        "udp_reaches_the_host_s_loopback",
        &["--allow", "host"],
        "python3 {dir}/guest.py say host.internal 7000 {id}",
        &[Exit(0), Out("{id} fast")],
    )
    .judged(),
    row(
        "udp_to_a_host_port_leads_to_another_one",
        &["--allow", "host:5000", "--host-port", "5000:127.0.0.1:7000/udp"],
        "python3 {dir}/guest.py say host.internal 5000 {id}",
        &[Exit(0), Out("{id} fast")],
    )
    .judged(),
    row(
        "udp_to_the_host_is_not_public",
        &["--allow", "public", "--allow", "private"],
        "python3 {dir}/guest.py say $(ip -4 route show default | cut -d' ' -f3) 7000 {id}",
        &[Exit(0), Out("EHOSTUNREACH fast"), Err(&[DENIED, "7000"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "udp_with_a_placeholder",
        &["--allow", "public", "--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "python3 {dir}/guest.py say 192.31.196.3 7000 {id}-$TOKEN; python3 {dir}/guest.py say 192.31.196.3 7000 clean",
        &[Exit(0), Out("EHOSTUNREACH fast\nclean fast"), Err(&[VIOLATION, "7000"]), NotUpstream("{id}")],
    )
    .judged(),
];
