/// How a packet of the guest asks to be carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Routers it may cross behind this one.
    pub hops: u8,
    /// Whether it may be cut on its way: in IPv4 where it does not say otherwise (RFC 791, DF), in IPv6 where the
    /// guest has cut it itself, for no router does (RFC 8200, section 5).
    pub may_be_cut: bool,
}

impl Passage {
    /// How many routers it may cross, where whoever sent it has chosen that: `traceroute` does.
    #[must_use]
    pub fn chosen_hops(self) -> Option<u8> {
        /// Systems start from 64 or more, and no route is as long as half of that.
        const MOST: u8 = 32;
        (self.hops <= MOST).then_some(self.hops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_start_from_is_nobody_s_choice() {
        const CASES: &[(u8, Option<u8>)] =
            &[(0, Some(0)), (32, Some(32)), (33, None), (63, None), (254, None)];
        for (hops, expected) in CASES {
            let passage = Passage { hops: *hops, may_be_cut: true };
            assert_eq!(passage.chosen_hops(), *expected, "{hops}");
        }
    }
}
