use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;
use net_core::{Flow, HostName};
use net_secrets::{BodyRewriter, Destination, Detector, SecretSet};

use super::body::{BodyError, Filter};
use super::coding::{Decoder, MAX_PIECES};
use super::headers;
use crate::guest::{Context, LeakPlace};

/// What becomes of a body.
pub(super) enum RequestContent {
    /// No placeholder passes.
    Searched(Detector),
    /// Nor one inside of a coding that stays.
    Decoded(Detector, Box<Inside>),
    /// Values are put in; told once there was one.
    Rewritten(BodyRewriter, Rc<Cell<bool>>),
}

/// What looks into coded content that goes on as it is.
pub(super) struct Inside {
    decoder: Decoder,
    detector: Detector,
    /// How much of the chunk at hand was decoded.
    seen: usize,
}

impl Inside {
    pub(super) fn new(decoder: Decoder, detector: Detector) -> Self {
        Self { decoder, detector, seen: 0 }
    }

    /// Whether all of the chunk was looked into.
    fn search(&mut self, chunk: &Bytes) -> Result<bool, BodyError> {
        let mut coded = chunk.slice(self.seen..);
        for _ in 0..MAX_PIECES {
            if coded.is_empty() && self.decoder.is_drained() {
                self.seen = 0;
                return Ok(true);
            }
            let piece = self.decoder.decode(&mut coded)?;
            self.seen = chunk.len() - coded.len();
            // What it holds back is held back of nothing.
            let _ = self.detector.feed(piece)?;
        }
        Ok(false)
    }
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
    fn report(&self, error: BodyError) -> BodyError {
        if let BodyError::Violation(violation) = &error {
            // The first one found ends the stream; there is no second.
            let _ = self.found.set(violation.to_string());
            self.context.report_violation(&self.flow, self.host.clone(), LeakPlace::Body, violation);
        }
        error
    }
}

impl Filter for RequestFilter {
    fn data(&mut self, chunk: &mut Bytes) -> Result<Bytes, BodyError> {
        let fed = match &mut self.content {
            RequestContent::Searched(detector) => {
                detector.feed(std::mem::take(chunk)).map_err(BodyError::from)
            }
            RequestContent::Decoded(detector, inside) => match inside.search(chunk) {
                Ok(true) => detector.feed(std::mem::take(chunk)).map_err(BodyError::from),
                Ok(false) => Ok(Bytes::new()),
                Err(error) => Err(error),
            },
            RequestContent::Rewritten(rewriter, has_changed) => {
                let fed = rewriter.feed_some(chunk);
                has_changed.set(rewriter.has_changed());
                fed.map_err(BodyError::from)
            }
        };
        fed.map_err(|error| self.report(error))
    }

    fn end(&mut self) -> Result<Bytes, BodyError> {
        let rest = match &mut self.content {
            RequestContent::Searched(detector) => Ok(detector.finish()),
            RequestContent::Decoded(detector, inside) => {
                inside.decoder.finish().map(|()| detector.finish()).map_err(BodyError::from)
            }
            RequestContent::Rewritten(rewriter, has_changed) => {
                let rest = rewriter.finish();
                has_changed.set(rewriter.has_changed());
                rest.map_err(BodyError::from)
            }
        };
        rest.map_err(|error| self.report(error))
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), BodyError> {
        let to = Destination {
            host: self.host.as_ref(),
            port: self.flow.upstream.port(),
            is_verified: self.is_verified,
        };
        let substituted = headers::substitute_trailers(trailers, &self.secrets, &to);
        substituted.map_err(|violation| self.report(violation.into()))
    }
}
