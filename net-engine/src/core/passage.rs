/// How a packet of the guest asks to be carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Routers it may cross behind this one.
    pub hops: u8,
    /// Whether it may be cut on its way: in IPv4 where it does not say otherwise (RFC 791, DF), in IPv6 where the
    /// guest has cut it itself, for no router does (RFC 8200, section 5).
    pub may_be_cut: bool,
}
