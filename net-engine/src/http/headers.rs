use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, ETAG, EXPECT, HOST,
    HeaderName, IF_RANGE, PROXY_AUTHENTICATE, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Body;
use net_secrets::{
    CredentialVerdict, Destination, DigestError, Scrubber, SecretSet, Violation, is_digest, renew_digest,
};
use zeroize::Zeroizing;

use super::worst::Worst;

/// What is for the recipient whatever Connection says of it: without these a message is another one.
const NEVER_HOP_BY_HOP: [HeaderName; 5] = [HOST, CONTENT_LENGTH, CONTENT_ENCODING, AUTHORIZATION, COOKIE];

/// Removes what concerns one connection only (RFC 9110, section 7.6.1).
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // `te: trailers` is the one value that may be passed on, and the only one HTTP/2 knows. Connection
    // names it where it is sent (RFC 9110, section 10.1.4).
    let wants_trailers = words(headers, TE).any(|word| word.eq_ignore_ascii_case("trailers"));
    let named: Vec<HeaderName> = words(headers, CONNECTION).filter_map(|name| name.parse().ok()).collect();
    for name in named.iter().filter(|name| !NEVER_HOP_BY_HOP.contains(name)) {
        headers.remove(name);
    }
    for name in [CONNECTION, PROXY_AUTHENTICATE, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The members of a list, which may be spread over lines (RFC 9110, section 5.6.1).
pub(super) fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The same headers behind another one.
pub(super) fn with_first(name: HeaderName, value: HeaderValue, headers: HeaderMap) -> HeaderMap {
    let mut all = HeaderMap::with_capacity(headers.len() + 1);
    all.append(name, value);
    let mut last = None;
    for (name, value) in headers {
        // Further values of a name come without it.
        last = name.or(last);
        if let Some(name) = &last {
            all.append(name, value);
        }
    }
    all
}

/// What HTTP/1.1 upstream needs that HTTP/2 does not: one line of cookies (RFC 9113, section 8.2.3), and
/// a word for `te` (RFC 9110, section 10.1.4).
pub(super) fn to_http1(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let mut joined = first.as_bytes().to_vec();
        let mut is_sensitive = first.is_sensitive();
        for crumb in std::iter::once(second).chain(crumbs) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(crumb.as_bytes());
            is_sensitive |= crumb.is_sensitive();
        }
        // Field values with something between them are one too.
        if let Ok(mut joined) = HeaderValue::from_bytes(&joined) {
            joined.set_sensitive(is_sensitive);
            headers.insert(COOKIE, joined);
        }
    }
    if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Takes the protocol a request offers to switch to (RFC 9110, section 7.8).
///
/// HTTP/2 is not offered on: it is negotiated by ALPN or prior knowledge, and a server may ignore
/// the offer.
pub(super) fn take_upgrade(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let is_offered = words(headers, CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"));
    let protocol = headers.remove(UPGRADE)?;
    (is_offered && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then_some(protocol)
}

/// The inverse of [`take_upgrade`].
pub(super) fn put_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.remove(TE);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Makes a guest's request headers upstream's, before values are put in. Where the response is to be scrubbed,
/// encodings that would hide an echo are not asked for, nor are parts of a content that has another length
/// for the guest.
pub(super) fn to_upstream(headers: &mut HeaderMap, is_scrubbed: bool) {
    remove_hop_by_hop(headers);
    // The body is polled at once, which answers the guest's expectation here.
    headers.remove(EXPECT);
    if is_scrubbed {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
    }
}

/// Leaves out credentials of the guest's own where the owner wants none.
///
/// # Errors
/// Why the request is refused.
pub(super) fn withhold_credentials(
    headers: &mut HeaderMap,
    secrets: &SecretSet,
    to: &Destination<'_>,
) -> Result<(), &'static str> {
    let mut stripped = Vec::new();
    for (name, value) in headers.iter() {
        match secrets.judge_credential(to, name.as_str(), value.as_bytes()) {
            CredentialVerdict::Keep => {}
            // All lines of a name: what is left of a credential is none.
            CredentialVerdict::Strip => stripped.push(name.clone()),
            CredentialVerdict::Block => return Err("a credential of its own, where a secret is to be used"),
        }
    }
    for name in stripped {
        headers.remove(name);
    }
    Ok(())
}

/// Makes digests of the content anew; `None` where it is not all there.
///
/// # Errors
/// There is a digest that cannot be made anew.
pub(super) fn renew_digests(headers: &mut HeaderMap, content: Option<&[u8]>) -> Result<(), DigestError> {
    for (name, value) in headers.iter_mut().filter(|(name, _)| is_digest(name.as_str())) {
        let renewed = renew_digest(name.as_str(), value.as_bytes(), content.ok_or(DigestError)?)?;
        *value = HeaderValue::try_from(renewed).map_err(|_| DigestError)?;
    }
    Ok(())
}

/// What is scrubbed is not byte for byte what the server tagged (RFC 9110, section 8.8.1).
pub(super) fn weaken_etag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get_mut(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        *tag = weak;
    }
}

/// Whether a message states no length, or one in digits (RFC 9110, section 8.6): what a server makes of anything
/// else is its own.
pub(super) fn has_sound_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let is_number =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    lengths.next().is_none_or(is_number) && lengths.next().is_none()
}

/// Whether a request has a body whose length nobody knows.
pub(super) fn is_unframed<B: Body>(request: &Request<B>) -> bool {
    let body = request.body();
    let is_unknown = !body.is_end_stream() && body.size_hint().exact().is_none();
    is_unknown && !request.headers().contains_key(CONTENT_LENGTH)
}

/// Has HTTP/1.1 send a body of no stated length in chunks, whatever the method: hyper takes a GET to have none.
pub(super) fn frame_body<B: Body>(request: &mut Request<B>) {
    if is_unframed(request) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// States a body's length in a head of HTTP/2 where it is known and not stated, as it would be by HTTP/1: of none
/// at all only where the method expects one.
pub(super) fn state_length(parts: &mut http::request::Parts, length: Option<u64>) {
    let expects_none = matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE);
    if let Some(length) = length.filter(|length| *length != 0 || !expects_none) {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

/// Whether a message went through a transfer coding besides the one hyper undoes (RFC 9112, section
/// 6.1): what is inside could not be read, and its recipient would not hear of the coding.
pub(super) fn is_transfer_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = codings.next().is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    !is_chunked || codings.next().is_some()
}

/// Replaces placeholders in field values; a placeholder in a field name or in Host, which says whom
/// the request is for, is a violation.
pub(super) fn substitute(
    headers: &mut HeaderMap,
    secrets: &SecretSet,
    to: &Destination<'_>,
    worst: &mut Worst,
) {
    if secrets.is_empty() {
        return;
    }
    for name in headers.keys() {
        worst.note(secrets.check(name.as_str().as_bytes()));
    }
    for host in headers.get_all(HOST) {
        worst.note(secrets.check(host.as_bytes()));
    }
    replace(headers, worst, |name, value| secrets.substitute_header(to, name, value));
}

/// The same for trailer fields.
///
/// # Errors
/// The strictest of what was found.
pub(super) fn substitute_trailers(
    trailers: &mut HeaderMap,
    secrets: &SecretSet,
    to: &Destination<'_>,
) -> Result<(), Violation> {
    let mut worst = Worst::default();
    for name in trailers.keys() {
        worst.note(secrets.check(name.as_str().as_bytes()));
    }
    replace(trailers, &mut worst, |name, value| secrets.substitute_trailer(to, name, value));
    worst.verdict()
}

fn replace(
    headers: &mut HeaderMap,
    worst: &mut Worst,
    with: impl Fn(&str, &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Violation>,
) {
    for (name, value) in headers.iter_mut() {
        if let Some(replaced) = worst.note(with(name.as_str(), value.as_bytes())).flatten() {
            // The set refuses values with control bytes, so this is a field value.
            if let Ok(mut replaced) = HeaderValue::from_bytes(&replaced) {
                replaced.set_sensitive(true);
                *value = replaced;
            }
        }
    }
}

/// Makes upstream's response headers the guest's: values turned back into placeholders.
pub(super) fn to_guest(headers: &mut HeaderMap, scrubber: Option<&Scrubber>) {
    // The length of the trailer section is not known before it comes.
    let trailer = headers.get(TRAILER).cloned();
    remove_hop_by_hop(headers);
    if let Some(trailer) = trailer {
        headers.insert(TRAILER, trailer);
    }
    scrub(headers, scrubber);
}

pub(super) fn scrub(headers: &mut HeaderMap, scrubber: Option<&Scrubber>) {
    let Some(scrubber) = scrubber else { return };
    let telling: Vec<HeaderName> =
        headers.keys().filter(|name| scrubber.scrub(name.as_str().as_bytes()).is_some()).cloned().collect();
    for name in telling {
        headers.remove(name);
    }
    for value in headers.values_mut() {
        if let Some(clean) = scrubber.scrub(value.as_bytes()) {
            *value = HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static(""));
        }
    }
}
