use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use net_core::{Flow, HostName, Limits};
use net_policy::{Decision, DenyReason, RequestLine};
use net_secrets::{Destination, Detector, Scrubber, SecretSet, Violation};
use tokio::time::timeout;

use super::authority::{Authority, Host};
use super::body::{BodyError, Filter, Filtered};
use super::guest_body::GuestBody;
use super::headers;
use super::held::HeldBody;
use crate::guest::{BoundRule, Context, HeldBytes, HttpVersion, ShownName, StreamInfo};

/// An answer of our own, in place of upstream's.
pub(super) type Refusal = Box<Response<GuestBody>>;

/// The requests of one stream: what they share is checked against every one of them.
pub(super) struct Exchange {
    context: Rc<Context>,
    info: StreamInfo,
    version: HttpVersion,
    /// The rule every request must lead to; set by the first one where the SYN could not tell.
    rule: Cell<Option<BoundRule>>,
    state: Cell<State>,
}

const NO_UPGRADE: &str = "another protocol inside this connection is not carried beside secrets";

/// How a stream goes on after the response in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// With the next request.
    Open,
    /// Not at all.
    Ended,
    /// In another protocol.
    Switched,
}

/// A body towards upstream: as it comes, or read whole before.
pub(super) type UpstreamBody = HeldBody<RequestFilter>;

/// A request that may go on, and what its response must pass.
pub(super) struct Admitted {
    request: Request<Filtered<RequestFilter>>,
    /// What the body's filter found, for the answer to the guest.
    found: Arc<OnceLock<String>>,
    rest: Rest,
}

/// What [`Exchange::finish`] needs to know of a request.
pub(super) struct Rest {
    scrubber: Option<ResponseFilter>,
    method: Method,
    /// Where the session is not for one name already.
    shown: Option<ShownName>,
    /// The request, where requests are decided one by one.
    decided: Option<RequestLine>,
    /// The protocol the guest offers to switch to.
    upgrade: Option<HeaderValue>,
}

impl Exchange {
    pub(super) fn new(context: Rc<Context>, info: StreamInfo, version: HttpVersion) -> Self {
        let rule = Cell::new(info.rule);
        Self { context, info, version, rule, state: Cell::new(State::Open) }
    }

    /// The HTTP both sides speak.
    pub(super) fn version(&self) -> HttpVersion {
        self.version
    }

    /// Whether the stream must end after the response in flight.
    pub(super) fn has_ended(&self) -> bool {
        self.state.get() == State::Ended
    }

    /// Whether both sides have left HTTP for another protocol.
    pub(super) fn has_switched(&self) -> bool {
        self.state.get() == State::Switched
    }

    /// Checks a request and makes it upstream's, or answers it.
    pub(super) fn admit(&self, request: Request<Incoming>) -> Result<Admitted, Refusal> {
        if headers::is_transfer_coded(request.headers()) {
            let why = "a transfer coding other than chunked is not carried";
            return Err(self.refuse(StatusCode::NOT_IMPLEMENTED, why));
        }
        let authority = Authority::of(&request).map_err(|error| self.refuse(error.status(), error.why()))?;
        let decided = self.check(&authority, &request)?;
        let name = match &authority.host {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        };
        let to = self.info.destination(name);
        let secrets = self.context.secrets();
        let (mut parts, body) = request.into_parts();
        if let Some(path) = decided.as_ref().and_then(RequestLine::normal_path) {
            // What was decided is what upstream gets: nothing is left for it to read in another way.
            parts.uri = with_path(parts.uri, path)
                .ok_or_else(|| self.refuse(StatusCode::BAD_REQUEST, "the request's target is malformed"))?;
        }
        let upgrade = headers::take_upgrade(&mut parts.headers);
        if upgrade.is_some() && !secrets.looks_for_nothing() {
            // What follows is no HTTP, and nothing here could look into it.
            return Err(self.refuse(StatusCode::FORBIDDEN, NO_UPGRADE));
        }
        let scrubber = secrets.scrubber(&to).map(|scrubber| ResponseFilter {
            scrubber,
            host: name.cloned(),
            generation: self.context.secrets_generation(),
            context: Rc::clone(&self.context),
        });
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
        secrets
            .check(target.as_bytes())
            .and_then(|()| secrets.check(authority.as_bytes()))
            .and_then(|()| secrets.check(parts.method.as_str().as_bytes()))
            .and_then(|()| headers::to_upstream(&mut parts.headers, &secrets, &to, scrubber.is_some()))
            .map_err(|violation| self.violate(name, &violation))?;
        if let Some(protocol) = &upgrade {
            headers::put_upgrade(&mut parts.headers, protocol.clone());
        }
        let method = parts.method.clone();
        let version = match self.version {
            HttpVersion::Http1 => Version::HTTP_11,
            HttpVersion::Http2 => Version::HTTP_2,
        };
        parts.uri = upstream_uri(&parts.uri, &parts.headers, version)
            .ok_or_else(|| self.refuse(StatusCode::BAD_REQUEST, "the request's target is malformed"))?;
        parts.version = version;
        if version == Version::HTTP_2 {
            parts.headers.remove(http::header::HOST);
        }
        let found = Arc::new(OnceLock::new());
        let filter = (!secrets.is_empty()).then(|| RequestFilter {
            found: Arc::clone(&found),
            detector: secrets.detector(),
            secrets,
            host: name.cloned(),
            is_verified: to.is_verified,
            context: Rc::clone(&self.context),
            flow: self.info.flow,
        });
        // The detector holds bytes back for a while and passes all of them on.
        let body = Filtered::new(body, filter, true);
        let shown = match name {
            Some(name) if self.info.name.is_none() => {
                Some(ShownName::new(&self.context, self.info.id, name.clone()))
            }
            Some(_) | None => None,
        };
        let rest = Rest { scrubber, method, shown, decided, upgrade };
        Ok(Admitted { request: Request::from_parts(parts, body), found, rest })
    }

    /// Whether the authority leads to the rule of the stream, and the request may go on where requests are
    /// decided one by one: then it is returned.
    fn check<B>(&self, authority: &Authority, request: &Request<B>) -> Result<Option<RequestLine>, Refusal> {
        let flow = &self.info.flow;
        if authority.port.is_some_and(|port| port != flow.upstream.port()) {
            return Err(self.refuse(StatusCode::MISDIRECTED_REQUEST, "this connection leads to another port"));
        }
        let decision = match &authority.host {
            Host::Name(name) => {
                // Upstream was asked to be the server_name and nobody else.
                if self.info.name.as_ref().is_some_and(|own| own != name) {
                    let why = "this connection leads to another host";
                    return Err(self.refuse(StatusCode::MISDIRECTED_REQUEST, why));
                }
                self.context.decide(flow, Some(name))
            }
            Host::Address(address) if *address != flow.upstream.ip() || self.info.name.is_some() => {
                let why = "this connection leads to another host";
                return Err(self.refuse(StatusCode::MISDIRECTED_REQUEST, why));
            }
            Host::Address(_) => self.context.decide(flow, None),
        };
        if let (Host::Address(_), Decision::Allow { rule } | Decision::PerRequest { rule }) =
            (&authority.host, decision)
            && self.context.with_policy(|policy, _, _| policy.rests_on_name(rule))
        {
            // The address was allowed for the sake of a name: the request must show it.
            return Err(
                self.refuse(StatusCode::FORBIDDEN, "this connection is for a name, not for an address")
            );
        }
        let name = match &authority.host {
            Host::Name(name) => Some(name.clone()),
            Host::Address(_) => None,
        };
        let (rule, is_per_request) = match decision {
            Decision::Allow { rule } => (rule, false),
            Decision::PerRequest { rule } => (rule, true),
            Decision::Deny { .. } | Decision::NeedName => {
                self.context.report_denial(flow, name, &decision);
                return Err(self.refuse(StatusCode::FORBIDDEN, "denied by the policy of this sandbox"));
            }
        };
        let rule = self.context.bind(flow, rule);
        // Several names of one address may be allowed by different rules: a plain stream is bound to
        // the last it showed. Under another policy the same rule may have another number.
        let may_change = |own: BoundRule| self.info.name.is_none() || own.generation != rule.generation;
        if self.rule.get().is_some_and(|own| own != rule && !may_change(own)) {
            let why = "this request falls under another rule than its connection";
            return Err(self.refuse(StatusCode::MISDIRECTED_REQUEST, why));
        }
        self.rule.set(Some(rule));
        if !is_per_request {
            return Ok(None);
        }
        let line = RequestLine::new(request.method().as_str(), request.uri().path());
        let decision = self.context.decide_request(flow, name.as_ref(), &line);
        if let Decision::Allow { .. } = decision {
            return Ok(Some(line));
        }
        self.context.report_denied_request(flow, name, &line, &decision);
        Err(self.deny(&decision))
    }

    /// Answers a request that is denied by itself: the stream goes on with the next.
    fn deny(&self, decision: &Decision) -> Refusal {
        let reason = match decision {
            Decision::Deny { reason, .. } => *reason,
            Decision::Allow { .. } | Decision::PerRequest { .. } | Decision::NeedName => DenyReason::Request,
        };
        let reason = reason.as_str();
        self.answer(
            StatusCode::FORBIDDEN,
            &format!("this request is denied by the policy of this sandbox: {reason}"),
        )
    }

    /// Makes upstream's response the guest's.
    pub(super) fn finish(&self, response: Response<Incoming>, rest: Rest) -> Response<GuestBody> {
        let Rest { mut scrubber, method, shown, decided, upgrade } = rest;
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let Some(protocol) = upgrade else {
                return *self.refuse(StatusCode::BAD_GATEWAY, "upstream switched protocols unasked");
            };
            if !self.context.secrets().looks_for_nothing() {
                // They have come since the guest asked.
                return *self.refuse(StatusCode::FORBIDDEN, NO_UPGRADE);
            }
            self.state.set(State::Switched);
            self.context.settle_tunnel(self.info.id, shown.as_ref().map(ShownName::name), decided);
            headers::to_guest(&mut parts.headers, None);
            headers::put_upgrade(&mut parts.headers, protocol);
            return Response::from_parts(parts, GuestBody::empty());
        }
        if headers::is_transfer_coded(&parts.headers) {
            let why = "upstream used a transfer coding other than chunked";
            return *self.refuse(StatusCode::BAD_GATEWAY, why);
        }
        let says_close = parts.headers.get(CONNECTION).is_some_and(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close")))
        });
        headers::to_guest(&mut parts.headers, scrubber.as_mut().map(ResponseFilter::current));
        let has_no_body = method == Method::HEAD
            || parts.status == StatusCode::NO_CONTENT
            || parts.status == StatusCode::NOT_MODIFIED;
        if scrubber.is_some() {
            // The phrase is the server's to choose, and means nothing (RFC 9112, section 4).
            parts.extensions.remove::<ReasonPhrase>();
            if !has_no_body {
                if headers::is_encoded(&parts.headers) {
                    // It was asked not to. What is inside cannot be searched for values.
                    let why = "upstream encoded a response that must be searched for secrets";
                    return *self.refuse(StatusCode::BAD_GATEWAY, why);
                }
                // A value and its placeholder differ in length.
                parts.headers.remove(CONTENT_LENGTH);
            }
        }
        if says_close {
            self.state.set(State::Ended);
        }
        self.mark_end(&mut parts.headers);
        if has_no_body {
            // Over HTTP/2 a server can send some all the same (RFC 9110, section 6.4.1).
            return Response::from_parts(parts, GuestBody::empty());
        }
        let body = Filtered::new(body, scrubber, false);
        Response::from_parts(parts, GuestBody::upstream(body, shown))
    }

    /// Tells an HTTP/1 guest that the connection ends with this response.
    fn mark_end(&self, headers: &mut HeaderMap) {
        if self.has_ended() && self.version == HttpVersion::Http1 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// A violation that was found before the request went on.
    pub(super) fn violate(&self, name: Option<&HostName>, violation: &Violation) -> Refusal {
        let why = violation.to_string();
        let name = name.or(self.info.name.as_ref()).cloned();
        self.context.report_violation(&self.info.flow, name, why.clone());
        self.refuse(StatusCode::FORBIDDEN, &why)
    }

    /// Answers the guest ourselves and ends the stream behind it.
    pub(super) fn refuse(&self, status: StatusCode, why: &str) -> Refusal {
        self.state.set(State::Ended);
        self.answer(status, why)
    }

    /// Answers the guest ourselves.
    fn answer(&self, status: StatusCode, why: &str) -> Refusal {
        let mut response = Response::new(GuestBody::own(format!("net-engine: {why}\n")));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        self.mark_end(response.headers_mut());
        Box::new(response)
    }
}

impl Admitted {
    /// The request, what its body may be found to hold, and what [`Exchange::finish`] needs for its
    /// response.
    ///
    /// A body of a stated length is read whole first, as far as `limits` and the room in `held`
    /// permit.
    ///
    /// # Errors
    /// What a body that was read whole was found to hold, or that it could not be read.
    pub(super) async fn settle(
        self,
        limits: &Limits,
        held: &HeldBytes,
    ) -> Result<(Request<UpstreamBody>, Arc<OnceLock<String>>, Rest), BodyError> {
        let Self { request, found, rest } = self;
        let (parts, body) = request.into_parts();
        let stated = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let to_hold =
            stated.filter(|bytes| body.has_filter() && (1..=limits.max_held_body_bytes).contains(bytes));
        let body = match to_hold.and_then(|bytes| Some((bytes, held.take(bytes)?))) {
            Some((bytes, room)) => {
                let mut body = HeldBody::new(body, bytes, room);
                // What has not come in time is searched as it passes.
                timeout(limits.held_body_timeout, body.fill()).await.unwrap_or(Ok(()))?;
                body
            }
            None => HeldBody::streamed(body),
        };
        Ok((Request::from_parts(parts, body), found, rest))
    }
}

/// The same target with another path.
fn with_path(target: Uri, path: &str) -> Option<Uri> {
    if target.path() == path {
        return Some(target);
    }
    let with_query = match target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = target.into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(with_query).ok()?);
    Uri::from_parts(parts).ok()
}

/// Origin-form for HTTP/1.1; scheme, authority and path for HTTP/2.
fn upstream_uri(target: &Uri, headers: &HeaderMap, version: Version) -> Option<Uri> {
    let path = target.path_and_query().map_or("/", |target| target.as_str());
    if version != Version::HTTP_2 {
        return path.parse().ok();
    }
    let authority = match target.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => headers.get(http::header::HOST)?.to_str().ok()?.to_owned(),
    };
    let scheme = target.scheme_str().unwrap_or("https");
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()
}

/// Towards upstream: bodies are searched, trailers substituted.
pub(super) struct RequestFilter {
    detector: Detector,
    secrets: SecretSet,
    host: Option<HostName>,
    is_verified: bool,
    context: Rc<Context>,
    flow: Flow,
    found: Arc<OnceLock<String>>,
}

impl RequestFilter {
    /// The response may have begun, so the embedder hears of it here.
    fn report(&self, violation: Violation) -> Violation {
        let why = violation.to_string();
        // The first one found ends the stream; there is no second.
        let _ = self.found.set(why.clone());
        self.context.report_violation(&self.flow, self.host.clone(), why);
        violation
    }
}

impl Filter for RequestFilter {
    fn data(&mut self, chunk: Bytes) -> Result<Bytes, Violation> {
        self.detector.feed(chunk).map_err(|violation| self.report(violation))
    }

    fn end(&mut self) -> Bytes {
        self.detector.finish()
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), Violation> {
        let to = Destination {
            host: self.host.as_ref(),
            port: self.flow.upstream.port(),
            is_verified: self.is_verified,
        };
        headers::substitute(trailers, &self.secrets, &to).map_err(|violation| self.report(violation))
    }
}

/// Towards the guest: values become placeholders, those of a swap meanwhile too.
pub(super) struct ResponseFilter {
    scrubber: Scrubber,
    /// Whom the response is from.
    host: Option<HostName>,
    /// The swap it knows of.
    generation: u64,
    context: Rc<Context>,
}

impl ResponseFilter {
    /// The scrubber, with the values of this moment.
    fn current(&mut self) -> &Scrubber {
        self.follow();
        &self.scrubber
    }

    fn follow(&mut self) {
        let generation = self.context.secrets_generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        let from = Destination { host: self.host.as_ref(), port: 0, is_verified: false };
        // Where the host has none any more, and none that was replaced lately, what was looked for
        // does no harm.
        if let Some(next) = self.context.secrets().scrubber(&from) {
            self.scrubber.follow(next);
        }
    }
}

impl Filter for ResponseFilter {
    fn data(&mut self, chunk: Bytes) -> Result<Bytes, Violation> {
        self.follow();
        Ok(self.scrubber.feed(chunk))
    }

    fn end(&mut self) -> Bytes {
        self.scrubber.finish()
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), Violation> {
        headers::scrub(trailers, Some(self.current()));
        Ok(())
    }
}
