/// A page of the host's memory, or a part of one.
const PAGE_BYTES: usize = 4_096;

/// How much memory the rings of a flow may have touched: never less than they have, but for the few pages that
/// rings keep warm from the flow before.
///
/// smoltcp does not say where its rings stand, so this mirrors them: the receive ring only goes forward, and
/// round; the send ring starts from its beginning whenever it was empty. A page that was touched stays until
/// it is [given back](crate::buffer_pool::BufferPool::give_back_rx).
#[derive(Clone, Debug)]
pub(crate) struct RingUse {
    rx_capacity: usize,
    tx_capacity: usize,
    /// The sequence number of the guest's first byte.
    first_seq: u32,
    /// Bytes read so far: where the receive ring's front is, before going round.
    taken: u64,
    /// The end of the furthest byte the receive ring may hold, counted like `taken`, of which it is at most
    /// `rx_capacity` ahead.
    high: u64,
    /// `taken` when the receive ring's pages were given back.
    rx_base: u64,
    /// Where the next byte goes in the send ring, if that is not empty before.
    tx_at: usize,
    /// The furthest the send ring was written since its pages were given back.
    tx_touched: usize,
    /// What the pool counts for this flow.
    pub(crate) charged: usize,
}

impl RingUse {
    /// Fresh rings of these sizes, for a guest whose SYN had the sequence number before `first_seq`.
    pub(crate) const fn new(rx_capacity: usize, tx_capacity: usize, first_seq: u32) -> Self {
        Self {
            rx_capacity,
            tx_capacity,
            first_seq,
            taken: 0,
            high: 0,
            rx_base: 0,
            tx_at: 0,
            tx_touched: 0,
            charged: 0,
        }
    }

    /// The guest's first byte has the sequence number `first_seq`, which was not known before; none has come.
    pub(crate) fn begin(&mut self, first_seq: u32) {
        self.first_seq = first_seq;
    }

    /// A segment of the guest with `payload` bytes from sequence number `seq` on was taken.
    pub(crate) fn note_segment(&mut self, seq: u32, payload: usize) {
        self.high = self.high.max(self.end_of(seq, payload));
    }

    /// `count` bytes were read.
    pub(crate) fn note_read(&mut self, count: usize) {
        self.taken += as_u64(count);
    }

    /// `count` bytes were written behind `queued` others.
    pub(crate) fn note_write(&mut self, queued: usize, count: usize) {
        let end = self.write_position(queued) + count;
        if end < self.tx_capacity {
            self.tx_at = end;
            self.tx_touched = self.tx_touched.max(end);
        } else {
            self.tx_at = end - self.tx_capacity;
            self.tx_touched = self.tx_capacity;
        }
    }

    /// Whether bytes may lie in the receive ring before which others are missing; `queued` are those that
    /// can be read.
    pub(crate) fn has_holes(&self, queued: usize) -> bool {
        self.high > self.taken + as_u64(queued)
    }

    /// The receive ring's share of [`resident`](Self::resident).
    pub(crate) fn rx_resident(&self) -> usize {
        self.rx_up_to(self.high)
    }

    /// What the receive ring would have touched after this segment.
    pub(crate) fn rx_resident_after(&self, seq: u32, payload: usize) -> usize {
        self.rx_up_to(self.high.max(self.end_of(seq, payload)))
    }

    /// The send ring's share of [`resident`](Self::resident).
    pub(crate) fn tx_resident(&self) -> usize {
        self.tx_touched.next_multiple_of(PAGE_BYTES)
    }

    /// What both rings may have touched, in bytes of whole pages.
    pub(crate) fn resident(&self) -> usize {
        self.rx_resident() + self.tx_resident()
    }

    /// How many bytes may be written behind `queued` others without touching more than `bytes` of the ring,
    /// or than was touched already.
    pub(crate) fn tx_room(&self, queued: usize, bytes: usize) -> usize {
        self.tx_touched.max(bytes).saturating_sub(self.write_position(queued))
    }

    /// The receive ring is empty, and its pages are the kernel's again.
    pub(crate) fn rx_given_back(&mut self) {
        self.rx_base = self.taken;
    }

    /// The send ring is empty, and its pages are the kernel's again.
    pub(crate) fn tx_given_back(&mut self) {
        self.tx_touched = 0;
    }

    fn write_position(&self, queued: usize) -> usize {
        if queued == 0 { 0 } else { self.tx_at }
    }

    fn rx_up_to(&self, end: u64) -> usize {
        if end <= self.rx_base {
            return 0;
        }
        let page = as_u64(PAGE_BYTES);
        let pages = end.div_ceil(page) - self.rx_base / page;
        let bytes = usize::try_from(pages).map_or(usize::MAX, |pages| pages.saturating_mul(PAGE_BYTES));
        bytes.min(self.rx_capacity.next_multiple_of(PAGE_BYTES))
    }

    /// The end of what the receive ring keeps of a segment; 0 of one before or beyond the window, of which it
    /// keeps nothing.
    fn end_of(&self, seq: u32, payload: usize) -> u64 {
        let taken_low = u32::try_from(self.taken & u64::from(u32::MAX)).unwrap_or(0);
        let front = self.first_seq.wrapping_add(taken_low);
        // Serial number arithmetic (RFC 1982): half of the numbers lie before the front.
        let ahead = i64::from(seq.wrapping_sub(front).cast_signed());
        let capacity = i64::try_from(self.rx_capacity).unwrap_or(i64::MAX);
        let end = ahead.saturating_add(i64::try_from(payload).unwrap_or(i64::MAX));
        // Behind the guest's FIN the window lies one further: it has a sequence number too.
        if payload == 0 || ahead > capacity {
            return 0;
        }
        self.taken + u64::try_from(end.min(capacity)).unwrap_or(0)
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RX: usize = 16 << 10;
    const TX: usize = 32 << 10;

    fn rings(first_seq: u32) -> RingUse {
        RingUse::new(RX, TX, first_seq)
    }

    #[test]
    fn the_receive_ring_is_counted_by_the_pages_it_went_through() {
        for first_seq in [1, u32::MAX - 10] {
            let mut rings = rings(first_seq);
            assert_eq!(rings.resident(), 0, "{first_seq}");
            rings.note_segment(first_seq, 1);
            rings.note_read(1);
            assert_eq!((rings.resident(), rings.has_holes(0)), (PAGE_BYTES, false), "{first_seq}");
            // Byte after byte in the same page.
            for count in 1..100 {
                rings.note_segment(first_seq.wrapping_add(count), 1);
                rings.note_read(1);
            }
            assert_eq!(rings.resident(), PAGE_BYTES, "{first_seq}");
            rings.note_segment(first_seq.wrapping_add(100), 5_000);
            assert_eq!(rings.resident(), 2 * PAGE_BYTES, "{first_seq}");
            rings.note_read(5_000);
            rings.rx_given_back();
            assert_eq!(rings.resident(), 0, "{first_seq}");
            rings.note_segment(first_seq.wrapping_add(5_100), 1);
            assert_eq!(rings.resident(), PAGE_BYTES, "{first_seq}");
        }
    }

    #[test]
    fn the_receive_ring_goes_round() {
        let mut rings = rings(0);
        for round in 0..20 {
            rings.note_segment(round * 1_000, 1_000);
            rings.note_read(1_000);
        }
        assert_eq!(rings.rx_resident(), RX);
    }

    #[test]
    fn a_hole_is_a_hole_until_it_is_filled() {
        let mut rings = rings(7);
        rings.note_segment(7 + 8_192, 100);
        assert_eq!((rings.has_holes(0), rings.rx_resident()), (true, 3 * PAGE_BYTES));
        rings.note_segment(7, 8_192);
        assert!(!rings.has_holes(8_292));
        rings.note_read(8_292);
        assert!(!rings.has_holes(0));
    }

    #[test]
    fn segments_outside_the_window_hold_nothing() {
        let mut rings = rings(1_000);
        rings.note_segment(1_000, 100);
        rings.note_read(100);
        let before = rings.rx_resident();
        let beyond = 1_100 + u32::try_from(RX).unwrap();
        for seq in [900, 1_000, beyond + 1, beyond + (1 << 30), 1_100 + (1 << 31)] {
            rings.note_segment(seq, 100);
            assert_eq!((rings.rx_resident(), rings.has_holes(0)), (before, false), "{seq}");
        }
        // The window's last byte behind a FIN.
        let mut behind_fin = rings.clone();
        behind_fin.note_segment(beyond, 1);
        assert!(behind_fin.has_holes(0));
        // Half in the window: what is beyond is cut off.
        rings.note_segment(beyond - 50, 100);
        assert_eq!((rings.rx_resident(), rings.has_holes(0)), (RX, true));
    }

    #[test]
    fn the_send_ring_starts_again_when_it_is_empty() {
        let mut rings = rings(0);
        for _ in 0..100 {
            rings.note_write(0, 1_000);
        }
        assert_eq!(rings.tx_resident(), PAGE_BYTES);
        rings.note_write(1_000, 4_000);
        assert_eq!(rings.tx_resident(), 2 * PAGE_BYTES);
        rings.tx_given_back();
        assert_eq!(rings.tx_resident(), 0);
        // Never empty, it goes round.
        for _ in 0..40 {
            rings.note_write(1_000, 1_000);
        }
        assert_eq!(rings.tx_resident(), TX);
    }

    #[test]
    fn the_room_of_a_send_ring_is_what_it_has_touched_or_may() {
        let mut rings = rings(0);
        assert_eq!(rings.tx_room(0, 8_192), 8_192);
        rings.note_write(0, 8_192);
        assert_eq!((rings.tx_room(1, 8_192), rings.tx_room(0, 8_192)), (0, 8_192));
        rings.note_write(1, 4_096);
        // Touched before memory was short: what is there may be used.
        assert_eq!((rings.tx_room(1, 8_192), rings.tx_room(0, 8_192)), (0, 12_288));
    }
}
