use std::time::Instant;

use net_core::{Bandwidth, Direction, Meter, PacketRate, Shape, Shaping};

/// What may pass in one direction, as far as it is bounded.
#[derive(Debug)]
pub(crate) struct Gate {
    bytes: Option<Meter>,
    packets: Option<Meter>,
}

impl Gate {
    pub(crate) fn new(shape: Shape) -> Self {
        let bytes = shape.bandwidth.map(|Bandwidth(rate)| Meter::new(rate));
        let packets = shape.packets.map(|PacketRate(rate)| Meter::new(rate));
        Self { bytes, packets }
    }

    /// Whether a packet may pass, whatever its size.
    #[must_use]
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        [&self.bytes, &self.packets].into_iter().flatten().all(|meter| meter.available(now) > 0)
    }

    /// How much of a stream may pass, the packets of which are nobody's to choose; `None` where that is not
    /// bounded.
    pub(crate) fn available_bytes(&self, now: Instant) -> Option<usize> {
        self.bytes.map(|meter| usize::try_from(meter.available(now)).unwrap_or(usize::MAX))
    }

    /// When this much of a stream may pass, or as much as ever may at once; `None` where it may now.
    pub(crate) fn bytes_at(&self, bytes: usize, now: Instant) -> Option<Instant> {
        self.bytes?.ready_at(count(bytes), now)
    }

    /// When the next packet may pass; `None` where it may now.
    pub(crate) fn packet_at(&self, now: Instant) -> Option<Instant> {
        [self.bytes, self.packets].into_iter().flatten().filter_map(|meter| meter.ready_at(1, now)).max()
    }

    /// Notes what has passed.
    pub(crate) fn spend(&mut self, bytes: usize, packets: usize, now: Instant) {
        for (meter, spent) in [(&mut self.bytes, bytes), (&mut self.packets, packets)] {
            if let Some(meter) = meter {
                meter.spend(count(spent), now);
            }
        }
    }

    /// What one of several streams takes before the others get their turn: what a hundredth of a second brings,
    /// within reason.
    pub(crate) fn quantum(&self) -> usize {
        const BOUNDS: (usize, usize) = (1_460, 64 << 10);
        let share = self.bytes.map_or(u64::MAX, |meter| meter.rate().per_second.get() / 100);
        let share = usize::try_from(share).unwrap_or(usize::MAX).clamp(BOUNDS.0, BOUNDS.1);
        share.min(self.burst_bytes().unwrap_or(usize::MAX))
    }

    /// Bytes that may pass at once.
    pub(crate) fn burst_bytes(&self) -> Option<usize> {
        self.bytes.map(|meter| usize::try_from(meter.rate().burst.get()).unwrap_or(usize::MAX))
    }
}

fn count(amount: usize) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// The bounds of a whole link, by frames: those that are too many wait at their sender.
#[derive(Debug)]
pub(crate) struct LinkShaper {
    upload: Gate,
    download: Gate,
}

impl LinkShaper {
    /// `None` where nothing is bounded.
    pub(crate) fn new(shaping: &Shaping) -> Option<Self> {
        let Shaping { upload, download } = *shaping;
        (!shaping.is_unbounded()).then(|| Self { upload: Gate::new(upload), download: Gate::new(download) })
    }

    pub(crate) fn gate(&mut self, direction: Direction) -> &mut Gate {
        match direction {
            Direction::Egress => &mut self.upload,
            Direction::Ingress => &mut self.download,
        }
    }
}
