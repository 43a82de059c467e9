/// HTTP/1.1 in ALPN (RFC 7301, section 6).
const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 over TLS in ALPN (RFC 9113, section 3.1).
const HTTP2: &[u8] = b"h2";
/// DNS over TLS in ALPN (RFC 7858, as registered with IANA).
const DOT: &[u8] = b"dot";

/// The protocol of a stream that is opened: what upstream chose of an [`AlpnOffer`], or what the guest
/// speaks with us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// None was negotiated.
    #[default]
    Nothing,
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
    /// `dot`, which no upstream is offered.
    Dot,
}

impl Alpn {
    pub(crate) const COUNT: usize = 4;

    /// What a handshake has negotiated; `None` for a protocol that nobody speaks here.
    pub fn of(negotiated: Option<&[u8]>) -> Option<Self> {
        match negotiated {
            None => Some(Self::Nothing),
            Some(HTTP1) => Some(Self::Http1),
            Some(HTTP2) => Some(Self::Http2),
            Some(DOT) => Some(Self::Dot),
            Some(_) => None,
        }
    }

    /// As a ServerHello has it: one or none.
    pub fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Http1 => vec![HTTP1.to_vec()],
            Self::Http2 => vec![HTTP2.to_vec()],
            Self::Dot => vec![DOT.to_vec()],
        }
    }

    /// Its place among the four.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Http1 => 1,
            Self::Http2 => 2,
            Self::Dot => 3,
        }
    }
}

/// What of a guest's ALPN offer is passed on to upstream: of all protocols only two are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlpnOffer {
    /// Neither.
    Nothing,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// Both, HTTP/1.1 preferred.
    Http1First,
    /// Both, HTTP/2 preferred.
    Http2First,
}

impl AlpnOffer {
    /// Of the protocols a guest offers, in its order.
    pub fn of(protocols: &[Vec<u8>]) -> Self {
        let place = |own: &[u8]| protocols.iter().position(|protocol| protocol == own);
        match (place(HTTP1), place(HTTP2)) {
            (None, None) => Self::Nothing,
            (Some(_), None) => Self::Http1,
            (None, Some(_)) => Self::Http2,
            (Some(http1), Some(http2)) if http1 < http2 => Self::Http1First,
            (Some(_), Some(_)) => Self::Http2First,
        }
    }

    /// As a ClientHello has it.
    pub fn protocols(self) -> Vec<Vec<u8>> {
        let protocols: &[&[u8]] = match self {
            Self::Nothing => &[],
            Self::Http1 => &[HTTP1],
            Self::Http2 => &[HTTP2],
            Self::Http1First => &[HTTP1, HTTP2],
            Self::Http2First => &[HTTP2, HTTP1],
        };
        protocols.iter().map(|protocol| protocol.to_vec()).collect()
    }

    /// The HTTP to try where upstream speaks none of those offered.
    pub fn other(self) -> Option<Self> {
        match self {
            Self::Http1 => Some(Self::Http2),
            Self::Http2 => Some(Self::Http1),
            Self::Nothing | Self::Http1First | Self::Http2First => None,
        }
    }

    /// What the guest is told where upstream chose this, of this offer or of the [other](Self::other): as
    /// upstream, if the guest can.
    pub fn answer(self, chosen: Alpn) -> Alpn {
        match (self, chosen) {
            (Self::Http2, _) | (Self::Http1First | Self::Http2First, Alpn::Http2) => Alpn::Http2,
            (Self::Http1, Alpn::Http1 | Alpn::Http2) => Alpn::Http1,
            (Self::Http1First | Self::Http2First, Alpn::Http1) => Alpn::Http1,
            (Self::Http1 | Self::Http1First | Self::Http2First, Alpn::Nothing | Alpn::Dot) => Alpn::Nothing,
            (Self::Nothing, _) => Alpn::Nothing,
        }
    }

    /// Whether a server may choose it: one of the protocols, or none of them.
    pub fn permits(self, chosen: Alpn) -> bool {
        match chosen {
            Alpn::Nothing => true,
            Alpn::Http1 => matches!(self, Self::Http1 | Self::Http1First | Self::Http2First),
            Alpn::Http2 => matches!(self, Self::Http2 | Self::Http1First | Self::Http2First),
            Alpn::Dot => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_answered_from_its_own_offer() {
        const BOTH: [AlpnOffer; 2] = [AlpnOffer::Http1First, AlpnOffer::Http2First];
        for chosen in [Alpn::Nothing, Alpn::Http1, Alpn::Http2] {
            assert_eq!(AlpnOffer::Nothing.answer(chosen), Alpn::Nothing);
            // Who offers one only is told that one, whatever is spoken upstream.
            assert_eq!(AlpnOffer::Http2.answer(chosen), Alpn::Http2);
            let only = if chosen == Alpn::Nothing { Alpn::Nothing } else { Alpn::Http1 };
            assert_eq!(AlpnOffer::Http1.answer(chosen), only);
            for both in BOTH {
                assert_eq!(both.answer(chosen), chosen);
            }
        }
        for offer in [AlpnOffer::Http1, AlpnOffer::Http2] {
            assert_eq!(offer.other().and_then(AlpnOffer::other), Some(offer));
        }
    }

    #[test]
    fn whatever_a_guest_offers_is_one_of_five() {
        const CASES: &[(&[&[u8]], AlpnOffer)] = &[
            (&[], AlpnOffer::Nothing),
            (&[b"imap", b"h3", b"H2"], AlpnOffer::Nothing),
            (&[b"http/1.1"], AlpnOffer::Http1),
            (&[b"http/1.1", b"http/1.1", b"spdy/3"], AlpnOffer::Http1),
            (&[b"h2", b"h2"], AlpnOffer::Http2),
            (&[b"h2", b"http/1.1", b"h2"], AlpnOffer::Http2First),
            (&[b"x", b"http/1.1", b"y", b"h2", b"http/1.1"], AlpnOffer::Http1First),
        ];
        for (protocols, expected) in CASES {
            let protocols: Vec<Vec<u8>> = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            let offer = AlpnOffer::of(&protocols);
            assert_eq!(offer, *expected, "{protocols:?}");
            assert_eq!(AlpnOffer::of(&offer.protocols()), offer);
            // A choice is permitted where the guest has offered it, or nothing was chosen.
            for chosen in [Alpn::Nothing, Alpn::Http1, Alpn::Http2, Alpn::Dot] {
                let own = chosen.protocols();
                let is_offered = own.iter().all(|protocol| protocols.contains(protocol));
                assert_eq!(offer.permits(chosen), is_offered, "{protocols:?} {chosen:?}");
                assert_eq!(Alpn::of(own.first().map(Vec::as_slice)), Some(chosen));
                assert!(chosen.index() < Alpn::COUNT);
            }
        }
        assert_eq!(Alpn::of(Some(b"imap")), None);
    }
}
