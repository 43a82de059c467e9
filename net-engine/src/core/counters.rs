/// Why a frame of the guest went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
    /// A header is cut short or contradicts itself.
    Malformed,
    /// The source MAC, the source address or the neighbour claim is not the guest's.
    Spoofed,
    /// The frame is for another machine on a link that has none.
    NotForUs,
    /// Broadcast, multicast, loopback or unspecified destinations, and unknown protocols.
    Unroutable,
    /// IP fragments of anything but UDP, and of datagrams that cannot be put together.
    Fragment,
    /// A checksum that does not match.
    Checksum,
    /// A table is full, or memory short.
    Limit,
}

impl DropReason {
    /// The label used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Spoofed => "spoofed",
            Self::NotForUs => "not_for_us",
            Self::Unroutable => "unroutable",
            Self::Fragment => "fragment",
            Self::Checksum => "checksum",
            Self::Limit => "limit",
        }
    }
}

/// What went over a guest's link since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Frames from the guest.
    pub frames_received: u64,
    /// Bytes of those frames, Ethernet headers included.
    pub bytes_received: u64,
    /// Frames to the guest.
    pub frames_sent: u64,
    /// Bytes of those frames.
    pub bytes_sent: u64,
    /// TCP flows accepted.
    pub flows_opened: u64,
    /// TCP flows refused by policy, by limit or by upstream.
    pub flows_refused: u64,
    /// Those of them that were one too many for their destination
    /// ([`Limits::max_flows_per_destination`](net_core::Limits::max_flows_per_destination)).
    pub flows_over_destination: u64,
    /// Those of them that were more than may begin
    /// ([`Limits::new_flows_per_second`](net_core::Limits::new_flows_per_second)).
    pub flows_over_rate: u64,
    /// RSTs that were not sent ([`Limits::resets_per_second`](net_core::Limits::resets_per_second)).
    pub resets_withheld: u64,
    /// Errors of ICMP that were not sent
    /// ([`Limits::icmp_errors_per_second`](net_core::Limits::icmp_errors_per_second)).
    pub icmp_errors_withheld: u64,
    /// Errors of ICMP that found no room on their way to the link.
    pub icmp_errors_lost: u64,
    /// TCP flows that hold buffers now.
    pub flows_open: u64,
    /// Bytes of memory that the rings of those flows may hold now, in whole pages.
    pub ring_bytes: u64,
    /// SYNs that wait for a decision or a dial now.
    pub syns_held: u64,
    /// How often the link was left alone because more would have been too much for
    /// [`GuestConfig::shaping`](crate::GuestConfig::shaping), of either direction.
    pub link_waits: u64,
    /// How often a stream waited because its rule's flows had carried enough.
    pub stream_waits: u64,
    /// Datagrams, and who may send them.
    pub udp: UdpCounters,
    /// TLS streams whose name was new and has waited for its turn.
    pub names_held: u64,
    /// Frames dropped, by [`DropReason`] in the order of its variants.
    pub dropped: [u64; 7],
}

/// What went through the guest's ports of UDP, DNS aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpCounters {
    /// Ports of the guest that have a socket of the host now.
    pub mappings: u64,
    /// Destinations of all of them now.
    pub peers: u64,
    /// Datagrams that were sent upstream.
    pub sent: u64,
    /// Datagrams that were sent on to the guest.
    pub received: u64,
    /// Datagrams from upstream that were dropped: the guest has not sent to where they came from.
    pub filtered: u64,
    /// Datagrams that were dropped for lack of room, as on any link.
    pub lost: u64,
    /// Datagrams of either direction that were dropped because their rule's flows had carried enough.
    pub shaped: u64,
}

impl Counters {
    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        let slot = match reason {
            DropReason::Malformed => 0,
            DropReason::Spoofed => 1,
            DropReason::NotForUs => 2,
            DropReason::Unroutable => 3,
            DropReason::Fragment => 4,
            DropReason::Checksum => 5,
            DropReason::Limit => 6,
        };
        self.dropped[slot] += 1;
    }

    /// Frames dropped, whatever the reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}
