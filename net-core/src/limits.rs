use std::time::Duration;

/// Every bound of one guest's network, with defaults that suit a sandbox of a few GiB.
///
/// Counts are per guest. A bound that is reached refuses the newcomer, visibly; what was accepted before
/// yields only where the field says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct Limits {
    /// TCP flows that hold buffers at one time; whoever connects to published ports has half of them at most.
    pub max_tcp_flows: usize,
    /// TCP flows of the guest to one address and port at one time, those that are being dialled included; with
    /// one more the guest sees a RST. DNS and published ports are not counted.
    pub max_flows_per_destination: usize,
    /// TCP flows that the guest may begin a second, whatever becomes of them; one more is refused before it is
    /// decided, so that a scan of ports is no faster. Published ports are not counted.
    pub new_flows_per_second: u32,
    /// As many begin at once, but not beside a flood of SYNs: then there is the rate alone.
    pub new_flow_burst: u32,
    /// SYNs that wait for a decision or a dial; and likewise connections by published ports that the guest has not
    /// answered, of which each port has an equal share.
    pub max_held_syns: usize,
    /// RSTs that answer what no flow is there for, or one flow too many, per second and as many at once; what
    /// is more has no answer. Flows that are refused one by one are not counted.
    pub resets_per_second: u32,
    /// Errors of ICMP that the guest is sent, per second and as many at once (RFC 1812, section 4.3.2.8;
    /// RFC 4443, section 2.4 (f)).
    pub icmp_errors_per_second: u32,
    /// TIME-WAIT tombstones; the oldest yields.
    pub max_tombstones: usize,
    /// Receive ring of one TCP flow: the largest window the guest is offered.
    pub tcp_rx_buffer_bytes: usize,
    /// Send ring of one TCP flow: what may be in flight towards the guest.
    pub tcp_tx_buffer_bytes: usize,
    /// Memory that the rings of all TCP flows may hold together. Above it each flow takes no more than 64
    /// KiB of the guest's bytes and 16 KiB of upstream's, so that this and 84 KiB a flow are the most there
    /// ever is; what is more waits outside. A flow that is quiet for a second holds nothing.
    pub max_ring_bytes: usize,
    /// Frames that wait for the link, and no more once they hold 512 KiB; when they are out, sockets wait, nothing is
    /// dropped.
    pub max_queued_frames: usize,
    /// Frames taken from the link before timers and relays get their turn.
    pub max_frames_per_wakeup: usize,
    /// A dial without an answer.
    pub connect_timeout: Duration,
    /// An open stream on which neither side moves a byte.
    pub tcp_idle_timeout: Duration,
    /// A stream one side of which has ended, without progress on the other.
    pub drain_timeout: Duration,
    /// The first flight of a stream that is looked into, in bytes.
    pub max_hello_bytes: usize,
    /// The first flight of a stream that is looked into, in time.
    pub hello_timeout: Duration,
    /// The TLS handshake with the guest.
    pub guest_handshake_timeout: Duration,
    /// The TLS handshake with upstream.
    pub upstream_handshake_timeout: Duration,
    /// One DNS exchange with an upstream resolver.
    pub dns_timeout: Duration,
    /// DNS queries in flight.
    pub max_dns_queries: usize,
    /// Questions that are put to resolvers, per second and as many at once; answers that are kept are no
    /// question. What is more is answered with SERVFAIL.
    pub dns_exchanges_per_second: u32,
    /// DNS answers that are kept, in bytes; the oldest yields.
    pub max_dns_cache_bytes: usize,
    /// Addresses pinned to names, over all names.
    pub max_pins: usize,
    /// Addresses pinned to one name.
    pub max_pins_per_name: usize,
    /// Names that have addresses of their own; the one that was idle for longest yields, once nobody may
    /// remember its address. A name for which there is no room is answered with its real addresses.
    pub max_virtual_names: usize,
    /// How long a pin outlives the TTL it was given with, at most 24 h: programs cache longer than they
    /// are told.
    pub pin_grace: Duration,
    /// Leaf certificates kept.
    pub max_leaves: usize,
    /// Names for which TLS is opened and no leaf is kept, a second: each costs a minting and most often a
    /// handshake with an upstream that is new as well. What is more waits, in the order it came, so that a
    /// guest's new names do not starve its other flows, nor other guests.
    pub leaves_per_second: u32,
    /// As many such names pass at once.
    pub leaf_burst: u32,
    /// How long such a name may wait: where more wait than pass in this time, a newcomer is refused at once.
    pub max_leaf_wait: Duration,
    /// Bytes of one HTTP header block.
    pub max_header_bytes: usize,
    /// Interim responses (102, 103) to one request that are passed on; together they are no more than
    /// one header block.
    pub max_interim_responses: usize,
    /// Streams of one HTTP/2 connection that the guest may have open.
    pub max_http2_streams: u32,
    /// What either side of an HTTP/2 connection may send on one stream before the other has taken it.
    pub http2_stream_window_bytes: usize,
    /// The same for all streams of the connection together; more than that of one, so that one that
    /// stalls does not stall the others.
    pub http2_window_bytes: usize,
    /// A request body of a stated length up to this is read whole before its request goes on, so
    /// that nothing of a request that must not leave ever does.
    pub max_held_body_bytes: usize,
    /// What all bodies that are read whole may hold at one time; others are searched as they pass.
    pub max_held_bytes: usize,
    /// How long a body that is read whole may take to come; what is missing then is searched as it
    /// passes.
    pub held_body_timeout: Duration,
    /// How long values that were replaced or revoked are still turned into placeholders in responses,
    /// those of the last eight swaps.
    pub retired_secret_timeout: Duration,
    /// Ports of the guest that have a UDP socket of the host; the least recently used yields.
    pub max_udp_mappings: usize,
    /// Destinations of all those ports together; the least recently used yields, first one of the port
    /// that asks for another.
    pub max_udp_peers: usize,
    /// Datagrams to destinations that a port of the guest does not send to yet, per second; what is more is
    /// dropped. DNS and published ports are not counted.
    pub new_udp_flows_per_second: u32,
    /// As many at once.
    pub new_udp_flow_burst: u32,
    /// A destination over UDP that neither side has sent anything to or from.
    pub udp_idle_timeout: Duration,
    /// The same after a single datagram of the guest to a well-known port: a question, and its answer.
    pub udp_exchange_timeout: Duration,
    /// Identifiers of ICMP echo that have a socket of the host; the least recently used yields.
    pub max_echo_identifiers: usize,
    /// Destinations of all those identifiers together; the least recently used yields.
    pub max_echo_peers: usize,
    /// A destination that was not asked for an echo and gave none.
    pub echo_idle_timeout: Duration,
    /// Echoes that are asked for, per second and as many at once; what is more is dropped.
    pub echoes_per_second: u32,
    /// QUIC connections whose hello is read or remembered at one time, 32 KiB each; the oldest yields.
    pub max_quic_hellos: usize,
    /// Datagrams of one such connection that wait for the end of its hello, in bytes.
    pub max_held_datagram_bytes: usize,
    /// What datagrams of the guest that came in fragments hold while others are missing, in bytes; the
    /// oldest yields.
    pub max_fragment_bytes: usize,
    /// How long the missing ones may take.
    pub fragment_timeout: Duration,
    /// Events that wait for the embedder; the oldest yields and the loss is counted.
    pub max_queued_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_tcp_flows: 16_384,
            max_flows_per_destination: 4_096,
            new_flows_per_second: 4_096,
            new_flow_burst: 16_384,
            max_held_syns: 1_024,
            resets_per_second: 1_000,
            icmp_errors_per_second: 1_000,
            max_tombstones: 1_024,
            tcp_rx_buffer_bytes: 256 << 10,
            tcp_tx_buffer_bytes: 512 << 10,
            max_ring_bytes: 1 << 30,
            max_queued_frames: 32,
            max_frames_per_wakeup: 64,
            connect_timeout: Duration::from_secs(60),
            tcp_idle_timeout: Duration::from_secs(2 * 60 * 60),
            drain_timeout: Duration::from_secs(30),
            max_hello_bytes: 64 << 10,
            hello_timeout: Duration::from_secs(10),
            guest_handshake_timeout: Duration::from_secs(10),
            upstream_handshake_timeout: Duration::from_secs(10),
            dns_timeout: Duration::from_secs(5),
            max_dns_queries: 256,
            dns_exchanges_per_second: 500,
            max_dns_cache_bytes: 4 << 20,
            max_pins: 4_096,
            max_pins_per_name: 64,
            max_virtual_names: 4_096,
            pin_grace: Duration::from_secs(60),
            max_leaves: 1_000,
            leaves_per_second: 250,
            leaf_burst: 500,
            max_leaf_wait: Duration::from_secs(4),
            max_header_bytes: 64 << 10,
            max_interim_responses: 16,
            max_http2_streams: 100,
            http2_stream_window_bytes: 1 << 20,
            http2_window_bytes: 2 << 20,
            max_held_body_bytes: 1 << 20,
            max_held_bytes: 16 << 20,
            held_body_timeout: Duration::from_secs(30),
            retired_secret_timeout: Duration::from_secs(10 * 60),
            max_udp_mappings: 1_024,
            max_udp_peers: 4_096,
            new_udp_flows_per_second: 1_024,
            new_udp_flow_burst: 1_024,
            udp_idle_timeout: Duration::from_secs(120),
            udp_exchange_timeout: Duration::from_secs(30),
            max_echo_identifiers: 64,
            max_echo_peers: 1_024,
            echo_idle_timeout: Duration::from_secs(30),
            echoes_per_second: 1_000,
            max_quic_hellos: 64,
            max_held_datagram_bytes: 16 << 10,
            max_fragment_bytes: 1 << 20,
            fragment_timeout: Duration::from_secs(5),
            max_queued_events: 1_024,
        }
    }
}
