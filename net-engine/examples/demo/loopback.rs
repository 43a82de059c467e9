//! A loopback interface that is up, wherever the demo is started.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

/// Leaves loopback as it is where it works; else enters a user and network namespace of its own
/// and brings loopback up there. Call before any thread is started.
pub(crate) fn ensure() -> Result<()> {
    if works().is_ok() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .context("loopback is down, and the kernel allows no user namespace to bring one up in")?;
    bring_up().context("the loopback of a new namespace did not come up")?;
    works().context("loopback is up and does not work")
}

fn works() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    TcpStream::connect(listener.local_addr()?).map(drop)
}

nix::ioctl_write_ptr_bad!(set_interface_flags, nix::libc::SIOCSIFFLAGS, nix::libc::ifreq);

fn bring_up() -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: an all-zero `ifreq` is a valid one.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = nix::libc::c_char::try_from(*byte)?;
    }
    request.ifr_ifru.ifru_flags = i16::try_from(nix::libc::IFF_UP)?;
    // SAFETY: the descriptor is open and the request is initialised.
    unsafe { set_interface_flags(socket.as_raw_fd(), &request) }?;
    Ok(())
}
