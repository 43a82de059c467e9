//! The namespaces of a sandbox, entered by the process that will become it.

use std::fs;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::unistd::getegid;

use super::netlink::Netlink;
use super::setup_error::{SetupError, Step};
use super::{LinkKind, SandboxPlan};
use crate::link::{PacketLink, TapLink};

/// The guest's one interface.
pub(super) const INTERFACE: &str = "eth0";

/// The engine's end of a veth pair, in a namespace of its own that the guest cannot see.
const PEER: &str = "engine0";

/// What the guest's TCP sends by: the link loses nothing, so the one that only reacts to loss is never
/// in the way. It is said on the routes, because a namespace may not choose another default than the
/// host allows.
const CONGESTION_CONTROL: &str = "cubic";

const ALLOW_NAMESPACES: &str = "namespaces must be allowed here: sysctl user.max_mnt_namespaces, user.max_pid_namespaces, \
     user.max_ipc_namespaces";
const ALLOW_NETWORK: &str = "network namespaces must be allowed here: sysctl user.max_net_namespaces";

/// Enters the user namespace and fresh ones below it, and gives the engine's descriptor of the link
/// into them.
pub(super) fn enter(
    plan: &SandboxPlan,
    user_namespace: BorrowedFd<'_>,
) -> Result<(OwnedFd, LinkKind), SetupError> {
    setns(user_namespace, CloneFlags::CLONE_NEWUSER).step("user namespace", ALLOW_NAMESPACES)?;
    // Where fs.suid_dumpable is 1, other credentials make the process dumpable again.
    prctl::set_dumpable(false).step("user namespace", ALLOW_NAMESPACES)?;
    // The engine's side first: the veth's other end lives there, out of the guest's sight.
    unshare(CloneFlags::CLONE_NEWNET).step("network namespace", ALLOW_NETWORK)?;
    let engine_side = File::open("/proc/self/ns/net").step("network namespace", ALLOW_NETWORK)?;
    unshare(
        CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC,
    )
    .step("namespaces", ALLOW_NAMESPACES)?;
    let link = open_link(plan, &engine_side)?;
    configure(plan).map_err(|error| SetupError::new("guest interface", error, ALLOW_NETWORK))?;
    Ok(link)
}

fn open_link(plan: &SandboxPlan, engine_side: &File) -> Result<(OwnedFd, LinkKind), SetupError> {
    const TAP: &str = "--link tap";
    const REMEDY: &str = "open /dev/net/tun to this user, or choose --link packet, which needs no device";
    let tap = || TapLink::open(INTERFACE).map(|descriptor| (descriptor, LinkKind::Tap));
    match plan.link {
        Some(LinkKind::Tap) => tap().step(TAP, REMEDY),
        Some(LinkKind::Packet) => open_packet(engine_side, plan.mtu),
        None => tap().or_else(|_| open_packet(engine_side, plan.mtu)),
    }
}

fn open_packet(engine_side: &File, mtu: u16) -> Result<(OwnedFd, LinkKind), SetupError> {
    const PACKET: &str = "--link packet";
    const REMEDY: &str = "the kernel needs veth and AF_PACKET";
    let guest_side = File::open("/proc/self/ns/net").step(PACKET, REMEDY)?;
    let netlink = Netlink::open().step(PACKET, REMEDY)?;
    netlink.add_veth(INTERFACE, PEER, engine_side.as_raw_fd()).step(PACKET, REMEDY)?;
    setns(engine_side, CloneFlags::CLONE_NEWNET).step(PACKET, REMEDY)?;
    // Its kernel must stay silent on the wire: no link-local address, no router solicitations.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{PEER}/disable_ipv6"), "1");
    let opened = Netlink::open()
        // A frame above the MTU of either end is dropped on its way.
        .and_then(|netlink| netlink.set_up(PEER, None, Some(mtu)))
        .and_then(|()| PacketLink::open(PEER))
        .step(PACKET, REMEDY);
    setns(&guest_side, CloneFlags::CLONE_NEWNET).step(PACKET, REMEDY)?;
    Ok((opened?, LinkKind::Packet))
}

/// Brings up loopback and the one interface, with the addresses of the plan where it is to have them.
fn configure(plan: &SandboxPlan) -> std::io::Result<()> {
    let addresses = &plan.addresses;
    let gid = getegid();
    // The command has no capability to open raw sockets; ping works without.
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{gid} {gid}"));
    let netlink = Netlink::open()?;
    netlink.set_up("lo", None, None)?;
    if !plan.is_configured {
        // The MTU too is among what it is told.
        return netlink.set_up(INTERFACE, Some(addresses.guest_mac.0), None);
    }
    // These make the guest quieter; it works without them.
    for name in ["accept_ra", "accept_dad"] {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{INTERFACE}/{name}"), "0");
    }
    netlink.set_up(INTERFACE, Some(addresses.guest_mac.0), Some(plan.mtu))?;
    if let Some(pair) = addresses.ipv4 {
        netlink.add_address(INTERFACE, pair.guest.into(), pair.prefix_len)?;
        netlink.add_default_route(pair.gateway.into(), CONGESTION_CONTROL)?;
    }
    // A kernel without IPv6 has a guest without IPv6.
    if let Some(pair) = addresses.ipv6
        && fs::exists("/proc/sys/net/ipv6").unwrap_or(false)
    {
        netlink.add_address(INTERFACE, pair.guest.into(), pair.prefix_len)?;
        netlink.add_default_route(pair.gateway.into(), CONGESTION_CONTROL)?;
    }
    Ok(())
}
