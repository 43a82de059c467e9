use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::task::{Context, Poll};

use nix::libc;

use super::thinning::program;
use super::vnet_fd::VnetFd;
use super::{FrameMeta, Link, LinkCapabilities, Received, Thinning};
use crate::sys;

/// A TAP interface with virtio-net headers and offloads.
pub struct TapLink {
    descriptor: VnetFd,
    mtu: u16,
    offload: bool,
    cuts_datagrams: bool,
    is_thinned: bool,
}

impl TapLink {
    /// Opens a TAP interface named `name` in the network namespace of this thread and gives its
    /// descriptor, which works from every namespace.
    ///
    /// # Errors
    /// `PermissionDenied` where the device node is closed to the user or the thread has no
    /// CAP_NET_ADMIN in its namespace, `NotFound` where there is no `/dev/net/tun`.
    pub fn open(name: &str) -> io::Result<OwnedFd> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")?;
        sys::attach_tap(file.as_fd(), name)?;
        sys::offer_offloads(file.as_fd())?;
        Ok(file.into())
    }

    /// A link over a descriptor of [`TapLink::open`]; `mtu` is the interface's. What filters its frames
    /// (`TUNATTACHFILTER`) is from here on the link's own, and is gone when it is dropped: see [`Link::thin`].
    pub fn from_descriptor(descriptor: OwnedFd, mtu: u16) -> Self {
        let cuts_datagrams = sys::offer_datagram_offloads(descriptor.as_fd());
        Self { descriptor: VnetFd::new(descriptor), mtu, offload: true, cuts_datagrams, is_thinned: false }
    }

    /// The same with complete frames that fit the MTU, both ways. Call it before the first frame.
    ///
    /// # Errors
    /// Where the kernel does not let go of the offloads.
    pub fn without_offload(mut self) -> io::Result<Self> {
        if let Some(descriptor) = self.descriptor.unregistered() {
            sys::withdraw_offloads(descriptor)?;
        }
        (self.offload, self.cuts_datagrams) = (false, false);
        Ok(self)
    }
}

impl Drop for TapLink {
    /// An interface may stay, with the next link's frames: none of them goes by this one's filter.
    fn drop(&mut self) {
        if self.is_thinned
            && let Some(descriptor) = self.descriptor.descriptor()
        {
            let _ = sys::attach_tap_filter(descriptor, &[]);
        }
    }
}

impl Link for TapLink {
    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities { mtu: self.mtu, offload: self.offload }
    }

    fn thin(&mut self, thinning: &Thinning) {
        let program = if thinning.is_none() { Vec::new() } else { program(thinning) };
        if let Some(descriptor) = self.descriptor.descriptor() {
            self.is_thinned = !program.is_empty();
            // Where the kernel does without, the engine drops by itself what is too much.
            let _ = sys::attach_tap_filter(descriptor, &program);
        }
    }

    fn cuts_datagrams(&self) -> bool {
        self.cuts_datagrams
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        self.descriptor.poll_receive(context, buffer)
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        meta: &FrameMeta,
        frame: &[u8],
    ) -> Poll<io::Result<()>> {
        self.descriptor.poll_send(context, meta, frame)
    }
}
