//! ICMP beyond the gateway: echoes, routes, and what is said of them.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, Out};
use crate::e2e::row::{Only, Row, row};

/// Has the engine be of a group that may not ping in any namespace of these tests, and be root all the same.
const OUTSIDE_OF_THE_RANGE: &[&str] = &["setpriv", "--regid", "3000000000", "--clear-groups"];

pub(crate) const ROWS: &[Row] = &[
    row(
        "ping_beyond_the_gateway",
        &["--allow", "192.31.196.2", "--allow", "[2001:4:112::2]"],
        "ping -n -c 3 -i 0.2 -W 5 192.31.196.2 && ping -n -c 3 -i 0.2 -W 5 2001:4:112::2",
        &[
            Exit(0),
            Out("64 bytes from 192.31.196.2: icmp_seq=3 ttl=64"),
            Out("64 bytes from 2001:4:112::2: icmp_seq=3 ttl=64"),
            NotOut("DUP!"),
        ],
    ),
    row(
        "ping_by_name",
        &["--allow", "web.test"],
        "ping -4 -n -c 1 -W 5 web.test && ping -6 -n -c 1 -W 5 web.test",
        &[Exit(0), Out("from 192.31.196.2: icmp_seq=1"), Out("from 2001:4:112::2: icmp_seq=1")],
    ),
    row(
        "pings_at_once_are_told_apart",
        &["--allow", "public"],
        "for at in 192.31.196.2 192.31.196.3 192.52.193.9 192.31.196.2; do \
         ping -n -c 2 -i 0.2 -W 5 $at > {dir}/started/$at-{id} & pids=\"$pids $!\"; done; \
         for pid in $pids; do wait $pid || exit 1; done; cat {dir}/started/192.*-{id}",
        &[
            Exit(0),
            Out("from 192.31.196.2: icmp_seq=2"),
            Out("from 192.31.196.3: icmp_seq=2"),
            Out("from 192.52.193.9: icmp_seq=2"),
        ],
    ),
    row(
        "ping_fills_a_packet",
        &["--allow", "public"],
        "ping -n -c 2 -i 0.2 -W 5 -s 1400 192.31.196.2 && ping -n -c 2 -i 0.2 -W 5 -s 1400 2001:4:112::2",
        &[Exit(0), Out("1408 bytes from 192.31.196.2: icmp_seq=2"), Out("1408 bytes from 2001:4:112::2")],
    ),
    row(
        "ping_that_is_denied_is_told_so",
        &[],
        "ping -n -c 1 -W 5 192.31.196.2; ping -n -c 1 -W 5 2001:4:112::2",
        &[
            Fails,
            Out("From 172.16.0.1 icmp_seq=1 Packet filtered"),
            Out("From fd6e:6574::1 icmp_seq=1 Destination unreachable: Administratively prohibited"),
            Err(&[DENIED, "icmpv4", "192.31.196.2"]),
            Err(&[DENIED, "icmpv6", "2001:4:112::2"]),
        ],
    )
    .judged(),
    row(
        "ping_may_be_all_that_is_allowed",
        &["--config", "{dir}/echo.toml"],
        "ping -n -c 1 -W 5 192.31.196.2 && ! ping -n -c 1 -W 5 2001:4:112::2 && \
         ! curl -sS -m 5 http://192.31.196.2/hello?{id}",
        &[Exit(0), Out("from 192.31.196.2: icmp_seq=1"), Err(&[DENIED, "tcp", "192.31.196.2"])],
    )
    .judged(),
    row(
        "ping_to_where_no_route_leads",
        &["--allow", "public"],
        "ping -n -c 1 -W 5 192.52.193.1; ping -n -c 1 -W 5 2001:3::1",
        &[
            Fails,
            Out("From 192.31.196.2 icmp_seq=1 Destination Host Unreachable"),
            Out("icmp_seq=1 Destination unreachable: No route"),
        ],
    ),
    row(
        "ping_with_few_hops_names_the_router",
        &["--allow", "public"],
        "for hops in 1 2 3; do ping -n -c 1 -W 5 -t $hops 192.52.193.9; ping -n -c 1 -W 5 -t $hops 2001:3::9; \
         done",
        &[
            Exit(0),
            Out("From 172.16.0.1 icmp_seq=1 Time to live exceeded"),
            Out("From 192.31.196.2 icmp_seq=1 Time to live exceeded"),
            Out("64 bytes from 192.52.193.9: icmp_seq=1"),
            Out("From fd6e:6574::1 icmp_seq=1 Time exceeded: Hop limit"),
            // Any of that router's addresses.
            Out("From 2001:4:112::"),
            Out("64 bytes from 2001:3::9: icmp_seq=1"),
        ],
    ),
    row(
        "traceroute_finds_each_router",
        &["--allow", "public"],
        "traceroute -n -q 1 -w 5 192.52.193.9 && traceroute -6 -n -q 1 -w 5 2001:3::9",
        &[
            Exit(0),
            Out(" 1  172.16.0.1 "),
            Out(" 2  192.31.196.2 "),
            Out(" 3  192.52.193.9 "),
            Out(" 1  fd6e:6574::1 "),
            Out(" 2  2001:4:112::"),
            Out(" 3  2001:3::9 "),
            NotOut(" 4  "),
        ],
    ),
    // One probe at a time: an error that comes back while the next is sent makes the guest's own kernel
    // refuse that one, and this program does not try it again.
    row(
        "traceroute_by_echo_finds_each_router",
        &["--allow", "public"],
        "traceroute -I -N 1 -n -q 1 -w 5 192.52.193.9 && traceroute -6 -I -N 1 -n -q 1 -w 5 2001:3::9",
        &[
            Exit(0),
            Out(" 2  192.31.196.2 "),
            Out(" 3  192.52.193.9 "),
            Out(" 2  2001:4:112::"),
            Out(" 3  2001:3::9 "),
            NotOut(" 4  "),
        ],
    ),
    row(
        "mtr_finds_each_router",
        &["--allow", "public"],
        "mtr -n -r -c 1 192.52.193.9 && mtr -6 -n -r -c 1 2001:3::9",
        &[
            Exit(0),
            Out("1.|-- 172.16.0.1"),
            Out("2.|-- 192.31.196.2"),
            Out("3.|-- 192.52.193.9"),
            Out("2.|-- 2001:4:112::"),
            Out("3.|-- 2001:3::9"),
        ],
    ),
    // A new namespace of the network lets no group ping.
    row(
        "ping_where_the_host_lets_nobody",
        &["--allow", "192.31.196.2"],
        "ping -n -c 3 -i 0.2 -W 5 192.31.196.2; ping -n -c 1 -W 5 192.31.196.2",
        &[Fails, Err(&["192.31.196.2", "net.ipv4.ping_group_range", "CAP_NET_RAW"])],
    )
    .wrapped(&[
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "setpriv",
        "--bounding-set=-net_raw",
        "--inh-caps=-net_raw",
        "sh",
        "-c",
        // It is said once.
        "{ \"$@\" 2>&1 >&3 | tee {dir}/started/{id}.err >&2; } 3>&1; \
         test $(grep -c ping_group_range {dir}/started/{id}.err) = 1 && exit 1; echo said more than once >&2; exit 0",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    row(
        "ping_and_traceroute_by_raw_sockets_where_no_others_are_to_be_had",
        &["--allow", "public", "-v"],
        // What cannot be reached first: a kernel tells of that less readily once it has told that a hop limit was exceeded.
        "ping -n -c 1 -W 5 192.52.193.1; ping -n -c 1 -W 5 2001:3::1; \
         ping -n -c 3 -i 0.2 -W 5 192.31.196.2 && ping -n -c 3 -i 0.2 -W 5 2001:4:112::2 && \
         ping -n -c 1 -W 5 -s 1400 192.31.196.3 && \
         for hops in 1 2 3; do ping -n -c 1 -W 5 -t $hops 192.52.193.9; ping -n -c 1 -W 5 -t $hops 2001:3::9; done; \
         traceroute -I -N 1 -n -q 1 -w 5 192.52.193.9",
        &[
            Exit(0),
            Out("From 192.31.196.2 icmp_seq=1 Destination Host Unreachable"),
            Out("icmp_seq=1 Destination unreachable: No route"),
            Out("64 bytes from 192.31.196.2: icmp_seq=3 ttl=64"),
            Out("64 bytes from 2001:4:112::2: icmp_seq=3 ttl=64"),
            Out("1408 bytes from 192.31.196.3: icmp_seq=1"),
            Out("From 192.31.196.2 icmp_seq=1 Time to live exceeded"),
            Out("From 2001:4:112::"),
            Out("64 bytes from 2001:3::9: icmp_seq=1"),
            Out(" 2  192.31.196.2 "),
            Out(" 3  192.52.193.9 "),
            NotOut("DUP!"),
            Err(&["no capabilities"]),
        ],
    )
    .wrapped(OUTSIDE_OF_THE_RANGE)
    .judged()
    .only(Only::Root),
    row(
        "ping_by_raw_sockets_in_a_namespace_of_one_s_own",
        &["--allow", "host"],
        "ping -n -c 2 -i 0.2 -W 5 192.31.196.2 && ping -n -c 2 -i 0.2 -W 5 2001:4:112::2",
        &[
            Exit(0),
            Out("64 bytes from 192.31.196.2: icmp_seq=2"),
            Out("64 bytes from 2001:4:112::2: icmp_seq=2"),
            NotOut("DUP!"),
        ],
    )
    .wrapped(&[
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        "ip link set lo up && ip address add 192.31.196.2/32 dev lo && ip address add 2001:4:112::2/128 dev lo nodad && \
         exec \"$@\"",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    row(
        "pings_by_raw_sockets_are_told_apart_and_those_of_others_are_not_heard",
        &["--allow", "public"],
        "for at in 192.31.196.2 192.31.196.3 192.52.193.9 192.31.196.2; do \
         ping -n -c 3 -i 0.2 -W 5 $at > {dir}/started/$at-{id} & pids=\"$pids $!\"; done; \
         for pid in $pids; do wait $pid || exit 1; done; cat {dir}/started/192.*-{id}",
        &[
            Exit(0),
            Out("from 192.31.196.2: icmp_seq=3"),
            Out("from 192.31.196.3: icmp_seq=3"),
            Out("from 192.52.193.9: icmp_seq=3"),
            NotOut("DUP!"),
        ],
    )
    .wrapped(OUTSIDE_OF_THE_RANGE)
    .judged()
    .only(Only::Root),
];
