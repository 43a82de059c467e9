//! A TAP device whose frames carry the header of virtio-net.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use nix::libc;

/// `virtio_net_hdr_v1`.
pub const HEADER_BYTES: usize = 12;

/// Without offloads no frame is longer, whatever the MTU.
pub const MAX_FRAME_BYTES: usize = 65_536;

nix::ioctl_write_int!(set_interface, b'T', 202);
nix::ioctl_write_ptr!(set_header_size, b'T', 216, libc::c_int);

/// See the file's own description.
pub struct Tap(File);

impl Tap {
    /// Opens a device of this name in the namespace of the calling thread.
    pub fn open(name: &str) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .context("/dev/net/tun")?;
        // SAFETY: all zeroes is a value of this C structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (into, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
            *into = byte.cast_signed();
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags)?;
        let fd = file.as_raw_fd();
        // SAFETY: TUNSETIFF is called an `int` and takes the address of an `ifreq`.
        unsafe { set_interface(fd, std::ptr::from_ref(&request) as libc::c_ulong) }.context("TUNSETIFF")?;
        // SAFETY: TUNSETVNETHDRSZ takes the address of an `int`.
        unsafe { set_header_size(fd, &(HEADER_BYTES as libc::c_int)) }.context("TUNSETVNETHDRSZ")?;
        Ok(Self(file))
    }

    /// The next frame, its header first; `None` where there is none yet.
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a frame, its header first.
    pub fn write(&self, frame: &[u8]) -> Result<()> {
        (&self.0).write_all(frame).context("cannot write to the device")
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
