use std::fmt;

use crate::{Bandwidth, PacketRate};

/// What may pass in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// No bound on bytes where there is none.
    pub bandwidth: Option<Bandwidth>,
    /// No bound on packets where there is none.
    pub packets: Option<PacketRate>,
}

/// What may pass in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shaping {
    /// From the guest.
    pub upload: Shape,
    /// To the guest.
    pub download: Shape,
}

impl Shaping {
    /// Whether it bounds nothing.
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Shaping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for (way, shape) in [("up", &self.upload), ("down", &self.download)] {
            words.extend(shape.bandwidth.map(|bandwidth| format!("{way} {bandwidth}")));
            words.extend(shape.packets.map(|packets| format!("{way} {packets}")));
        }
        f.write_str(&words.join(", "))
    }
}
