use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::body::Content;
use crate::compiled::Compiled;
use crate::echoes::Echoes;
use crate::media::BodyKind;
use crate::place::Place;
use crate::scrub::MIN_SCRUB_BYTES;
use crate::websocket::{Frames, Rewriting, Scrubbing};
use crate::{
    Binding, BodyRewriter, CredentialVerdict, Destination, Detector, Hosts, Scrubber, Violation,
    WebSocketRewriter, WebSocketScrubber, credential, header, target,
};

/// All secrets of a guest at one moment. Immutable and cheap to clone.
#[derive(Clone, Default)]
pub struct SecretSet {
    /// `None` where there are no secrets.
    compiled: Option<Arc<Compiled>>,
    /// `None` where no value is looked for in responses, nor was replaced a short while ago.
    echoes: Option<Arc<Echoes>>,
}

/// Why bindings make no set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A binding without hosts.
    #[error("secret {env} is bound to no host")]
    NoHosts {
        /// The secret's variable.
        env: String,
    },
    /// An empty value.
    #[error("secret {env} has an empty value")]
    EmptyValue {
        /// The secret's variable.
        env: String,
    },
    /// A value so short that it occurs by chance in responses.
    #[error(
        "secret {env} has a value of less than 8 bytes, which would be found by chance in responses: set scrub_responses = false"
    )]
    ShortValue {
        /// The secret's variable.
        env: String,
    },
    /// Two secrets in one variable: one of them could not be used.
    #[error("secret {env} is there twice: give one of them another variable")]
    SameVariable {
        /// The variable.
        env: String,
    },
    /// Two secrets behind one placeholder for the same host: which of them it stands for could not be
    /// told.
    #[error("secrets {env} and {other} have one placeholder for the same host: give one another, or none")]
    SamePlaceholder {
        /// The one's variable.
        env: String,
        /// The other's.
        other: String,
    },
    /// More forms than an automaton can hold.
    #[error("too many secrets")]
    TooMany,
}

impl SecretSet {
    /// Compiles bindings: one automaton over all placeholders, and an index for each set of values that
    /// some host is bound to.
    ///
    /// `key` is drawn by the caller: the index of values holds none of them, but fingerprints made with
    /// it, so that nobody who lacks it can tell what collides.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn compile(bindings: Vec<Binding>, key: [u8; 8]) -> Result<Self, CompileError> {
        if bindings.is_empty() {
            return Ok(Self::default());
        }
        for (index, binding) in bindings.iter().enumerate() {
            check(binding, &bindings[..index])?;
        }
        let echoes = Echoes::compile(&bindings, key)?;
        Ok(Self { compiled: Some(Arc::new(Compiled::compile(bindings)?)), echoes: Some(Arc::new(echoes)) })
    }

    /// This set in the place of `previous`: values that were replaced are still turned into
    /// placeholders when they come back, until `until` and as far as they are of the last eight sets.
    ///
    /// Work and memory are those of a compilation of all these values.
    ///
    /// # Errors
    /// [`CompileError::TooMany`].
    pub fn succeeding(self, previous: &Self, until: Instant, now: Instant) -> Result<Self, CompileError> {
        let Some(echoes) = &previous.echoes else { return Ok(self) };
        let echoes = echoes.successor(previous.bindings(), self.bindings(), until, now)?;
        Ok(Self { echoes: Some(Arc::new(echoes)), ..self })
    }

    /// When [`expire`](Self::expire) has something to forget.
    pub fn retired_until(&self) -> Option<Instant> {
        self.echoes.as_ref()?.retired_until()
    }

    /// This set without the replaced values whose time is over.
    ///
    /// # Errors
    /// [`CompileError::TooMany`].
    pub fn expire(&self, now: Instant) -> Result<Self, CompileError> {
        self.clone().succeeding(self, now, now)
    }

    /// Whether there are no secrets.
    pub fn is_empty(&self) -> bool {
        self.compiled.is_none()
    }

    /// Whether nothing is looked for, neither placeholders nor values, replaced ones included.
    pub fn looks_for_nothing(&self) -> bool {
        self.is_empty() && self.echoes.as_ref().is_none_or(|echoes| echoes.scrubs.is_empty())
    }

    pub(crate) fn compiled(&self) -> Option<Arc<Compiled>> {
        self.compiled.clone()
    }

    fn bindings(&self) -> &[Binding] {
        self.compiled.as_ref().map(|compiled| compiled.bindings.as_slice()).unwrap_or_default()
    }

    /// What the guest's environment gets: variable and placeholder of each secret.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.bindings().iter().map(|binding| (binding.env.as_str(), binding.placeholder.as_str()))
    }

    /// Replaces the placeholders of a header value; `None` when it has none.
    ///
    /// In `Authorization` and `Proxy-Authorization` Basic credentials are decoded, replaced and
    /// encoded again (RFC 7617).
    ///
    /// # Errors
    /// [`Violation`] when a placeholder is not bound to the destination and the header, or stands in an
    /// encoded form; nothing of the header block may be sent then.
    pub fn substitute_header(
        &self,
        to: &Destination<'_>,
        name: &str,
        value: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Violation> {
        let Some(compiled) = &self.compiled else { return Ok(None) };
        header::rewrite(compiled, to, Place::Header(name), name, value)
    }

    /// The same for a trailer field.
    ///
    /// # Errors
    /// [`Violation`]: nothing of the trailers may be sent then.
    pub fn substitute_trailer(
        &self,
        to: &Destination<'_>,
        name: &str,
        value: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Violation> {
        let Some(compiled) = &self.compiled else { return Ok(None) };
        header::rewrite(compiled, to, Place::Trailer(name), name, value)
    }

    /// Replaces the placeholders of a target in origin-form, a path and perhaps a query; values are
    /// percent-encoded. `None` when it has none.
    ///
    /// # Errors
    /// [`Violation`]: nothing of the request may be sent then.
    pub fn substitute_target(
        &self,
        to: &Destination<'_>,
        target: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Violation> {
        let Some(compiled) = &self.compiled else { return Ok(None) };
        target::rewrite(compiled, to, target)
    }

    /// Finds placeholders where none is ever replaced: a method, a field name, a name to resolve.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn check(&self, text: &[u8]) -> Result<(), Violation> {
        self.compiled.as_ref().map_or(Ok(()), |compiled| compiled.check(text, None))
    }

    /// The same on the way to somebody, who may be allowed to see placeholders.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn check_towards(&self, to: &Destination<'_>, text: &[u8]) -> Result<(), Violation> {
        self.compiled.as_ref().map_or(Ok(()), |compiled| compiled.check(text, Some(to)))
    }

    /// A detector for one stream of bytes towards upstream.
    pub fn detector(&self) -> Detector {
        Detector::new(self.compiled.clone(), None)
    }

    /// The same for a stream to somebody, who may be allowed to see placeholders.
    pub fn detector_towards(&self, to: &Destination<'_>) -> Detector {
        Detector::new(self.compiled.clone(), Some(to))
    }

    /// Rewrites a request's content of this Content-Type, without its coding.
    pub fn body_rewriter(&self, to: &Destination<'_>, content_type: Option<&[u8]>) -> BodyRewriter {
        let (media_type, kind) = BodyKind::parse(content_type);
        BodyRewriter::new(self.compiled.clone(), to, Content::Body { media_type, kind })
    }

    /// Rewrites what the guest sends in a WebSocket. Messages are held until they are complete, up to
    /// `max_held_bytes`.
    pub fn websocket_rewriter(&self, to: &Destination<'_>, max_held_bytes: usize) -> WebSocketRewriter {
        Frames::new(Rewriting::new(self.compiled.clone(), to), max_held_bytes)
    }

    /// A scrubber for one stream of bytes from a host: it turns the values that are bound to the
    /// host, or were a short while ago, into placeholders. `None` when none is.
    pub fn scrubber(&self, from: &Destination<'_>) -> Option<Scrubber> {
        let index = self.echoes.as_ref()?.scrubs.of(from.host)?;
        Some(Scrubber::new(Arc::clone(index)))
    }

    /// The same for what upstream sends in a WebSocket. Where no value is bound to the host it passes messages
    /// on, and may be made to look for some later.
    pub fn websocket_scrubber(&self, from: &Destination<'_>) -> WebSocketScrubber {
        Frames::new(Scrubbing::new(self.scrubber(from)), 0)
    }

    /// What is to be done with a header of the guest's, as it sent it, that may be a credential of its
    /// own.
    pub fn judge_credential(&self, to: &Destination<'_>, name: &str, value: &[u8]) -> CredentialVerdict {
        let compiled = self.compiled.as_ref();
        compiled.map_or(CredentialVerdict::Keep, |compiled| credential::judge(compiled, to, name, value))
    }
}

fn check(binding: &Binding, others: &[Binding]) -> Result<(), CompileError> {
    let env = || binding.env.clone();
    if let Some(other) = others.iter().find(|other| other.env == binding.env) {
        return Err(CompileError::SameVariable { env: other.env.clone() });
    }
    let is_ambiguous = |other: &&Binding| {
        other.placeholder.as_str() == binding.placeholder.as_str() && other.hosts.overlap(&binding.hosts)
    };
    if let Some(other) = others.iter().find(is_ambiguous) {
        return Err(CompileError::SamePlaceholder { env: other.env.clone(), other: env() });
    }
    if binding.hosts == Hosts::Named(Vec::new()) {
        return Err(CompileError::NoHosts { env: env() });
    }
    match binding.value.expose().len() {
        0 => Err(CompileError::EmptyValue { env: env() }),
        1..MIN_SCRUB_BYTES if binding.scrubs_responses => Err(CompileError::ShortValue { env: env() }),
        _ => Ok(()),
    }
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.environment().map(|(env, _)| env)).finish()
    }
}
