//! What holds of every request: driven in memory, from a guest's bytes to what upstream reads, through both ends
//! of HTTP and everything between them.

mod strict;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use net_core::{Flow, HostName, Protocol};
use net_policy::Policy;
use net_secrets::{Binding, Placeholder, SecretSet, SecretValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use self::strict::{Message, Read};
use super::exchange::Exchange;
use super::sender::Sender;
use super::serve::serve;
use super::sides::Sides;
use super::target::escaped;
use super::upstream::Upstream;
use crate::core::{FlowId, Gateway, GatewayConfig, GuestAddresses};
use crate::guest::{Context, EventQueue, GuestConfig, HttpVersion, Stack, StreamInfo};
use crate::link::LinkCapabilities;

const HOST: &str = "a.example";
const ADDRESS: [u8; 4] = [9, 9, 9, 1];
/// Of a longer input the rest is ignored.
const MAX_BYTES: usize = 16 << 10;
/// A run that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// See [`crate::fuzzing::requests_stay_themselves`].
///
/// The first byte says which HTTP the guest speaks (1) and whether there are secrets (2), the second into pieces
/// of how many bytes the rest is split. The rest is what a guest of HTTP/1.1 sends; for one of HTTP/2 it is a
/// method, a path and header fields, a line each, an empty line and a body.
pub(crate) fn requests_stay_themselves(bytes: &[u8]) -> usize {
    let [flags, step, bytes @ ..] = bytes else { return 0 };
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    let with_secret = flags & 2 == 2;
    if flags & 1 == 1 {
        return match http2_request(bytes) {
            Some(request) => usize::from(carry_http2(request, with_secret)),
            None => 0,
        };
    }
    let whole = carry_http1(bytes, bytes.len(), with_secret);
    let split = carry_http1(bytes, usize::from(*step).max(1), with_secret);
    assert_eq!(whole, split, "pieces of {step} bytes are another message");
    compare(bytes, &whole.seen);
    whole.seen.len()
}

/// What became of what a guest sent.
#[derive(Debug, PartialEq, Eq)]
struct Carried {
    /// The whole requests upstream has read.
    seen: Vec<Message>,
    /// The statuses of the guest's final responses. Whether hyper has a word for what is no HTTP depends on how it
    /// came.
    statuses: Vec<String>,
}

/// What a strict reader makes of the guest's bytes must be what upstream has seen, as far as it goes.
fn compare(bytes: &[u8], seen: &[Message]) {
    let mut rest = bytes;
    for (index, message) in seen.iter().enumerate() {
        assert!(is_for_host(message), "for another host: {message:?}");
        // What the strict reader does not take, hyper may.
        let Read::Whole(sent, length) = strict::read(rest) else { return };
        rest = &rest[length..];
        let own = (&sent.method, sent.origin_form(), sent.host(), &sent.body);
        let other = (&message.method, message.target.clone(), message.host(), &message.body);
        assert_eq!(own, other, "request {index} has changed");
    }
}

fn is_for_host(message: &Message) -> bool {
    let host = String::from_utf8_lossy(message.host()).to_ascii_lowercase();
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(':')).unwrap_or(&host);
    host.trim_end_matches('.') == HOST
}

fn run<R>(work: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    let work = async { timeout(PATIENCE, work).await.expect("a run that ends") };
    runtime.block_on(tasks.run_until(work))
}

/// Carries what a guest of HTTP/1.1 sends in pieces of `step` bytes, to its end.
fn carry_http1(bytes: &[u8], step: usize, with_secret: bool) -> Carried {
    run(async {
        let (mut guest, guest_end) = duplex(MAX_BYTES);
        let served = World::new(with_secret).serve(guest_end, Sides::plain(HttpVersion::Http1));
        let talk = async {
            let (mut reader, mut writer) = tokio::io::split(&mut guest);
            let write = async {
                for piece in bytes.chunks(step.max(1)) {
                    // A guest that was refused is not read any more.
                    if writer.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                let _ = writer.shutdown().await;
            };
            let mut answers = Vec::new();
            let (_, _) = tokio::join!(write, reader.read_to_end(&mut answers));
            answers
        };
        let (seen, answers) = tokio::join!(served, talk);
        let answers = String::from_utf8_lossy(&answers).into_owned();
        let statuses = answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5));
        let statuses: Vec<String> =
            statuses.filter(|status| !["100", "400"].contains(status)).map(str::to_owned).collect();
        let passed = statuses.iter().filter(|status| *status == "200").count();
        assert_eq!(passed, seen.len(), "one request is one request: {answers}");
        Carried { seen, statuses }
    })
}

/// A request as a guest of HTTP/2 may send it.
fn http2_request(bytes: &[u8]) -> Option<Request<Bytes>> {
    let end = bytes.windows(2).position(|window| window == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let method = Method::from_bytes(lines.next()?).ok()?;
    let path = std::str::from_utf8(lines.next()?).ok()?;
    let body = Bytes::copy_from_slice(body.get(2..).unwrap_or_default());
    let uri = http::Uri::builder().scheme("https").authority(HOST).path_and_query(path).build().ok()?;
    let mut request = Request::builder().method(method).uri(uri).body(body).ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    // The guest's own end would take away what it names.
    (!request.headers().contains_key(http::header::CONNECTION)).then_some(request)
}

/// Carries a request of HTTP/2 to an upstream of HTTP/1.1; whether it went on.
fn carry_http2(request: Request<Bytes>, with_secret: bool) -> bool {
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    let (parts, body) = request.into_parts();
    let (request, sent) = (Request::from_parts(parts, ()), body.clone());
    let (seen, status) = run(async {
        let (guest, guest_end) = duplex(MAX_BYTES);
        let sides = Sides::tls(HttpVersion::Http2, HttpVersion::Http1);
        let served = World::new(with_secret).serve(guest_end, sides);
        let ask = async {
            let (requests, connection) = h2::client::handshake(guest).await.expect("a connection");
            let connection = tokio::task::spawn_local(connection);
            let mut requests = requests.ready().await.expect("a connection");
            // What h2 does not send is no request.
            let status = match requests.send_request(request, body.is_empty()) {
                Ok((answer, mut stream)) => {
                    if !body.is_empty() {
                        // Windows have room for it.
                        let _ = stream.send_data(body, true);
                    }
                    answer.await.ok().map(|answer| answer.status().as_u16())
                }
                Err(_) => None,
            };
            drop(requests);
            // A connection that stays open would be one that is served.
            connection.abort();
            status
        };
        let (seen, status) = tokio::join!(served, ask);
        (seen, status)
    });
    assert_eq!(seen.len(), usize::from(status == Some(200)), "one request is one request: {seen:?}");
    let Some(message) = seen.first() else { return false };
    assert_eq!(message.method, method.as_str().as_bytes());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    assert_eq!(message.target, escaped(target).as_bytes());
    assert!(is_for_host(message), "{message:?}");
    assert_eq!(message.body, sent, "the body has changed");
    assert_eq!(fields(&headers), message.fields(), "the fields have changed");
    true
}

/// What of a guest's fields concerns upstream, in the order of names.
fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for name in headers.keys() {
        if strict::FRAMING.contains(&name.as_str()) {
            continue;
        }
        let values = headers.get_all(name).iter().map(|value| strict::trimmed(value.as_bytes()).to_vec());
        if name == http::header::COOKIE {
            // Untrimmed in between: it is one value.
            let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            fields.push((name.to_string(), strict::trimmed(&values.join(&b"; "[..])).to_vec()));
        } else {
            fields.extend(values.map(|value| (name.to_string(), value)));
        }
    }
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// What a stream needs of its guest.
struct World {
    context: Rc<Context>,
    info: StreamInfo,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn new(with_secret: bool) -> Self {
        let policy = Policy::builder().allow(HOST).build().expect("one rule");
        let secrets = if with_secret { secret() } else { SecretSet::default() };
        let config = GuestConfig { policy, secrets, ..GuestConfig::default() };
        let gateway = GatewayConfig {
            addresses: GuestAddresses::default(),
            link: LinkCapabilities { mtu: 1500, offload: false },
            limits: config.limits.clone(),
            random_seed: 1,
            autoconfiguration: None,
        };
        let now = Instant::now();
        let stack = Stack::new(Gateway::new(gateway, now).expect("a gateway"));
        let context = Rc::new(Context::new(stack, EventQueue::new(8), config));
        let name = HostName::parse(HOST).expect("a name");
        context.with_policy(|_, pins, _| pins.pin(&name, ADDRESS.into(), Duration::from_secs(600), now));
        let flow = Flow {
            protocol: Protocol::Tcp,
            guest: SocketAddr::from(([10, 0, 0, 2], 40_000)),
            upstream: SocketAddr::from((ADDRESS, 80)),
        };
        let info = StreamInfo::new(FlowId::nobody(), flow, None, None);
        Self { context, info }
    }

    /// Serves a guest to its end; the requests upstream has read by then, each of which it answers with 200.
    async fn serve(self, guest: DuplexStream, sides: Sides) -> Vec<Message> {
        let Self { context, info } = self;
        let (near, far) = duplex(MAX_BYTES);
        let sender = Sender::handshake(near, sides.upstream, &context).await.expect("a handshake");
        let exchange = Exchange::new(Rc::clone(&context), info, sides);
        let work = async {
            let upstream = Upstream::connected(sender, None);
            serve(&context, guest, upstream, exchange, std::future::pending()).await;
        };
        let ((), seen) = tokio::join!(work, read_upstream(far));
        seen
    }
}

/// Reads to the end; everything is a request to the strictest of readers, but for one that broke off.
async fn read_upstream(mut stream: DuplexStream) -> Vec<Message> {
    let (mut unread, mut seen) = (Vec::new(), Vec::new());
    loop {
        match strict::read(&unread) {
            Read::Whole(message, length) => {
                unread.drain(..length);
                assert!(!message.has_extensions, "a chunk extension went on: {message:?}");
                seen.push(message);
                let answer = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                answer.expect("an upstream end that reads");
                continue;
            }
            Read::Partial => {}
            Read::Wrong(why) => panic!("{why}: {:?}", String::from_utf8_lossy(&unread)),
        }
        if stream.read_buf(&mut unread).await.unwrap_or(0) == 0 {
            return seen;
        }
    }
}

/// One that no input is likely to name.
fn secret() -> SecretSet {
    let placeholder = Placeholder::generate(*b"a test's entropy");
    let value = SecretValue::new("the-real-value-0".into());
    let binding = Binding::new("TOKEN", placeholder, value, vec![HOST.parse().expect("a pattern")]);
    SecretSet::compile(vec![binding], [7; 8]).expect("one secret")
}
