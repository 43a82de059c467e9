use super::HttpVersion;

/// HTTP/1.1 in ALPN (RFC 7301, section 6).
const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 over TLS in ALPN (RFC 9113, section 3.1).
pub(crate) const HTTP2: &[u8] = b"h2";

/// What of a guest's ALPN offer is passed on to upstream: of all protocols only two are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Nothing,
    Http1,
    Http2,
    Http1First,
    Http2First,
}

impl Offer {
    pub(crate) const COUNT: usize = 5;

    /// Of the protocols a guest offers, in its order.
    pub(crate) fn of(protocols: &[Vec<u8>]) -> Self {
        let place = |own: &[u8]| protocols.iter().position(|protocol| protocol == own);
        match (place(HTTP1), place(HTTP2)) {
            (None, None) => Self::Nothing,
            (Some(_), None) => Self::Http1,
            (None, Some(_)) => Self::Http2,
            (Some(http1), Some(http2)) if http1 < http2 => Self::Http1First,
            (Some(_), Some(_)) => Self::Http2First,
        }
    }

    /// Its place among the five.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Http1 => 1,
            Self::Http2 => 2,
            Self::Http1First => 3,
            Self::Http2First => 4,
        }
    }

    /// The HTTP to try where upstream speaks none of those offered.
    pub(crate) fn other(self) -> Option<Self> {
        match self {
            Self::Http1 => Some(Self::Http2),
            Self::Http2 => Some(Self::Http1),
            Self::Nothing | Self::Http1First | Self::Http2First => None,
        }
    }

    /// The HTTP the guest is to speak, and what it is told of it, where upstream chose this or nothing: as
    /// upstream, if the guest can.
    pub(crate) fn answer(self, chosen: Option<&[u8]>) -> (HttpVersion, Option<&'static [u8]>) {
        match (self, chosen == Some(HTTP2)) {
            (Self::Http2, _) | (Self::Http1First | Self::Http2First, true) => {
                (HttpVersion::Http2, Some(HTTP2))
            }
            (Self::Http1, true) => (HttpVersion::Http1, Some(HTTP1)),
            (Self::Http1 | Self::Http1First | Self::Http2First, false) => {
                (HttpVersion::Http1, chosen.map(|_| HTTP1))
            }
            (Self::Nothing, _) => (HttpVersion::Http1, None),
        }
    }

    /// As a ClientHello has it.
    pub(crate) fn protocols(self) -> &'static [&'static [u8]] {
        match self {
            Self::Nothing => &[],
            Self::Http1 => &[HTTP1],
            Self::Http2 => &[HTTP2],
            Self::Http1First => &[HTTP1, HTTP2],
            Self::Http2First => &[HTTP2, HTTP1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_answered_from_its_own_offer() {
        use HttpVersion::{Http1, Http2};
        const BOTH: [Offer; 2] = [Offer::Http1First, Offer::Http2First];
        for chosen in [None, Some(HTTP1), Some(HTTP2)] {
            assert_eq!(Offer::Nothing.answer(chosen), (Http1, None));
            assert_eq!(Offer::Http2.answer(chosen), (Http2, Some(HTTP2)));
            let only = Offer::Http1.answer(chosen);
            assert_eq!(only, (Http1, chosen.map(|_| HTTP1)));
            let as_upstream = if chosen == Some(HTTP2) { Http2 } else { Http1 };
            for both in BOTH {
                assert_eq!(both.answer(chosen), (as_upstream, chosen));
            }
        }
    }

    #[test]
    fn whatever_a_guest_offers_is_one_of_five() {
        const CASES: &[(&[&[u8]], Offer)] = &[
            (&[], Offer::Nothing),
            (&[b"imap", b"h3", b"H2"], Offer::Nothing),
            (&[b"http/1.1"], Offer::Http1),
            (&[b"http/1.1", b"http/1.1", b"spdy/3"], Offer::Http1),
            (&[b"h2", b"h2"], Offer::Http2),
            (&[b"h2", b"http/1.1", b"h2"], Offer::Http2First),
            (&[b"x", b"http/1.1", b"y", b"h2", b"http/1.1"], Offer::Http1First),
        ];
        for (protocols, expected) in CASES {
            let protocols: Vec<Vec<u8>> = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            let offer = Offer::of(&protocols);
            assert_eq!(offer, *expected, "{protocols:?}");
            assert!(offer.index() < Offer::COUNT);
            let again: Vec<Vec<u8>> = offer.protocols().iter().map(|protocol| protocol.to_vec()).collect();
            assert_eq!(Offer::of(&again), offer);
        }
    }
}
