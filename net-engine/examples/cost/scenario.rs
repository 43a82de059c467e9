//! What guest and upstream do, round by round.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use net_engine::link::LinkCapabilities;
use net_engine::{Engine, GuestConfig};
use net_policy::{Action, Policy, parse_target};

use crate::cable::cable;
use crate::guest::{Guest, MTU};
use crate::worker::Worker;

/// Where the guest connects to; it is dialled on loopback.
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(9, 9, 9, 10), 7);

const MIB: usize = 1 << 20;

/// What the guest sends at once: the window it is offered.
const UP_BYTES: usize = 256 << 10;

/// What upstream sends at once: a little less than loopback carries in one segment, of which the
/// engine learns by one event.
const DOWN_BYTES: usize = 60 << 10;

const REQUEST_BYTES: usize = 1;
const RESPONSE_BYTES: usize = 1 << 10;
const PACKET_BYTES: usize = 64;

/// As much as QUIC puts into one.
const DATAGRAM_BYTES: usize = 1200;

/// See the program's usage.
#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    Up,
    Down,
    Flows,
    Packets,
    Datagrams,
}

impl Scenario {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "up" => Some(Self::Up),
            "down" => Some(Self::Down),
            "flows" => Some(Self::Flows),
            "packets" => Some(Self::Packets),
            "datagrams" => Some(Self::Datagrams),
            _ => None,
        }
    }

    /// What comes before the count: windows of the kernel's TCP open, tables and queues reach their
    /// size.
    fn warm_up(self) -> usize {
        match self {
            Self::Up | Self::Down => 8,
            Self::Flows | Self::Packets | Self::Datagrams => 32,
        }
    }
}

/// Guest, engine and upstream.
pub(crate) struct Stage {
    guest: Guest,
    worker: Worker,
    listener: TcpListener,
    /// On the same port.
    datagrams: UdpSocket,
    buffer: Box<[u8]>,
    // In this order: the guest's network ends before the thread that carries it.
    _handle: net_engine::Guest,
    _engine: Engine,
}

impl Stage {
    pub(crate) fn build() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let datagrams = UdpSocket::bind(listener.local_addr()?)?;
        let server = SocketAddr::new(IpAddr::V4(SERVER.0), SERVER.1);
        let rule = parse_target(&server.to_string())?.into_rule(Action::Allow);
        let config = GuestConfig {
            policy: Policy::new(vec![rule]),
            redirects: HashMap::from([(server, listener.local_addr()?)]),
            ..GuestConfig::default()
        };
        let (link, cable) = cable(LinkCapabilities { mtu: MTU, offload: true });
        let engine = Engine::builder().build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let handle = runtime.block_on(async {
            let handle = engine.attach(0, Box::new(link), config).await?;
            // Whoever has answered has started, and has its name.
            handle.counters().await.context("the guest has stopped")?;
            anyhow::Ok(handle)
        })?;
        let worker = Worker::find()?;
        worker.rest()?;
        let guest = Guest::new(cable, *handle.addresses(), SERVER)?;
        let buffer = vec![7; UP_BYTES.max(DOWN_BYTES)].into();
        Ok(Self { guest, worker, listener, datagrams, buffer, _handle: handle, _engine: engine })
    }

    pub(crate) fn worker_id(&self) -> u32 {
        self.worker.id()
    }

    pub(crate) fn play(&mut self, scenario: Scenario, count: usize) -> Result<()> {
        let count = scenario.warm_up() + count;
        match scenario {
            Scenario::Flows => return (0..count).try_for_each(|_| self.flow()),
            Scenario::Datagrams => return (0..count).try_for_each(|_| self.datagram()),
            Scenario::Up | Scenario::Down | Scenario::Packets => {}
        }
        let mut upstream = self.connect()?;
        match scenario {
            Scenario::Up => {
                portions(count * MIB, UP_BYTES).try_for_each(|bytes| self.up(&mut upstream, bytes))
            }
            Scenario::Down => {
                portions(count * MIB, DOWN_BYTES).try_for_each(|bytes| self.down(&mut upstream, bytes))
            }
            Scenario::Packets => (0..count).try_for_each(|_| self.exchange(&mut upstream, PACKET_BYTES)),
            Scenario::Flows | Scenario::Datagrams => Ok(()),
        }
    }

    fn connect(&mut self) -> Result<TcpStream> {
        self.guest.connect()?;
        self.worker.rest()?;
        ensure!(self.guest.hear_and_acknowledge()?.is_connected, "the guest was not connected");
        self.worker.rest()?;
        let (upstream, _) = self.listener.accept()?;
        upstream.set_nodelay(true)?;
        Ok(upstream)
    }

    fn up(&mut self, upstream: &mut TcpStream, bytes: usize) -> Result<()> {
        self.guest.write(bytes)?;
        self.worker.rest()?;
        upstream.read_exact(&mut self.buffer[..bytes])?;
        self.worker.rest()?;
        self.guest.hear()?;
        Ok(())
    }

    fn down(&mut self, upstream: &mut TcpStream, bytes: usize) -> Result<()> {
        upstream.write_all(&self.buffer[..bytes])?;
        self.worker.rest()?;
        ensure!(self.guest.hear_and_acknowledge()?.data_bytes == bytes, "data stayed behind");
        self.worker.rest()
    }

    fn exchange(&mut self, upstream: &mut TcpStream, response_bytes: usize) -> Result<()> {
        self.guest.write(PACKET_BYTES)?;
        self.worker.rest()?;
        upstream.read_exact(&mut self.buffer[..PACKET_BYTES])?;
        upstream.write_all(&self.buffer[..response_bytes])?;
        self.worker.rest()?;
        ensure!(self.guest.hear()?.data_bytes == response_bytes, "no response");
        Ok(())
    }

    fn datagram(&mut self) -> Result<()> {
        self.guest.write_datagram(DATAGRAM_BYTES)?;
        self.worker.rest()?;
        let (count, from) = self.datagrams.recv_from(&mut self.buffer)?;
        ensure!(count == DATAGRAM_BYTES, "{count} bytes of a datagram");
        self.datagrams.send_to(&self.buffer[..count], from)?;
        self.worker.rest()?;
        ensure!(self.guest.hear_datagram()? == Some(DATAGRAM_BYTES), "no answer");
        Ok(())
    }

    fn flow(&mut self) -> Result<()> {
        let mut upstream = self.connect()?;
        self.guest.write(REQUEST_BYTES)?;
        self.worker.rest()?;
        upstream.read_exact(&mut self.buffer[..REQUEST_BYTES])?;
        upstream.write_all(&self.buffer[..RESPONSE_BYTES])?;
        self.worker.rest()?;
        ensure!(self.guest.hear_and_acknowledge()?.data_bytes == RESPONSE_BYTES, "no response");
        self.worker.rest()?;
        drop(upstream);
        self.worker.rest()?;
        ensure!(self.guest.hear_and_acknowledge()?.is_finished, "upstream's end was not passed on");
        self.worker.rest()?;
        self.guest.close()?;
        self.worker.rest()?;
        self.guest.hear()?;
        Ok(())
    }
}

/// `total` in portions of `each`, the last one smaller.
fn portions(total: usize, each: usize) -> impl Iterator<Item = usize> {
    (0..total.div_ceil(each)).map(move |index| each.min(total - index * each))
}
