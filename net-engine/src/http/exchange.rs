use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE};
use http::uri::{self, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use net_core::HostName;
use net_policy::{Decision, DenyReason, RequestLine};
use net_secrets::{Destination, SecretSet, Violation};
use zeroize::Zeroizing;

use super::admitted::{Admitted, Rest, Rewriting};
use super::authority::{Authority, Host};
use super::body::Filtered;
use super::coding::{ContentCoding, Decoder};
use super::guest_body::GuestBody;
use super::headers;
use super::incoming::Incoming;
use super::interim::Interims;
use super::refusal::{Form, Refusal};
use super::request_filter::{Inside, RequestContent, RequestFilter};
use super::response_filter::ResponseFilter;
use super::sides::Sides;
use super::target::{escaped, with_path, with_target};
use super::websocket::{self, WebSocket};
use super::worst::Worst;
use crate::core::FlowId;
use crate::guest::{BoundRule, Context, Denial, HttpVersion, LeakPlace, ShownName, StreamInfo};

/// The requests of one stream: what they share is checked against every one of them.
pub(super) struct Exchange {
    context: Rc<Context>,
    info: StreamInfo,
    sides: Sides,
    /// The rule every request must lead to; set by the first one where the SYN could not tell.
    rule: Cell<Option<BoundRule>>,
    state: Cell<State>,
    /// What is to follow HTTP, where that is looked into.
    websocket: RefCell<Option<WebSocket>>,
    /// Why every request is denied, where the stream itself is.
    denied: Option<Denial>,
    /// Whether a request was read.
    has_begun: Cell<bool>,
}

const NO_UPGRADE: &str =
    "another protocol than WebSocket inside this connection is not carried beside secrets";

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

impl Exchange {
    pub(super) fn new(context: Rc<Context>, info: StreamInfo, sides: Sides) -> Self {
        let rule = Cell::new(info.rule);
        Self {
            context,
            info,
            sides,
            rule,
            state: Cell::new(State::Open),
            websocket: RefCell::default(),
            has_begun: Cell::new(false),
            denied: None,
        }
    }

    /// A stream that is denied, which its requests are told.
    pub(super) fn denied(context: Rc<Context>, info: StreamInfo, sides: Sides, denial: Denial) -> Self {
        Self { denied: Some(denial), ..Self::new(context, info, sides) }
    }

    /// The HTTP of both sides.
    pub(super) fn sides(&self) -> &Sides {
        &self.sides
    }

    /// Where its requests go.
    pub(super) fn server(&self) -> SocketAddr {
        self.info.flow.upstream
    }

    /// Whether there was a request at all.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// The flow it is on.
    pub(super) fn id(&self) -> FlowId {
        self.info.id
    }

    /// Whether a request that shows `shown`, where the stream is for no name, has to take another way to upstream than
    /// the connection that stands.
    pub(super) fn goes_otherwise(&self, shown: Option<&HostName>) -> bool {
        self.context.goes_otherwise(self.info.id, &self.info.flow, self.info.name.as_ref().or(shown))
    }

    /// Whether the stream must end after the response in flight.
    pub(super) fn has_ended(&self) -> bool {
        self.state.get() == State::Ended
    }

    /// Whether both sides have left HTTP for another protocol.
    pub(super) fn has_switched(&self) -> bool {
        self.state.get() == State::Switched
    }

    /// What follows HTTP, where that is a WebSocket to look into.
    pub(super) fn take_websocket(&self) -> Option<WebSocket> {
        self.websocket.take()
    }

    /// Checks a request and makes it upstream's, or answers it.
    pub(super) fn admit(&self, request: Request<Incoming>) -> Result<Admitted, Refusal> {
        self.has_begun.set(true);
        if let Some(denial) = &self.denied {
            return Err(self.refuse_denied(denial.clone(), self.info.name.clone()));
        }
        if headers::is_transfer_coded(request.headers()) {
            let why = "a transfer coding other than chunked is not carried";
            return Err(self.refuse(StatusCode::NOT_IMPLEMENTED, why));
        }
        if !headers::has_sound_length(request.headers()) {
            return Err(self.refuse(StatusCode::BAD_REQUEST, "the request's length is malformed"));
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
        let mut upgrade = headers::take_upgrade(&mut parts.headers);
        if self.sides.upstream == HttpVersion::Http2 {
            // It has no such offers, and may ignore one.
            upgrade = None;
        }
        let mut websocket = None;
        if let Some(protocol) = upgrade.as_ref().filter(|_| !secrets.looks_for_nothing()) {
            if !websocket::is_offered(protocol) {
                // What follows is no HTTP, and nothing here could look into it.
                return Err(self.refuse(StatusCode::FORBIDDEN, NO_UPGRADE));
            }
            websocket::offer_no_extension(&mut parts.headers);
            websocket = Some(WebSocket::new(&self.context, &self.info, name, &secrets));
        }
        let scrubber = ResponseFilter::new(&self.context, &secrets, &to);
        if !secrets.is_empty() {
            let sent = headers::withhold_credentials(&mut parts.headers, &secrets, &to);
            sent.map_err(|why| self.refuse_credential(name, why))?;
        }
        headers::to_upstream(&mut parts.headers, scrubber.is_some());
        let target = substitute(&mut parts, &secrets, &to).map_err(|found| self.violate(name, &found))?;
        if let Some(target) = target {
            parts.uri = with_target(parts.uri, &target)
                .ok_or_else(|| self.refuse(StatusCode::BAD_REQUEST, "the request's target is malformed"))?;
        }
        let method = parts.method.clone();
        self.address(&mut parts)
            .ok_or_else(|| self.refuse(StatusCode::BAD_REQUEST, "the request's target is malformed"))?;
        if let Some(protocol) = &upgrade {
            headers::put_upgrade(&mut parts.headers, protocol.clone());
        }
        let found = Arc::new(OnceLock::new());
        let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let rewriter = Some(secrets.body_rewriter(&to, content_type))
            .filter(|rewriter| !body.is_end_stream() && rewriter.may_change());
        let decoder = match ContentCoding::of(&parts.headers) {
            _ if secrets.is_empty() || body.is_end_stream() => None,
            ContentCoding::None => None,
            ContentCoding::Known(coding) => Some(Decoder::new(coding)),
            // What is inside is searched as it stands there.
            ContentCoding::Framed if rewriter.is_none() => None,
            ContentCoding::Framed | ContentCoding::Unknown => {
                let why = "a body that must be searched for secrets has a content coding other than gzip and deflate";
                return Err(self.refuse_one(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
            }
        };
        let rewriting = rewriter.is_some().then(|| Rewriting {
            has_changed: Rc::default(),
            // What it was written in is not put on again.
            is_decoded: decoder.is_some(),
        });
        let (decoder, inside) = match rewriter {
            Some(_) => (decoder, None),
            None => (None, decoder),
        };
        if decoder.is_some() {
            parts.headers.remove(CONTENT_ENCODING);
        }
        let filter = (!secrets.is_empty()).then(|| {
            let detector = || secrets.detector_towards(&to);
            let has_changed = || rewriting.as_ref().map(|it| Rc::clone(&it.has_changed)).unwrap_or_default();
            let content = match (rewriter, inside) {
                (Some(rewriter), _) => RequestContent::Rewritten(rewriter, has_changed()),
                (None, None) => RequestContent::Searched(detector()),
                (None, Some(decoder)) => {
                    RequestContent::Decoded(detector(), Box::new(Inside::new(decoder, detector())))
                }
            };
            RequestFilter::new(&self.context, self.info.flow, secrets, &to, content, Arc::clone(&found))
        });
        // The detector holds bytes back for a while and passes all of them on.
        let body = Filtered::new(body, filter, rewriting.is_none()).decoded(decoder);
        let shown = match name {
            Some(name) if self.info.name.is_none() => {
                Some(ShownName::new(&self.context, self.info.id, name.clone()))
            }
            Some(_) | None => None,
        };
        let interims = Interims::new(&self.context.limits);
        let rest = Rest { scrubber, method, shown, decided, upgrade, websocket, interims };
        Ok(Admitted { request: Request::from_parts(parts, body), found, rewriting, rest })
    }

    /// Writes a request for the HTTP upstream speaks; `None` where its target cannot be.
    fn address(&self, parts: &mut request::Parts) -> Option<()> {
        let path = escaped(parts.uri.path_and_query().map_or("/", PathAndQuery::as_str));
        let own = parts.uri.authority().map(uri::Authority::as_str);
        match self.sides.upstream {
            HttpVersion::Http1 => {
                if let (None, Some(own)) = (parts.headers.get(HOST), own) {
                    let host = HeaderValue::try_from(own).ok()?;
                    parts.headers = headers::with_first(HOST, host, std::mem::take(&mut parts.headers));
                }
                parts.uri = path.parse().ok()?;
                parts.version = Version::HTTP_11;
                headers::to_http1(&mut parts.headers);
            }
            HttpVersion::Http2 => {
                let authority = match own {
                    Some(own) => own.to_owned(),
                    None => parts.headers.get(HOST)?.to_str().ok()?.to_owned(),
                };
                let scheme = self.sides.scheme.clone();
                let target = Uri::builder().scheme(scheme).authority(authority).path_and_query(&*path);
                parts.uri = target.build().ok()?;
                parts.version = Version::HTTP_2;
                parts.headers.remove(HOST);
            }
        }
        Some(())
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
                if self.is_strict() && self.info.name.as_ref().is_some_and(|own| own != name) {
                    let why = "this connection leads to another host";
                    return Err(self.refuse(StatusCode::MISDIRECTED_REQUEST, why));
                }
                self.context.decide(flow, self.decisive(Some(name)))
            }
            Host::Address(address)
                if self.is_strict() && (*address != flow.upstream.ip() || self.info.name.is_some()) =>
            {
                let why = "this connection leads to another host";
                return Err(self.refuse(StatusCode::MISDIRECTED_REQUEST, why));
            }
            Host::Address(_) => self.context.decide(flow, self.decisive(None)),
        };
        if let (Host::Address(_), Decision::Allow { rule } | Decision::PerRequest { rule }) =
            (&authority.host, decision)
            && self.is_strict()
            && self.context.with_policy(|policy, _, _| policy.rests_on_name(rule))
        {
            // The address was allowed for the sake of a name: the request must show it.
            return Err(
                self.refuse(StatusCode::FORBIDDEN, "this connection is for a name, not for an address")
            );
        }
        let name = match &authority.host {
            Host::Name(name) => self.decisive(Some(name)).cloned(),
            Host::Address(_) => self.decisive(None).cloned(),
        };
        let (rule, is_per_request) = match decision {
            Decision::Allow { rule } => (rule, false),
            Decision::PerRequest { rule } => (rule, true),
            Decision::Deny { .. } | Decision::NeedName => {
                self.context.report_denial(flow, name.clone(), &decision);
                return Err(self.refuse_denied(self.context.denial(&decision), name));
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
        self.context.report_denied_request(flow, name.clone(), &line, &decision);
        Err(self.deny(&decision, name))
    }

    /// Whether requests are held to the stream's name.
    fn is_strict(&self) -> bool {
        self.context.strict_hosts
    }

    /// The name a request is decided by that shows `shown`: where it is not held to the stream's, that one.
    fn decisive<'n>(&'n self, shown: Option<&'n HostName>) -> Option<&'n HostName> {
        match &self.info.name {
            Some(own) if !self.is_strict() => Some(own),
            Some(_) | None => shown,
        }
    }

    /// Answers a request that is denied by itself: the stream goes on with the next.
    fn deny(&self, decision: &Decision, host: Option<HostName>) -> Refusal {
        let reason = match decision {
            Decision::Deny { reason, .. } => *reason,
            Decision::Allow { .. } | Decision::PerRequest { .. } | Decision::NeedName => DenyReason::Request,
        };
        let reason = reason.as_str();
        Refusal {
            status: StatusCode::FORBIDDEN,
            error: format!("this request is denied by the policy of this sandbox: {reason}"),
            denial: Some(self.context.denial(decision)),
            host,
        }
    }

    /// Makes upstream's response the guest's.
    pub(super) fn finish(
        &self,
        response: Response<Incoming>,
        rest: Rest,
    ) -> Result<Response<GuestBody>, Refusal> {
        let Rest { mut scrubber, method, shown, decided, upgrade, websocket, interims: _ } = rest;
        let (mut parts, body) = response.into_parts();
        if parts.version == Version::HTTP_10 {
            // Each side is told our version, not the other's (RFC 9112, section 2.3).
            parts.version = Version::HTTP_11;
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let Some(protocol) = upgrade else {
                return Err(self.refuse(StatusCode::BAD_GATEWAY, "upstream switched protocols unasked"));
            };
            let is_unread = websocket.is_none();
            if is_unread && !self.context.secrets().looks_for_nothing() {
                // They have come since the guest asked.
                return Err(self.refuse(StatusCode::FORBIDDEN, NO_UPGRADE));
            }
            if !is_unread && websocket::has_extension(&parts.headers) {
                let why = "upstream chose an extension of WebSocket that it was not offered";
                return Err(self.refuse(StatusCode::BAD_GATEWAY, why));
            }
            self.state.set(State::Switched);
            self.websocket.replace(websocket);
            let name = shown.as_ref().map(ShownName::name);
            self.context.settle_tunnel(self.info.id, name, decided, is_unread);
            headers::to_guest(&mut parts.headers, scrubber.as_mut().map(ResponseFilter::current));
            if scrubber.is_some() {
                parts.extensions.remove::<ReasonPhrase>();
            }
            headers::put_upgrade(&mut parts.headers, protocol);
            return Ok(Response::from_parts(parts, GuestBody::empty()));
        }
        if headers::is_transfer_coded(&parts.headers) {
            let why = "upstream used a transfer coding other than chunked";
            return Err(self.refuse(StatusCode::BAD_GATEWAY, why));
        }
        let says_close =
            headers::words(&parts.headers, CONNECTION).any(|word| word.eq_ignore_ascii_case("close"));
        headers::to_guest(&mut parts.headers, scrubber.as_mut().map(ResponseFilter::current));
        // It is a request's (RFC 9113, section 8.2.2).
        parts.headers.remove(TE);
        let has_no_body = method == Method::HEAD
            || parts.status == StatusCode::NO_CONTENT
            || parts.status == StatusCode::NOT_MODIFIED;
        let mut decoder = None;
        if scrubber.is_some() {
            // The phrase is the server's to choose, and means nothing (RFC 9112, section 4).
            parts.extensions.remove::<ReasonPhrase>();
            if !has_no_body {
                // It was asked not to encode it.
                decoder = match ContentCoding::of(&parts.headers) {
                    ContentCoding::None => None,
                    ContentCoding::Known(coding) => Some(Decoder::new(coding)),
                    ContentCoding::Framed | ContentCoding::Unknown => {
                        let why = "upstream encoded a response that must be searched for secrets";
                        return Err(self.refuse(StatusCode::BAD_GATEWAY, why));
                    }
                };
                if decoder.is_some() {
                    parts.headers.remove(CONTENT_ENCODING);
                }
                // A value and its placeholder differ in length.
                parts.headers.remove(CONTENT_LENGTH);
            }
            headers::weaken_etag(&mut parts.headers);
        }
        if says_close {
            self.state.set(State::Ended);
        }
        self.mark_end(&mut parts.headers);
        if has_no_body {
            // Over HTTP/2 a server can send some all the same (RFC 9110, section 6.4.1).
            return Ok(Response::from_parts(parts, GuestBody::empty()));
        }
        let body = Filtered::new(body, scrubber, false).decoded(decoder);
        Ok(Response::from_parts(parts, GuestBody::upstream(body, shown)))
    }

    /// Tells an HTTP/1 guest that the connection ends with this response.
    fn mark_end(&self, headers: &mut HeaderMap) {
        if self.has_ended() && self.sides.guest == HttpVersion::Http1 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// A violation that was found before the request went on.
    pub(super) fn violate(&self, name: Option<&HostName>, violation: &Violation) -> Refusal {
        let why = violation.to_string();
        let name = name.or(self.info.name.as_ref()).cloned();
        self.context.report_violation(&self.info.flow, name, LeakPlace::Head, violation);
        self.refuse(StatusCode::FORBIDDEN, &why)
    }

    /// A credential of the guest's own where the owner wants none.
    fn refuse_credential(&self, name: Option<&HostName>, why: &'static str) -> Refusal {
        let name = name.or(self.info.name.as_ref()).cloned();
        self.context.report_protocol(&self.info.flow, name, why);
        self.refuse(StatusCode::FORBIDDEN, why)
    }

    /// Answers the guest ourselves and ends the stream behind it.
    pub(super) fn refuse(&self, status: StatusCode, why: &str) -> Refusal {
        self.state.set(State::Ended);
        Refusal { status, error: why.to_owned(), denial: None, host: None }
    }

    /// Answers the guest ourselves. Over HTTP/2 others go on: one request says nothing of them.
    pub(super) fn refuse_one(&self, status: StatusCode, why: &str) -> Refusal {
        match self.sides.guest {
            HttpVersion::Http1 => self.refuse(status, why),
            HttpVersion::Http2 => Refusal { status, error: why.to_owned(), denial: None, host: None },
        }
    }

    /// Answers what the policy denies, and ends the stream behind it.
    fn refuse_denied(&self, denial: Denial, host: Option<HostName>) -> Refusal {
        let refusal = self.refuse(StatusCode::FORBIDDEN, "denied by the policy of this sandbox");
        Refusal { denial: Some(denial), host, ..refusal }
    }

    /// How a request is answered by us.
    pub(super) fn form(&self, headers: &HeaderMap) -> Form {
        Form::accepted(headers, self.context.readable_denials)
    }

    /// Our answer, to a request that accepts this form.
    pub(super) fn answer(&self, refusal: &Refusal, form: Form) -> Response<GuestBody> {
        let mut response = refusal.response(form);
        self.mark_end(response.headers_mut());
        response
    }
}

/// Puts values into a request's head, of which nothing leaves where one of its parts must not; its target
/// with them, where it has some.
fn substitute(
    parts: &mut request::Parts,
    secrets: &SecretSet,
    to: &Destination<'_>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Violation> {
    let mut worst = Worst::default();
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let target = worst.note(secrets.substitute_target(to, target.as_bytes())).flatten();
    let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
    worst.note(secrets.check(authority.as_bytes()));
    worst.note(secrets.check(parts.method.as_str().as_bytes()));
    headers::substitute(&mut parts.headers, secrets, to, &mut worst);
    worst.verdict().map(|()| target)
}
