use std::future::poll_fn;

use bytes::Bytes;
use net_core::{HostName, Limits};
use net_sni::{ClientHello, MAX_HELLO_BYTES, NameError, ParseError, Sniffer, Status};
use tokio::time::{Instant, timeout_at};

use crate::guest::{GuestStream, HttpVersion, InterceptError, Wait};
use crate::proxy::UpstreamStream;

/// What the first bytes of a stream show.
pub(crate) enum FirstFlight {
    /// A whole ClientHello.
    Tls { prefix: Bytes, hello: Hello },
    /// The start of an HTTP request.
    Http { prefix: Bytes, version: HttpVersion },
    /// Something else, or upstream spoke first.
    Other { prefix: Bytes },
}

/// What a ClientHello says that the engine needs.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The server_name: none, a name, or something that is no name.
    pub(crate) name: Result<Option<HostName>, ()>,
    /// The protocols offered, in the guest's order.
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Whether it has an encrypted one inside, or looks as if it had.
    pub(crate) has_ech: bool,
}

/// Reads from the guest until the stream can be told apart: within [`Limits::hello_timeout`], or where
/// nobody hurries the guest, within that from its first byte on.
///
/// Ends early when upstream has something to say and may: a protocol whose server speaks first waits
/// for nothing.
pub(crate) async fn first_flight(
    guest: &GuestStream,
    wait: Wait,
    upstream: Option<&mut UpstreamStream>,
    limits: &Limits,
) -> Result<FirstFlight, InterceptError> {
    let (mut upstream, first_byte) = match wait {
        Wait::ForName => (None, limits.hello_timeout),
        Wait::ForEither => (upstream, limits.hello_timeout),
        Wait::Unhurried => (upstream, limits.tcp_idle_timeout),
    };
    let mut deadline = Instant::now() + first_byte;
    let mut prefix = Vec::new();
    let mut recogniser = Recogniser::default();
    loop {
        let is_first = prefix.is_empty();
        let more = timeout_at(deadline, read_more(guest, upstream.as_deref_mut(), &mut prefix)).await;
        if is_first {
            deadline = deadline.min(Instant::now() + limits.hello_timeout);
        }
        match more {
            Err(_elapsed) => return Err(InterceptError::HelloTimeout),
            Ok(More::ServerSpoke) => return Ok(FirstFlight::Other { prefix: prefix.into() }),
            // Where upstream may speak first, a guest may have nothing to say.
            Ok(More::Closed) if prefix.is_empty() && upstream.is_some() => {
                return Ok(FirstFlight::Other { prefix: Bytes::new() });
            }
            Ok(More::Closed) if prefix.is_empty() => return Err(InterceptError::GuestClosed),
            Ok(More::Closed) => {
                // A half-closed guest may still have said all it had to say, in some protocol of
                // its own; of TLS and HTTP it is a fragment.
                return match recogniser.recognise(&prefix) {
                    Recognised::Flight(flight) => Ok(flight.with(prefix)),
                    Recognised::NeedMore => Err(InterceptError::GuestClosed),
                    Recognised::TooLarge => Err(InterceptError::HelloTooLarge),
                    Recognised::Malformed => Ok(FirstFlight::Other { prefix: prefix.into() }),
                };
            }
            Ok(More::Bytes) => {}
        }
        match recogniser.recognise(&prefix) {
            Recognised::Flight(flight) => return Ok(flight.with(prefix)),
            Recognised::Malformed => return Ok(FirstFlight::Other { prefix: prefix.into() }),
            Recognised::TooLarge => return Err(InterceptError::HelloTooLarge),
            Recognised::NeedMore if prefix.len() >= limits.max_hello_bytes => {
                return Err(InterceptError::HelloTooLarge);
            }
            Recognised::NeedMore => {}
        }
    }
}

enum More {
    Bytes,
    Closed,
    ServerSpoke,
}

async fn read_more(guest: &GuestStream, upstream: Option<&mut UpstreamStream>, prefix: &mut Vec<u8>) -> More {
    let from_guest = poll_fn(|context| {
        guest.poll_read_with(context, |_, bytes| {
            prefix.extend_from_slice(bytes);
            (bytes.len(), ())
        })
    });
    let from_upstream = async {
        match upstream {
            // An upstream that closes at once has spoken too.
            Some(upstream) => upstream.spoke().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        read = from_guest => match read {
            Ok(Some(())) => More::Bytes,
            Ok(None) | Err(_) => More::Closed,
        },
        () = from_upstream => More::ServerSpoke,
    }
}

/// The hello that a whole first flight shows, if it is one of TLS.
#[cfg(any(test, fuzzing))]
pub(super) fn hello_of(flight: &[u8]) -> Option<Hello> {
    match Recogniser::default().recognise(flight) {
        Recognised::Flight(Kind::Tls(hello)) => Some(hello),
        Recognised::Flight(Kind::Http(_) | Kind::Other)
        | Recognised::NeedMore
        | Recognised::TooLarge
        | Recognised::Malformed => None,
    }
}

enum Recognised {
    Flight(Kind),
    NeedMore,
    TooLarge,
    Malformed,
}

enum Kind {
    Tls(Hello),
    Http(HttpVersion),
    Other,
}

impl Kind {
    fn with(self, prefix: Vec<u8>) -> FirstFlight {
        let prefix = prefix.into();
        match self {
            Self::Tls(hello) => FirstFlight::Tls { prefix, hello },
            Self::Http(version) => FirstFlight::Http { prefix, version },
            Self::Other => FirstFlight::Other { prefix },
        }
    }
}

/// Tells a stream apart by a prefix that grows.
#[derive(Default)]
struct Recogniser {
    /// For a hello that is spread over records: what joins it, and how much of the prefix it has.
    joining: Option<(Sniffer<Vec<u8>>, usize)>,
}

impl Recogniser {
    #[allow(clippy::wildcard_enum_match_arm, reason = "`FirstFlight` may grow")]
    fn recognise(&mut self, prefix: &[u8]) -> Recognised {
        let kind = match net_sni::classify(prefix) {
            Status::Partial { .. } => return Recognised::NeedMore,
            Status::Complete(kind) => kind,
        };
        match kind {
            net_sni::FirstFlight::Tls => self.recognise_hello(prefix),
            net_sni::FirstFlight::Http1 => Recognised::Flight(Kind::Http(HttpVersion::Http1)),
            net_sni::FirstFlight::Http2 => Recognised::Flight(Kind::Http(HttpVersion::Http2)),
            _ => Recognised::Flight(Kind::Other),
        }
    }

    fn recognise_hello(&mut self, prefix: &[u8]) -> Recognised {
        if self.joining.is_none() {
            match net_sni::sniff(prefix) {
                Ok(Status::Fragmented(_)) => {}
                Ok(Status::Complete(hello)) => return recognised(Ok(Status::Complete(hello))),
                Ok(Status::Partial { at_least }) => return recognised(Ok(Status::Partial { at_least })),
                Err(error) => return recognised(Err(error)),
            }
        }
        let new = || (Sniffer::new(vec![0; MAX_HELLO_BYTES]), 0);
        let (sniffer, seen) = self.joining.get_or_insert_with(new);
        let more = prefix.get(*seen..).unwrap_or_default();
        *seen = prefix.len();
        recognised(sniffer.handle(more))
    }
}

fn recognised(found: Result<Status<ClientHello<'_>>, ParseError>) -> Recognised {
    match found {
        Ok(Status::Partial { .. }) => Recognised::NeedMore,
        Ok(Status::Complete(hello)) => match hello.alpn() {
            Ok(alpn) => Recognised::Flight(Kind::Tls(Hello {
                // An address there names nobody (RFC 6066, section 3), and some clients put theirs there.
                name: match hello.host_name() {
                    Err(NameError::IpAddress) => Ok(None),
                    named => named.map_err(drop),
                },
                alpn: alpn.map(<[u8]>::to_vec).collect(),
                has_ech: hello.ech().is_some(),
            })),
            // No server goes on after it.
            Err(net_sni::MalformedExtension) => Recognised::Malformed,
        },
        Err(ParseError::TooLarge) => Recognised::TooLarge,
        Err(_) => Recognised::Malformed,
    }
}
