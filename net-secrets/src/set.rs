use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{AhoCorasick, Anchored, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::echoes::Echoes;
use crate::forms::forms;
use crate::patterns::Patterns;
use crate::prefilter::Prefilter;
use crate::{Binding, Destination, Detector, Scrubber, SecretValue, Violation, ViolationKind};

/// All secrets of a guest at one moment. Immutable and cheap to clone.
#[derive(Clone, Default)]
pub struct SecretSet {
    /// `None` where there are no secrets.
    compiled: Option<Arc<Compiled>>,
    /// `None` where no value is looked for in responses, nor was replaced a short while ago.
    echoes: Option<Arc<Echoes>>,
}

pub(crate) struct Compiled {
    pub(crate) bindings: Vec<Binding>,
    /// Placeholders as they are, longest match first; the pattern's index is the binding's.
    raw: AhoCorasick,
    /// Every form of every placeholder, for streams.
    pub(crate) detect: NFA,
    /// Where a scan starts, and is again once what may have begun has turned out to be no form.
    pub(crate) detect_start: StateID,
    pub(crate) detect_prefilter: Prefilter,
    pub(crate) detect_forms: Patterns,
    /// The binding of each pattern of `detect`.
    pub(crate) detect_owner: Vec<usize>,
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
    /// Compiles bindings into automata: one over all placeholders, and one for each set of values
    /// that some host is bound to.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn compile(bindings: Vec<Binding>) -> Result<Self, CompileError> {
        if bindings.is_empty() {
            return Ok(Self::default());
        }
        for (index, binding) in bindings.iter().enumerate() {
            if let Some(other) = bindings[..index].iter().find(|other| other.env == binding.env) {
                return Err(CompileError::SameVariable { env: other.env.clone() });
            }
            let placeholder = binding.placeholder.as_str();
            let is_ambiguous = |other: &&Binding| {
                let mut pairs =
                    other.hosts.iter().flat_map(|one| binding.hosts.iter().map(move |two| (one, two)));
                other.placeholder.as_str() == placeholder && pairs.any(|(one, two)| one.overlaps(two))
            };
            if let Some(other) = bindings[..index].iter().find(is_ambiguous) {
                let (env, other) = (other.env.clone(), binding.env.clone());
                return Err(CompileError::SamePlaceholder { env, other });
            }
            if binding.hosts.is_empty() {
                return Err(CompileError::NoHosts { env: binding.env.clone() });
            }
            if binding.value.expose().is_empty() {
                return Err(CompileError::EmptyValue { env: binding.env.clone() });
            }
        }
        let raw = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(bindings.iter().map(|binding| binding.placeholder.as_str()))
            .map_err(|_| CompileError::TooMany)?;
        let (mut detect_forms, mut detect_owner) = (Vec::new(), Vec::new());
        for (owner, binding) in bindings.iter().enumerate() {
            for form in forms(binding.placeholder.as_str().as_bytes()) {
                detect_forms.push(form.to_vec());
                detect_owner.push(owner);
            }
        }
        let detect = NFA::builder()
            .match_kind(MatchKind::Standard)
            .build(&detect_forms)
            .map_err(|_| CompileError::TooMany)?;
        let detect_start = detect.start_state(Anchored::No).map_err(|_| CompileError::TooMany)?;
        let echoes = Echoes::compile(&bindings)?;
        let compiled = Compiled {
            bindings,
            raw,
            detect,
            detect_start,
            detect_prefilter: Prefilter::new(&detect_forms),
            detect_forms: Patterns::new(detect_forms),
            detect_owner,
        };
        Ok(Self { compiled: Some(Arc::new(compiled)), echoes: Some(Arc::new(echoes)) })
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
    /// [`Violation`] when a placeholder is not bound to the destination, or stands in an encoded
    /// form; nothing of the value may be sent then.
    pub fn substitute_header(
        &self,
        to: &Destination<'_>,
        name: &str,
        value: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Violation> {
        let Some(compiled) = &self.compiled else { return Ok(None) };
        let is_credentials = ["authorization", "proxy-authorization"]
            .iter()
            .any(|credentials| name.eq_ignore_ascii_case(credentials));
        if is_credentials
            && let Some((scheme, encoded)) = split_basic(value)
            && let Ok(decoded) = STANDARD.decode(encoded)
        {
            let Some(replaced) = compiled.replace(to, &decoded)? else { return Ok(None) };
            let mut result = Zeroizing::new(scheme.to_vec());
            result.extend_from_slice(STANDARD.encode(&*replaced).as_bytes());
            return Ok(Some(result));
        }
        compiled.replace(to, value)
    }

    /// Finds placeholders where none is ever replaced: a request target, a field name.
    ///
    /// # Errors
    /// [`Violation`] of kind `Place`.
    pub fn check(&self, text: &[u8]) -> Result<(), Violation> {
        self.compiled.as_ref().map_or(Ok(()), |compiled| compiled.find_any(text))
    }

    /// A detector for one stream of bytes towards upstream.
    pub fn detector(&self) -> Detector {
        Detector::new(self.compiled.clone())
    }

    /// A scrubber for one stream of bytes from a host: it turns the values that are bound to the
    /// host, or were a short while ago, into placeholders. `None` when none is.
    pub fn scrubber(&self, from: &Destination<'_>) -> Option<Scrubber> {
        let scrub = self.echoes.as_ref()?.scrubs.of(from.host?)?;
        Some(Scrubber::new(Arc::clone(scrub)))
    }
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.environment().map(|(env, _)| env)).finish()
    }
}

impl Compiled {
    /// Replaces raw placeholders in one pass: what was put in is not looked at again.
    fn replace(&self, to: &Destination<'_>, text: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Violation> {
        if self.find_any(text).is_ok() {
            // A raw placeholder is one of the forms.
            return Ok(None);
        }
        let mut result = Zeroizing::new(Vec::new());
        // The text without its raw placeholders: what is left must hold no encoded one.
        let mut left = Vec::with_capacity(text.len());
        let mut done = 0;
        for found in self.raw.find_iter(text) {
            let value = self.value_for(found.pattern().as_usize(), to)?;
            result.extend_from_slice(&text[done..found.start()]);
            result.extend_from_slice(value.expose());
            left.extend_from_slice(&text[done..found.start()]);
            left.push(0);
            done = found.end();
        }
        left.extend_from_slice(&text[done..]);
        self.find_any(&left)?;
        if done == 0 {
            return Ok(None);
        }
        result.extend_from_slice(&text[done..]);
        Ok(Some(result))
    }

    fn find_any(&self, text: &[u8]) -> Result<(), Violation> {
        crate::detector::scan(self, text)
    }

    /// The value behind a placeholder, if one with that text is bound to the destination.
    fn value_for(&self, index: usize, to: &Destination<'_>) -> Result<&SecretValue, Violation> {
        let found = &self.bindings[index];
        let violation = |kind| Violation { env: found.env.clone(), kind };
        let host = to.host.ok_or_else(|| violation(ViolationKind::Host))?;
        let bound = self
            .bindings
            .iter()
            .find(|binding| binding.placeholder == found.placeholder && binding.covers(host))
            .ok_or_else(|| violation(ViolationKind::Host))?;
        if !to.is_verified {
            return Err(violation(ViolationKind::Identity));
        }
        if !bound.value.fits_header() {
            return Err(violation(ViolationKind::Value));
        }
        Ok(&bound.value)
    }
}

/// `Basic ` in any case and what follows it.
fn split_basic(value: &[u8]) -> Option<(&[u8], &[u8])> {
    const SCHEME: &[u8] = b"basic ";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| (scheme, rest.trim_ascii()))
}
