//! The guest: a smoltcp stack on Ethernet, fed frame by frame.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use net_engine::core::GuestAddresses;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

const BUFFER_BYTES: usize = 64 << 10;

pub(crate) struct Guest {
    interface: Interface,
    device: Frames,
    pub(crate) sockets: SocketSet<'static>,
}

impl Guest {
    pub(crate) fn new(addresses: &GuestAddresses, mtu: usize) -> Self {
        let mut guest = Self::blank(addresses, mtu);
        let (v4, v6) = (addresses.ipv4.unwrap(), addresses.ipv6.unwrap());
        guest.set_v4(v4.guest, v4.prefix_len);
        guest.interface.update_ip_addrs(|own| {
            own.push(IpCidr::new(IpAddr::V6(v6.guest).into(), v6.prefix_len)).unwrap();
        });
        guest.interface.routes_mut().add_default_ipv4_route(v4.gateway).unwrap();
        guest.interface.routes_mut().add_default_ipv6_route(v6.gateway).unwrap();
        guest
    }

    /// One that knows its MAC address and nothing else.
    pub(crate) fn blank(addresses: &GuestAddresses, mtu: usize) -> Self {
        let mut device = Frames { mtu, inbound: VecDeque::new(), outbound: VecDeque::new() };
        let mac = EthernetAddress(addresses.guest_mac.0);
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = 7;
        let interface = Interface::new(config, &mut device, Instant::ZERO);
        Self { interface, device, sockets: SocketSet::new(Vec::new()) }
    }

    pub(crate) fn set_v4(&mut self, own: Ipv4Addr, prefix_len: u8) {
        self.interface.update_ip_addrs(|all| {
            all.retain(|cidr| !matches!(cidr, IpCidr::Ipv4(_)));
            all.push(IpCidr::new(IpAddr::V4(own).into(), prefix_len)).unwrap();
        });
    }

    pub(crate) fn tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER_BYTES]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    pub(crate) fn connect(&mut self, handle: SocketHandle, to: (IpAddr, u16), from_port: u16) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), to, from_port).expect("a fresh socket");
    }

    pub(crate) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(crate) fn handle_frame(&mut self, frame: Vec<u8>) {
        self.device.inbound.push_back(frame);
    }

    pub(crate) fn poll(&mut self, now: Instant) -> VecDeque<Vec<u8>> {
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        std::mem::take(&mut self.device.outbound)
    }

    pub(crate) fn poll_delay(&mut self, now: Instant) -> Option<Duration> {
        self.interface.poll_delay(now, &self.sockets)
    }
}

struct Frames {
    mtu: usize,
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
}

impl Device for Frames {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let frame = self.inbound.pop_front()?;
        Some((RxToken(frame), TxToken(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 14 + self.mtu;
        capabilities
    }
}

struct RxToken(Vec<u8>);

impl smoltcp::phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct TxToken<'a>(&'a mut VecDeque<Vec<u8>>);

impl smoltcp::phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}
