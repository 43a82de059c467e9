use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;
use net_core::{Flow, HostName};
use net_secrets::{Destination, Detector, SecretSet, Violation};

use super::body::Filter;
use super::headers;
use crate::guest::Context;

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
    /// For a body on its way to where `to` says, on `flow`; what it finds is told in `found` too.
    pub(super) fn new(
        context: &Rc<Context>,
        flow: Flow,
        secrets: SecretSet,
        to: &Destination<'_>,
        found: Arc<OnceLock<String>>,
    ) -> Self {
        Self {
            found,
            detector: secrets.detector(),
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
