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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
mod tests {
    use super::*;
    use crate::link::test_in_own_network;

    /// The name of the test below, run in a network of its own.
    const IN_A_NETWORK: &str = "link::tap::tests::in_a_network_of_its_own";

    #[test]
    fn a_tap_interface_that_stays_has_no_filter_of_a_link_that_ended() {
        let stays = "ip tuntap add dev tap0 mode tap vnet_hdr";
        test_in_own_network(IN_A_NETWORK, stays, stays);
    }

    #[test]
    #[ignore = "the test above runs it in a network of its own"]
    fn in_a_network_of_its_own() {
        // One that everything passes, and that is still there when the interface looks for it again.
        let keep = libc::sock_filter { code: 6, jt: 0, jf: 0, k: u32::MAX };
        let program: &[libc::sock_filter] = Box::leak(Box::new([keep]));
        let descriptor = TapLink::open("tap0").unwrap();
        let same = descriptor.try_clone().unwrap();
        let mut link = TapLink::from_descriptor(descriptor, 1_500);
        link.thin(&Thinning { syns: 1, ..Thinning::default() });
        sys::attach_tap_filter(same.as_fd(), program).unwrap();
        drop(link);
        drop(same);
        // Bound without the flag it takes a filter over, and is then no queue of the interface: the next one would
        // be the first.
        let next = std::fs::File::options().read(true).write(true).open("/dev/net/tun").unwrap();
        sys::attach_tap_as(next.as_fd(), "tap0", libc::IFF_TAP | libc::IFF_VNET_HDR).unwrap();
        assert_eq!(TapLink::open("tap0").unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
}
