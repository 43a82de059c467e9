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
