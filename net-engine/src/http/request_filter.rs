use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;
use net_core::{Flow, HostName};
use net_secrets::{BodyRewriter, Destination, Detector, SecretSet, Violation};

use super::body::Filter;
use super::headers;
use crate::guest::{Context, LeakPlace};

/// What becomes of a body.
pub(super) enum RequestContent {
    /// No placeholder passes.
    Searched(Detector),
    /// Values are put in; told once there was one.
    Rewritten(BodyRewriter, Rc<Cell<bool>>),
}

/// Towards upstream: bodies are searched or rewritten, trailers substituted.
pub(super) struct RequestFilter {
    content: RequestContent,
    secrets: SecretSet,
    host: Option<HostName>,
    is_verified: bool,
    context: Rc<Context>,
    flow: Flow,
    found: Arc<OnceLock<String>>,
}

impl RequestFilter {
    /// For a body on its way to where `to` says, on `flow`; what it finds is told in `found` too.
    pub(super) fn new(
        context: &Rc<Context>,
        flow: Flow,
        secrets: SecretSet,
        to: &Destination<'_>,
        content: RequestContent,
        found: Arc<OnceLock<String>>,
    ) -> Self {
        Self {
            found,
            content,
            secrets,
            host: to.host.cloned(),
            is_verified: to.is_verified,
            context: Rc::clone(context),
            flow,
        }
    }

    /// The response may have begun, so the embedder hears of it here.
    fn report(&self, violation: Violation) -> Violation {
        let why = violation.to_string();
        // The first one found ends the stream; there is no second.
        let _ = self.found.set(why);
        self.context.report_violation(&self.flow, self.host.clone(), LeakPlace::Body, &violation);
        violation
    }
}

impl Filter for RequestFilter {
    fn data(&mut self, chunk: &mut Bytes) -> Result<Bytes, Violation> {
        let fed = match &mut self.content {
            RequestContent::Searched(detector) => detector.feed(std::mem::take(chunk)),
            RequestContent::Rewritten(rewriter, has_changed) => {
                let fed = rewriter.feed_some(chunk);
                has_changed.set(rewriter.has_changed());
                fed
            }
        };
        fed.map_err(|violation| self.report(violation))
    }

    fn end(&mut self) -> Result<Bytes, Violation> {
        let rest = match &mut self.content {
            RequestContent::Searched(detector) => Ok(detector.finish()),
            RequestContent::Rewritten(rewriter, has_changed) => {
                let rest = rewriter.finish();
                has_changed.set(rewriter.has_changed());
                rest
            }
        };
        rest.map_err(|violation| self.report(violation))
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), Violation> {
        let to = Destination {
            host: self.host.as_ref(),
            port: self.flow.upstream.port(),
            is_verified: self.is_verified,
        };
        headers::substitute_trailers(trailers, &self.secrets, &to).map_err(|violation| self.report(violation))
    }
}
