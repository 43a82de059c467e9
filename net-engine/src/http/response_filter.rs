use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;
use net_core::HostName;
use net_secrets::{Destination, Scrubber, SecretSet};

use super::body::{BodyError, Filter};
use super::headers;
use crate::guest::Context;

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
    /// For responses from there, if a secret may come back from it.
    pub(super) fn new(context: &Rc<Context>, secrets: &SecretSet, from: &Destination<'_>) -> Option<Self> {
        Some(Self {
            scrubber: secrets.scrubber(from)?,
            host: from.host.cloned(),
            generation: context.secrets_generation(),
            context: Rc::clone(context),
        })
    }

    /// The scrubber, with the values of this moment.
    pub(super) fn current(&mut self) -> &Scrubber {
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
    fn data(&mut self, chunk: &mut Bytes) -> Result<Bytes, BodyError> {
        self.follow();
        Ok(self.scrubber.feed(std::mem::take(chunk)))
    }

    fn end(&mut self) -> Result<Bytes, BodyError> {
        Ok(self.scrubber.finish())
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), BodyError> {
        headers::scrub(trailers, Some(self.current()));
        Ok(())
    }
}
