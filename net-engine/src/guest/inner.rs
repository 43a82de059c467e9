//! What may be inside of TLS that is opened, as a value.

/// Whether what is inside must be HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// It changes nothing: passed on unread.
    Unread,
    /// It is, or the stream ends.
    Http,
    /// What begins as HTTP goes on as HTTP, anything else as bytes.
    Either,
}

/// What of a stream its content is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InnerTerms {
    /// Whether it was allowed by address whatever names it shows, and no secret is looked for.
    pub(crate) nothing_at_stake: bool,
    /// Whether a name shown inside could lead to another rule.
    pub(crate) names_matter: bool,
    /// Whether its requests are decided one by one.
    pub(crate) is_per_request: bool,
    /// Whether its rule lets anything be inside.
    pub(crate) is_opaque: bool,
    /// Whether upstream may send values of secrets that were sent to it.
    pub(crate) is_scrubbed: bool,
    /// Whether names inside are held to the name outside at all.
    pub(crate) is_strict: bool,
    pub(crate) protocol: InnerProtocol,
}

/// What is known of the protocol inside before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InnerProtocol {
    /// HTTP/2, on one side at least.
    Http2,
    /// HTTP/1.1 was agreed on, or nothing was on a port of HTTP.
    Http1,
    /// Protocols were offered, none of which is HTTP.
    Other,
    /// Nothing.
    Unknown,
}

impl InnerTerms {
    pub(crate) fn inner(&self) -> Inner {
        match self.protocol {
            // Whoever agrees on it speaks it.
            InnerProtocol::Http2 => return Inner::Http,
            InnerProtocol::Http1 | InnerProtocol::Other | InnerProtocol::Unknown => {}
        }
        if self.nothing_at_stake {
            Inner::Unread
        } else if self.is_opaque {
            Inner::Either
        } else if self.is_per_request || self.is_scrubbed || self.is_held_to_name() {
            Inner::Http
        } else {
            Inner::Either
        }
    }

    /// Whether a verdict by name holds for HTTP alone: junk before a request must not buy an opaque relay.
    fn is_held_to_name(&self) -> bool {
        let may_be_http = match self.protocol {
            InnerProtocol::Http2 | InnerProtocol::Http1 | InnerProtocol::Other => true,
            InnerProtocol::Unknown => false,
        };
        self.is_strict && self.names_matter && may_be_http
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_inside() {
        use InnerProtocol::{Http1, Http2, Other, Unknown};
        let by_name = InnerTerms {
            nothing_at_stake: false,
            names_matter: true,
            is_per_request: false,
            is_opaque: false,
            is_scrubbed: false,
            is_strict: true,
            protocol: Unknown,
        };
        let by_address = InnerTerms { names_matter: false, ..by_name };
        let nothing = InnerTerms { nothing_at_stake: true, ..by_address };
        let opaque = InnerTerms { is_opaque: true, ..by_name };
        let lax = InnerTerms { is_strict: false, ..by_name };
        let scrubbed = InnerTerms { is_scrubbed: true, ..by_address };
        let requests = InnerTerms { is_per_request: true, ..lax };
        // The terms; with HTTP/1.1 agreed on, with other offers, with nothing known.
        let cases = [
            (nothing, [Inner::Unread, Inner::Unread, Inner::Unread]),
            (by_address, [Inner::Either, Inner::Either, Inner::Either]),
            (by_name, [Inner::Http, Inner::Http, Inner::Either]),
            (lax, [Inner::Either, Inner::Either, Inner::Either]),
            (opaque, [Inner::Either, Inner::Either, Inner::Either]),
            (InnerTerms { is_scrubbed: true, ..opaque }, [Inner::Either, Inner::Either, Inner::Either]),
            (scrubbed, [Inner::Http, Inner::Http, Inner::Http]),
            (requests, [Inner::Http, Inner::Http, Inner::Http]),
        ];
        for (terms, expected) in cases {
            let found = [Http1, Other, Unknown].map(|protocol| InnerTerms { protocol, ..terms }.inner());
            assert_eq!(found, expected, "{terms:?}");
            assert_eq!(InnerTerms { protocol: Http2, ..terms }.inner(), Inner::Http, "{terms:?}");
        }
    }
}
