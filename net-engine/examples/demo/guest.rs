//! A guest in this process: a second smoltcp stack at the other end of the cable.
//!
//! It stands where a sandbox's kernel would stand: Ethernet, ARP, its own TCP. Nothing of it knows
//! the engine.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use net_engine::core::GuestAddresses;
use net_engine::link::{FrameMeta, MAX_FRAME_BYTES, PairGuest};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{raw, tcp, udp};
use smoltcp::wire::{EthernetAddress, IpCidr, IpProtocol, IpVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const MTU: usize = 1500;
const RING_BYTES: usize = 64 << 10;

/// The guest's kernel.
#[derive(Clone)]
pub(crate) struct Guest(Rc<RefCell<Kernel>>);

struct Kernel {
    interface: Interface,
    sockets: SocketSet<'static>,
    wires: Wires,
    started: Instant,
    next_port: u16,
    driver: Option<Waker>,
}

/// Frames between the stack and the cable.
#[derive(Default)]
struct Wires {
    arrived: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

impl Guest {
    /// Boots the guest and starts its driver on this thread.
    pub(crate) fn boot(addresses: &GuestAddresses, cable: PairGuest) -> Self {
        let mut wires = Wires::default();
        let mut config = Config::new(EthernetAddress(addresses.guest_mac.0).into());
        config.random_seed = 7;
        let mut interface = Interface::new(config, &mut wires, smoltcp::time::Instant::ZERO);
        let (v4, v6) = addresses.ipv4.zip(addresses.ipv6).expect("the demo's link has both families");
        interface.update_ip_addrs(|list| {
            // A fresh interface has room for two addresses.
            let _ = list.push(IpCidr::new(v4.guest.into(), v4.prefix_len));
            let _ = list.push(IpCidr::new(v6.guest.into(), v6.prefix_len));
        });
        // A fresh interface has room for two routes.
        let _ = interface.routes_mut().add_default_ipv4_route(v4.gateway);
        let _ = interface.routes_mut().add_default_ipv6_route(v6.gateway);
        let sockets = SocketSet::new(Vec::new());
        let kernel =
            Kernel { interface, sockets, wires, started: Instant::now(), next_port: 40_000, driver: None };
        let guest = Self(Rc::new(RefCell::new(kernel)));
        tokio::task::spawn_local(drive(guest.clone(), cable));
        guest
    }

    /// Waits for somebody to connect to a port over one family, as a server in the guest would.
    #[allow(dead_code, reason = "the demo's guest serves nobody; that of the tests does")]
    pub(crate) fn listen(&self, at: SocketAddr) -> Listening {
        let ring = || tcp::SocketBuffer::new(vec![0; RING_BYTES]);
        let mut socket = tcp::Socket::new(ring(), ring());
        socket.listen((at.ip(), at.port())).expect("a port that is not 0");
        Listening { guest: self.clone(), handle: self.0.borrow_mut().sockets.add(socket) }
    }

    /// Connects to `address` as any program in the guest would.
    pub(crate) async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        let handle = {
            let kernel = &mut *self.0.borrow_mut();
            kernel.next_port += 1;
            let ring = || tcp::SocketBuffer::new(vec![0; RING_BYTES]);
            let mut socket = tcp::Socket::new(ring(), ring());
            socket
                .connect(kernel.interface.context(), (address.ip(), address.port()), kernel.next_port)
                .map_err(|error| io::Error::other(error.to_string()))?;
            kernel.sockets.add(socket)
        };
        let stream = Stream { guest: self.clone(), handle };
        self.wake();
        let connected = poll_fn(|context| {
            self.with_tcp(handle, |socket| -> Poll<io::Result<()>> {
                match socket.state() {
                    tcp::State::SynSent | tcp::State::SynReceived => {
                        socket.register_recv_waker(context.waker());
                        socket.register_send_waker(context.waker());
                        Poll::Pending
                    }
                    tcp::State::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                    tcp::State::Listen
                    | tcp::State::Established
                    | tcp::State::FinWait1
                    | tcp::State::FinWait2
                    | tcp::State::CloseWait
                    | tcp::State::Closing
                    | tcp::State::LastAck
                    | tcp::State::TimeWait => Poll::Ready(Ok(())),
                }
            })
        });
        tokio::time::timeout(Duration::from_secs(5), connected)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(stream)
    }

    /// Sends one datagram to `server` and waits for the answer.
    pub(crate) async fn exchange(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let handle = {
            let kernel = &mut *self.0.borrow_mut();
            kernel.next_port += 1;
            let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 8192]);
            let mut socket = udp::Socket::new(buffer(), buffer());
            socket.bind(kernel.next_port).map_err(|error| io::Error::other(error.to_string()))?;
            socket
                .send_slice(query, (server.ip(), server.port()))
                .map_err(|error| io::Error::other(error.to_string()))?;
            kernel.sockets.add(socket)
        };
        self.wake();
        let answered = poll_fn(|context| {
            let kernel = &mut *self.0.borrow_mut();
            let socket = kernel.sockets.get_mut::<udp::Socket<'_>>(handle);
            match socket.recv() {
                Ok((bytes, _)) => Poll::Ready(bytes.to_vec()),
                Err(_) => {
                    socket.register_recv_waker(context.waker());
                    Poll::Pending
                }
            }
        });
        let answer = tokio::time::timeout(Duration::from_secs(5), answered).await;
        self.0.borrow_mut().sockets.remove(handle);
        answer.map_err(|_| io::ErrorKind::TimedOut.into())
    }

    /// A port of the guest's own choice, for datagrams to anybody.
    #[allow(dead_code, reason = "the demo shows no datagrams; the tests do")]
    pub(crate) fn datagrams(&self) -> Datagrams {
        const PIECES: usize = 64;
        let kernel = &mut *self.0.borrow_mut();
        kernel.next_port += 1;
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; PIECES], vec![0; RING_BYTES]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(kernel.next_port).expect("a port of its own");
        let buffer = || raw::PacketBuffer::new(vec![raw::PacketMetadata::EMPTY; PIECES], vec![0; RING_BYTES]);
        let errors = raw::Socket::new(Some(IpVersion::Ipv4), Some(IpProtocol::Icmp), buffer(), buffer());
        let port = kernel.next_port;
        let (socket, errors) = (kernel.sockets.add(socket), kernel.sockets.add(errors));
        Datagrams { guest: self.clone(), port, socket, errors }
    }

    fn with_tcp<R>(&self, handle: SocketHandle, work: impl FnOnce(&mut tcp::Socket<'static>) -> R) -> R {
        work(self.0.borrow_mut().sockets.get_mut(handle))
    }

    fn wake(&self) {
        if let Some(driver) = self.0.borrow_mut().driver.take() {
            driver.wake();
        }
    }
}

/// Moves frames and lets the stack work, until the cable is cut.
async fn drive(guest: Guest, mut cable: PairGuest) {
    let mut buffer = vec![0; MAX_FRAME_BYTES];
    let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
    poll_fn(|context| {
        let kernel = &mut *guest.0.borrow_mut();
        kernel.driver = Some(context.waker().clone());
        loop {
            while let Poll::Ready(received) = cable.poll_receive(context, &mut buffer) {
                let Ok(received) = received else { return Poll::Ready(()) };
                kernel.wires.arrived.push_back(buffer[..received.len].to_vec());
            }
            let now = smoltcp::time::Instant::from_micros(
                i64::try_from(kernel.started.elapsed().as_micros()).unwrap_or(i64::MAX),
            );
            kernel.interface.poll(now, &mut kernel.wires, &mut kernel.sockets);
            while let Some(frame) = kernel.wires.leaving.front() {
                match cable.poll_send(context, &FrameMeta::default(), frame) {
                    Poll::Ready(Ok(())) => drop(kernel.wires.leaving.pop_front()),
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if let Some(delay) = kernel.interface.poll_delay(now, &kernel.sockets) {
                let deadline = tokio::time::Instant::now() + delay.into();
                sleep.as_mut().reset(deadline);
                if sleep.as_mut().poll(context).is_ready() {
                    continue;
                }
            }
            return Poll::Pending;
        }
    })
    .await;
}

impl Device for Wires {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Arrived(frame), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Self::TxToken<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU + 14;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

/// A server of the guest for one connection.
pub(crate) struct Listening {
    guest: Guest,
    handle: SocketHandle,
}

impl Listening {
    /// The connection, and from where it comes.
    #[allow(dead_code, reason = "see `Guest::listen`")]
    pub(crate) async fn accept(self) -> (Stream, SocketAddr) {
        let from = poll_fn(|context| {
            self.guest.with_tcp(self.handle, |socket| match socket.remote_endpoint() {
                Some(from) if socket.may_send() => Poll::Ready(SocketAddr::new(from.addr.into(), from.port)),
                Some(_) | None => {
                    socket.register_recv_waker(context.waker());
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
            })
        });
        let from = from.await;
        (Stream { guest: self.guest, handle: self.handle }, from)
    }
}

/// A TCP connection of the guest.
pub(crate) struct Stream {
    guest: Guest,
    handle: SocketHandle,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = self.guest.with_tcp(self.handle, |socket| {
            let read = socket.recv(|bytes| {
                let count = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..count]);
                (count, count)
            });
            match read {
                Ok(0) => {
                    socket.register_recv_waker(context.waker());
                    Poll::Pending
                }
                Ok(_) | Err(tcp::RecvError::Finished) => Poll::Ready(Ok(())),
                Err(tcp::RecvError::InvalidState) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        });
        self.guest.wake();
        poll
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = self.guest.with_tcp(self.handle, |socket| match socket.send_slice(bytes) {
            Ok(0) => {
                socket.register_send_waker(context.waker());
                Poll::Pending
            }
            Ok(count) => Poll::Ready(Ok(count)),
            Err(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        });
        self.guest.wake();
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // In one piece: a TLS alert stands behind another record.
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        self.poll_write(context, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guest.with_tcp(self.handle, |socket| socket.close());
        self.guest.wake();
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    /// Resets the connection.
    #[allow(dead_code, reason = "the demo's guest is well-behaved; that of the tests is not")]
    pub(crate) fn abort(&self) {
        self.guest.with_tcp(self.handle, tcp::Socket::abort);
        self.guest.wake();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The scenes are few: the socket closes and stays in the set until the demo ends.
        self.guest.with_tcp(self.handle, |socket| socket.close());
        self.guest.wake();
    }
}

/// A UDP socket of the guest.
#[allow(dead_code, reason = "the demo shows no datagrams; the tests do")]
pub(crate) struct Datagrams {
    guest: Guest,
    port: u16,
    socket: SocketHandle,
    errors: SocketHandle,
}

#[allow(dead_code, reason = "the demo shows no datagrams; the tests do")]
impl Datagrams {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn send(&self, to: SocketAddr, payload: &[u8]) {
        let kernel = &mut *self.guest.0.borrow_mut();
        let socket = kernel.sockets.get_mut::<udp::Socket<'_>>(self.socket);
        socket.send_slice(payload, (to.ip(), to.port())).expect("room for a datagram");
        if let Some(driver) = kernel.driver.take() {
            driver.wake();
        }
    }

    pub(crate) async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        poll_fn(|context| {
            let kernel = &mut *self.guest.0.borrow_mut();
            let socket = kernel.sockets.get_mut::<udp::Socket<'_>>(self.socket);
            let Ok((bytes, from)) = socket.recv() else {
                socket.register_recv_waker(context.waker());
                return Poll::Pending;
            };
            let from = SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port);
            Poll::Ready((bytes.to_vec(), from))
        })
        .await
    }

    /// Type and code of the next ICMP error about what this socket has sent over IPv4.
    pub(crate) async fn error(&self) -> (u8, u8) {
        const HEADERS_BYTES: usize = 20 + 8 + 20;
        poll_fn(|context| {
            let kernel = &mut *self.guest.0.borrow_mut();
            let socket = kernel.sockets.get_mut::<raw::Socket<'_>>(self.errors);
            while let Ok(packet) = socket.recv() {
                if packet.get(HEADERS_BYTES..HEADERS_BYTES + 2) == Some(&self.port.to_be_bytes()) {
                    return Poll::Ready((packet[20], packet[21]));
                }
            }
            socket.register_recv_waker(context.waker());
            Poll::Pending
        })
        .await
    }
}

/// The address a resolver at the gateway listens on.
pub(crate) fn resolver(addresses: &GuestAddresses) -> SocketAddr {
    let gateway = addresses.ipv4.expect("the demo's link has IPv4").gateway;
    SocketAddr::new(IpAddr::V4(gateway), 53)
}
