//! A guest that is hardly there: one TCP connection at a time, or one port of UDP, on a link that loses
//! nothing.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use net_engine::core::GuestAddresses;
use net_engine::link::{Checksum, FrameMeta, MAX_FRAME_BYTES, Segmentation, SegmentationKind};
use smoltcp::phy::{Checksum as PhyChecksum, ChecksumCapabilities};
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
    UdpRepr,
};

use crate::cable::CableGuest;

pub(crate) const MTU: u16 = 1500;

/// That of a guest whose interface has this MTU.
const MSS: u16 = MTU - 40;

/// The payload of a full frame: as many whole segments as Linux puts into one.
const FRAME_PAYLOAD: usize = 44 * MSS as usize;

const ETHERNET_BYTES: usize = 14;
const IP_BYTES: usize = 20;
const WINDOW_SCALE: u8 = 7;

const DATAGRAM_PORT: u16 = 40_000;

/// What came with the frames of one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) data_bytes: usize,
    pub(crate) is_connected: bool,
    pub(crate) is_finished: bool,
}

/// The guest's kernel and program.
pub(crate) struct Guest {
    cable: CableGuest,
    addresses: GuestAddresses,
    source: Ipv4Addr,
    to: (Ipv4Addr, u16),
    port: u16,
    /// What it sends next and what it expects next.
    seq: TcpSeqNumber,
    ack: TcpSeqNumber,
    frame: Box<[u8]>,
    payload: Box<[u8]>,
}

impl Guest {
    pub(crate) fn new(cable: CableGuest, addresses: GuestAddresses, to: (Ipv4Addr, u16)) -> Result<Self> {
        let source = addresses.ipv4.context("the link has no IPv4")?.guest;
        Ok(Self {
            cable,
            addresses,
            source,
            to,
            port: 40_000,
            seq: TcpSeqNumber(0),
            ack: TcpSeqNumber(0),
            frame: vec![0; MAX_FRAME_BYTES].into(),
            payload: vec![7; FRAME_PAYLOAD].into(),
        })
    }

    /// The first segment of the next connection.
    pub(crate) fn connect(&mut self) -> Result<()> {
        self.port += 1;
        (self.seq, self.ack) = (TcpSeqNumber(1_000), TcpSeqNumber(0));
        self.send(TcpControl::Syn, 0)?;
        self.cable.ring();
        Ok(())
    }

    /// Sends `bytes` of data, all of which fit the window, in frames as full as they go.
    pub(crate) fn write(&mut self, bytes: usize) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let count = left.min(FRAME_PAYLOAD);
            self.send(TcpControl::Psh, count)?;
            left -= count;
        }
        self.cable.ring();
        Ok(())
    }

    /// Closes its half.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.send(TcpControl::Fin, 0)?;
        self.cable.ring();
        Ok(())
    }

    /// Takes all frames that wait.
    pub(crate) fn hear(&mut self) -> Result<Heard> {
        self.hear_each(|_| Ok(()))
    }

    /// Takes all frames that wait and acknowledges each that asks for it.
    pub(crate) fn hear_and_acknowledge(&mut self) -> Result<Heard> {
        let heard = self.hear_each(|guest| guest.send(TcpControl::None, 0))?;
        self.cable.ring();
        Ok(heard)
    }

    fn hear_each(&mut self, mut on_segment: impl FnMut(&mut Self) -> Result<()>) -> Result<Heard> {
        let mut heard = Heard::default();
        while let Some(received) = self.cable.receive(&mut self.frame)? {
            let packet = Ipv4Packet::new_checked(&self.frame[ETHERNET_BYTES..received.len])?;
            let segment = TcpPacket::new_checked(packet.payload())?;
            ensure!(segment.dst_port() == self.port && !segment.rst(), "the connection was reset");
            if segment.syn() {
                self.ack = segment.seq_number();
                heard.is_connected = true;
            }
            let len = segment.segment_len();
            let data_bytes = segment.payload().len();
            ensure!(len == 0 || segment.seq_number() == self.ack, "a segment came twice or not at all");
            heard.is_finished |= segment.fin();
            heard.data_bytes += data_bytes;
            self.ack += len;
            if len > 0 {
                on_segment(self)?;
            }
        }
        Ok(heard)
    }

    /// Sends a datagram with `bytes` of data.
    pub(crate) fn write_datagram(&mut self, bytes: usize) -> Result<()> {
        let (source, destination) = (self.source, self.to.0);
        let datagram = UdpRepr { src_port: DATAGRAM_PORT, dst_port: self.to.1 };
        let header = Ipv4Repr {
            src_addr: source,
            dst_addr: destination,
            next_header: IpProtocol::Udp,
            payload_len: datagram.header_len() + bytes,
            hop_limit: 64,
        };
        let frame = &mut self.frame[..ETHERNET_BYTES + IP_BYTES + header.payload_len];
        frame[..6].copy_from_slice(&self.addresses.gateway_mac.0);
        frame[6..12].copy_from_slice(&self.addresses.guest_mac.0);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        let mut sums = ChecksumCapabilities::ignored();
        sums.ipv4 = PhyChecksum::Tx;
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[ETHERNET_BYTES..]);
        header.emit(&mut packet, &sums);
        let (from, to) = (IpAddress::from(IpAddr::V4(source)), IpAddress::from(IpAddr::V4(destination)));
        let payload = &self.payload[..bytes];
        let mut udp = UdpPacket::new_unchecked(packet.payload_mut());
        datagram.emit(&mut udp, &from, &to, bytes, |room| room.copy_from_slice(payload), &sums);
        let start = u16::try_from(ETHERNET_BYTES + IP_BYTES)?;
        let meta = FrameMeta { checksum: Checksum::Partial { start, offset: 6 }, segmentation: None };
        self.cable.send(&meta, frame)?;
        self.cable.ring();
        Ok(())
    }

    /// Takes the datagram that waits; how much data it has.
    pub(crate) fn hear_datagram(&mut self) -> Result<Option<usize>> {
        let Some(received) = self.cable.receive(&mut self.frame)? else { return Ok(None) };
        let packet = Ipv4Packet::new_checked(&self.frame[ETHERNET_BYTES..received.len])?;
        let datagram = UdpPacket::new_checked(packet.payload())?;
        ensure!(datagram.dst_port() == DATAGRAM_PORT, "an answer to another port");
        Ok(Some(datagram.payload().len()))
    }

    fn send(&mut self, control: TcpControl, payload_bytes: usize) -> Result<()> {
        let (source, destination) = (self.source, self.to.0);
        let is_syn = control == TcpControl::Syn;
        let segment = TcpRepr {
            src_port: self.port,
            dst_port: self.to.1,
            control,
            seq_number: self.seq,
            ack_number: (!is_syn).then_some(self.ack),
            window_len: u16::MAX,
            window_scale: is_syn.then_some(WINDOW_SCALE),
            max_seg_size: is_syn.then_some(MSS),
            sack_permitted: is_syn,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &self.payload[..payload_bytes],
        };
        let header = Ipv4Repr {
            src_addr: source,
            dst_addr: destination,
            next_header: IpProtocol::Tcp,
            payload_len: segment.buffer_len(),
            hop_limit: 64,
        };
        let frame = &mut self.frame[..ETHERNET_BYTES + IP_BYTES + segment.buffer_len()];
        frame[..6].copy_from_slice(&self.addresses.gateway_mac.0);
        frame[6..12].copy_from_slice(&self.addresses.guest_mac.0);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        // As a guest behind virtio-net does it: the sum of a segment is left to the other side.
        let mut sums = ChecksumCapabilities::ignored();
        sums.ipv4 = PhyChecksum::Tx;
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[ETHERNET_BYTES..]);
        header.emit(&mut packet, &sums);
        let (from, to) = (IpAddress::from(IpAddr::V4(source)), IpAddress::from(IpAddr::V4(destination)));
        segment.emit(&mut TcpPacket::new_unchecked(packet.payload_mut()), &from, &to, &sums);
        let header_bytes = u16::try_from(frame.len() - payload_bytes)?;
        let segmentation = (payload_bytes > usize::from(MSS)).then_some(Segmentation {
            kind: SegmentationKind::TcpV4,
            header_bytes,
            size: MSS,
        });
        let start = u16::try_from(ETHERNET_BYTES + IP_BYTES)?;
        let meta = FrameMeta { checksum: Checksum::Partial { start, offset: 16 }, segmentation };
        self.seq += segment.segment_len();
        self.cable.send(&meta, frame)?;
        Ok(())
    }
}
