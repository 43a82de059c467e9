//! A guest whose interface nobody has set up: clients of DHCP and the kernel's own autoconfiguration do it, as
//! on a machine that starts, and the command lives with what they got.

use super::with_rights::{once_done, with_rights};
use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Exit, Out};
use crate::e2e::row::{Row, row};

const UNCONFIGURED: &[&str] = &["--configure", "none", "--mtu", "1400", "--allow", "public"];

pub(crate) const ROWS: &[Row] = &[
    row(
        "nothing_is_set_up_where_nobody_does",
        &["--configure", "none", "--allow", "public"],
        "ip -4 -o address show dev eth0 | wc -l; ip -4 route | wc -l; curl -sS -m 10 -4 http://192.31.196.2/{id}",
        &[Exit(7), Out("0\n0\n")],
    )
    .judged(),
    row(
        "dhclient_sets_up_ipv4",
        UNCONFIGURED,
        once_done!(
            "cat {dir}/started/{id}.own/etc/resolv.conf; curl -sS -m 10 http://192.31.196.2/hello?{id}; ping -n -c 1 -W 5 192.31.196.2; \
             dig +short -4 web.test A @$(cut -d' ' -f2 {dir}/started/{id}.own/etc/resolv.conf)"
        ),
        &[
            Exit(0),
            Out("mtu 1400 "),
            Out("inet 172.16.0.2/30 brd 172.16.0.3 "),
            Out("default via 172.16.0.1 dev eth0"),
            Out("\nnameserver 172.16.0.1\n"),
            Out("hello from nginx"),
            Out("64 bytes from 192.31.196.2: icmp_seq=1"),
            Out("\n192.31.196.2\n"),
        ],
    )
    .wrapped(with_rights!(
        "dhclient -1 -4 -pf /run/dhclient.pid eth0; ip -4 address show dev eth0; ip -4 route; \
         kill $(cat /run/dhclient.pid)"
    ))
    .needing(&[Need::Autoconfiguration])
    .judged(),
    row(
        "udhcpc_sets_up_ipv4_and_renews",
        UNCONFIGURED,
        once_done!("cat {dir}/started/{id}.own/etc/resolv.conf; curl -sS -m 10 http://192.31.196.2/hello?{id}; ping -n -c 1 -W 5 192.31.196.2"),
        &[
            Exit(0),
            Out("lease of 172.16.0.2 obtained from 172.16.0.1"),
            Out("sending renew to server 172.16.0.1"),
            Out("unicasting a release of 172.16.0.2 to 172.16.0.1"),
            Out("mtu 1400 "),
            Out("inet 172.16.0.2/30 "),
            Out("default via 172.16.0.1 dev eth0"),
            Out("nameserver 172.16.0.1\n"),
            Out("hello from nginx"),
            Out("64 bytes from 192.31.196.2: icmp_seq=1"),
        ],
    )
    .wrapped(with_rights!(
        // Renewed, given back, and asked for again by a client that ends once it is set up.
        "udhcpc -f -n -p /run/udhcpc.pid -i eth0 & \
         for i in $(seq 100); do ip -4 route | grep -q default && break; sleep 0.1; done; \
         kill -USR1 $!; sleep 0.5; kill -USR2 $!; sleep 0.5; kill $!; wait; \
         udhcpc -f -n -q -i eth0; ip -4 address show dev eth0; ip -4 route"
    ))
    .needing(&[Need::Autoconfiguration])
    .patient()
    .judged(),
    row(
        "dhcpcd_sets_up_both_families",
        UNCONFIGURED,
        once_done!(
            "cat {dir}/started/{id}.own/etc/resolv.conf; curl -sS -m 10 http://192.31.196.2/hello?{id}-4; curl -sS -m 10 'http://[2001:4:112::2]/hello?{id}-6'; \
             ping -n -c 1 -W 5 2001:4:112::2"
        ),
        &[
            Exit(0),
            // It has asked whether somebody else has the address, three times, and nobody has.
            Out("leased 172.16.0.2 for 86400 seconds"),
            Out("inet 172.16.0.2/30 "),
            Out("inet6 fd6e:6574::"),
            Out("default via 172.16.0.1 dev eth0"),
            Out("default via fe80::"),
            Out("nameserver 172.16.0.1\n"),
            Out("nameserver fd6e:6574::1\n"),
            Out("hello from nginx\nhello from nginx\n"),
            Out("64 bytes from 2001:4:112::2: icmp_seq=1"),
        ],
    )
    .wrapped(with_rights!(
        "dhcpcd -1 -6 eth0; cp /etc/resolv.conf /run/one; dhcpcd -1 -4 eth0; cat /run/one; \
         ip address show dev eth0; ip -4 route; ip -6 route"
    ))
    .needing(&[Need::Autoconfiguration])
    .patient()
    .judged(),
    row(
        "the_kernel_sets_up_ipv6_by_itself",
        UNCONFIGURED,
        // The kernel uses no address that may still be another's.
        "for i in $(seq 100); do ip -6 -o address show dev eth0 scope global -tentative | grep -q . && break; \
         sleep 0.1; done; ip -6 address show dev eth0; ip -6 route; cat /proc/sys/net/ipv6/conf/eth0/mtu; \
         curl -sS -m 10 'http://[2001:4:112::2]/hello?{id}'; ping -n -c 1 -W 5 2001:4:112::2; \
         dig +short -6 web.test AAAA @fd6e:6574::1",
        &[
            Exit(0),
            // By the MAC (RFC 4291, appendix A), not the one that would have been set up.
            Out("inet6 fd6e:6574::6e:65ff:fe00:2/64 scope global dynamic"),
            Out("default via fe80::6e:65ff:fe00:1 dev eth0 proto ra"),
            Out("\n1400\n"),
            Out("hello from nginx"),
            Out("64 bytes from 2001:4:112::2: icmp_seq=1"),
            Out("\n2001:4:112::2\n"),
        ],
    )
    .judged(),
    row(
        "rdisc6_is_told_of_the_router",
        UNCONFIGURED,
        once_done!("true"),
        &[
            Exit(0),
            Out("Router lifetime           :         9000 "),
            Out("MTU                      :         1400 bytes (valid)"),
            Out("Prefix                   : fd6e:6574::/64\n  On-link                 :          Yes\n  \
                 Autonomous address conf.:          Yes"),
            Out("Recursive DNS server     : fd6e:6574::1"),
            Out("from fe80::6e:65ff:fe00:1\n"),
            Out("Target link-layer address: 02:6E:65:00:00:01\n from fd6e:6574::1\n"),
            Out("Target link-layer address: 02:6E:65:00:00:01\n from fe80::6e:65ff:fe00:1\n"),
            // An address of the guest's prefix that is nobody's.
            Out("Timed out.\nNo response.\n"),
        ],
    )
    .wrapped(with_rights!(
        // Once the link-local address has been found to be free.
        "for i in $(seq 100); do ip -6 route | grep -q ^default && break; sleep 0.1; done; sleep 0.2; \
         rdisc6 -1 eth0; ndisc6 -1 fd6e:6574::1 eth0; ndisc6 -1 fe80::6e:65ff:fe00:1 eth0; \
         ndisc6 -1 -r 1 fd6e:6574::99 eth0"
    ))
    .needing(&[Need::Autoconfiguration])
    .patient()
    .judged(),
];
