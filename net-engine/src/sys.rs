//! System calls on descriptors that have no safe wrapper: those of links, and what else sets or asks a socket.
#![allow(unsafe_code, reason = "ioctl and setsockopt take raw structures; each block says why it is sound")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

nix::ioctl_write_int!(set_offload, b'T', 208);
nix::ioctl_write_ptr_bad!(set_interface, TUNSETIFF, libc::ifreq);
nix::ioctl_write_ptr!(attach_filter, b'T', 213, libc::sock_fprog);
nix::ioctl_write_ptr!(detach_filter, b'T', 214, libc::sock_fprog);

/// `_IOW('T', 202, int)` in the kernel's words, although a whole `ifreq` is passed.
const TUNSETIFF: libc::c_ulong = nix::request_code_write!(b'T', 202, size_of::<libc::c_int>());

const TUN_F_CSUM: libc::c_ulong = 0x01;
const TUN_F_TSO4: libc::c_ulong = 0x02;
const TUN_F_TSO6: libc::c_ulong = 0x04;
const TUN_F_TSO_ECN: libc::c_ulong = 0x08;
/// UDP's, since Linux 6.2; one goes with the other.
const TUN_F_USO4: libc::c_ulong = 0x20;
const TUN_F_USO6: libc::c_ulong = 0x40;

const OFFLOADS: libc::c_ulong = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

/// What a link asks of its TAP interface. `IFF_NO_PI` is the bit of `IFF_NOFILTER` too, by which no filter is taken
/// over that somebody left on an interface which stays.
const TAP_FLAGS: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
const _: () = assert!(TAP_FLAGS & libc::IFF_NOFILTER != 0);

/// Binds a tun descriptor to a TAP interface named `name`, with virtio-net headers.
pub(crate) fn attach_tap(tun: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    attach_tap_as(tun, name, TAP_FLAGS)
}

pub(crate) fn attach_tap_as(tun: BorrowedFd<'_>, name: &str, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: an all-zero `ifreq` is a valid one.
    let mut request: libc::ifreq = unsafe { zeroed() };
    copy_name(&mut request.ifr_name, name)?;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open and the kernel reads an `ifreq` that outlives the call.
    unsafe { set_interface(tun.as_raw_fd(), &request) }?;
    Ok(())
}

/// Lets the guest's kernel send partial checksums and TCP super-segments.
pub(crate) fn offer_offloads(tun: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open and the argument is a plain integer.
    unsafe { set_offload(tun.as_raw_fd(), OFFLOADS) }?;
    Ok(())
}

/// Lets the guest's kernel send datagrams that share a frame too. Whether it does, for then it also cuts those it is
/// sent: a kernel that does not know them takes no such frame.
pub(crate) fn offer_datagram_offloads(tun: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open and the argument is a plain integer.
    unsafe { set_offload(tun.as_raw_fd(), OFFLOADS | TUN_F_USO4 | TUN_F_USO6) }.is_ok()
}

/// Has the guest's kernel send complete frames that fit the MTU.
pub(crate) fn withdraw_offloads(tun: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open and the argument is a plain integer.
    unsafe { set_offload(tun.as_raw_fd(), 0) }?;
    Ok(())
}

/// Registers a descriptor with the reactor of this thread.
pub(crate) fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor for its whole life, which the returned
    // value takes over.
    unsafe { AsyncFd::register(descriptor) }.map_err(|error| io::Error::other(error.to_string()))
}

/// Registers a descriptor whose room for sending is of no interest: a socket that announced it would
/// wake its thread after each datagram it has sent.
pub(crate) fn register_for_reading(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as in `register`.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Sets an integer socket option.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length =
        libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads one integer, which outlives the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a raw socket of ICMP receive echo replies alone: raw(7); RFC 3542, section 3.2.
pub(crate) fn pass_echo_replies(socket: BorrowedFd<'_>, is_v6: bool) -> io::Result<()> {
    const ICMP_FILTER: libc::c_int = 1;
    const ICMP6_FILTER: libc::c_int = 1;
    const REPLY_V4: u32 = 0;
    const REPLY_V6: u32 = 129;
    // A bit that is set keeps the type of its number out.
    if !is_v6 {
        return set_option(socket, libc::SOL_RAW, ICMP_FILTER, (!(1_u32 << REPLY_V4)).cast_signed());
    }
    let mut kept_out = [u32::MAX; 8];
    kept_out[(REPLY_V6 / 32) as usize] &= !(1 << (REPLY_V6 % 32));
    let length =
        libc::socklen_t::try_from(size_of_val(&kept_out)).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads 256 bits, which outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMP6_FILTER,
            kept_out.as_ptr().cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the kernel run a classic BPF program on what the guest sends before it is queued for a TAP descriptor, in
/// place of the one there was; an empty program lets everything pass.
///
/// The interface keeps where the program was, and reads there again for the next descriptor that is bound to it
/// without `IFF_NOFILTER`: have it detached before it is let go, or an interface that stays points nowhere.
pub(crate) fn attach_tap_filter(tun: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = described(program)?;
    // SAFETY: the descriptor is open, and the kernel copies the program it is pointed to, which outlives the call
    // and is not written to. The pointer that the interface keeps is read as memory of whoever binds a descriptor to
    // it then, with a failure where there is none, and is never written through.
    unsafe {
        if program.len == 0 {
            detach_filter(tun.as_raw_fd(), &program)
        } else {
            attach_filter(tun.as_raw_fd(), &program)
        }
    }?;
    Ok(())
}

/// The same for a socket.
pub(crate) fn attach_socket_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = described(program)?;
    if program.len == 0 {
        return set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0);
    }
    let length =
        libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: as in `attach_tap_filter`.
    let result = unsafe {
        let option = libc::SO_ATTACH_FILTER;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const program).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// As the kernel is told of a program. It only reads it, although the structure says otherwise.
fn described(program: &[libc::sock_filter]) -> io::Result<libc::sock_fprog> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(libc::sock_fprog { len, filter: program.as_ptr().cast_mut() })
}

/// What an integer socket option is.
pub(crate) fn option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length =
        libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel writes one integer at most, and how much of it, into what outlives the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Binds a packet socket to one interface, all protocols.
pub(crate) fn bind_to_interface(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: an all-zero `sockaddr_ll` is a valid one.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(|_| io::ErrorKind::InvalidInput)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).map_err(|_| io::ErrorKind::InvalidInput)?.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads one address, which outlives the call.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn copy_name(slot: &mut [libc::c_char; libc::IFNAMSIZ], name: &str) -> io::Result<()> {
    if name.is_empty() || name.len() >= slot.len() || name.contains(['\0', '/']) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (slot, byte) in slot.iter_mut().zip(name.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    Ok(())
}
