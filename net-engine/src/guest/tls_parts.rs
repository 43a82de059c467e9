use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use net_core::Limits;
use net_tls::{
    Alpn, AlpnMemory, AlpnOffer, AlpnQuestion, Authority, AuthorityCertificate, FaultMirror, LeafCache,
    LeafSubject, MintError, UpstreamFault, system_clock,
};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, KeyLog, ServerConfig};

use super::{Admission, EventQueue, InterceptError, NewNames, StreamInfo, UpstreamSide};

/// How long it is thought that an upstream chooses what it has chosen.
const ALPN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What TLS of one guest is made of: its authority, its leaves, and whom it trusts upstream.
pub(crate) struct TlsParts {
    /// Without it no TLS is opened.
    leaves: Option<LeafCache>,
    clock: Arc<dyn TimeProvider>,
    new_names: NewNames,
    upstream: RefCell<UpstreamSide>,
    /// Kept for as many names as there are leaves.
    choices: RefCell<AlpnMemory>,
    /// The issuer of faulty leaves, made when the first fault is mirrored.
    mirror: RefCell<Option<FaultMirror>>,
}

impl TlsParts {
    pub(crate) fn new(
        authority: Option<Authority>,
        upstream: UpstreamSide,
        key_log: Option<Arc<dyn KeyLog>>,
        limits: &Limits,
        events: EventQueue,
    ) -> Self {
        let leaves = authority.map(|authority| {
            let leaves = LeafCache::new(authority, limits.max_leaves);
            match &key_log {
                Some(key_log) => leaves.dangerous_key_log(Arc::clone(key_log)),
                None => leaves,
            }
        });
        Self {
            leaves,
            clock: system_clock(),
            new_names: NewNames::new(limits, events),
            upstream: RefCell::new(upstream.with_key_log(key_log)),
            choices: RefCell::new(AlpnMemory::new(limits.max_leaves, ALPN_LIFETIME)),
            mirror: RefCell::default(),
        }
    }

    /// Whether TLS can be opened at all.
    pub(crate) fn has_authority(&self) -> bool {
        self.leaves.is_some()
    }

    /// Who signs.
    pub(crate) fn authority(&self) -> Option<&AuthorityCertificate> {
        self.leaves.as_ref().map(|leaves| leaves.authority().certificate())
    }

    /// Lets a stream for `subject` be opened: at once where its leaf is kept, else when it is the turn of its
    /// name. Before it has cost an upstream's handshake, so that whatever passes is carried.
    ///
    /// # Errors
    /// At once: [`InterceptError::NeedsNewAuthority`], [`InterceptError::MintLimit`], and
    /// [`InterceptError::Mint`] without an authority.
    pub(crate) async fn admit(&self, subject: &LeafSubject) -> Result<Admission<'_>, InterceptError> {
        let leaves = self.leaves.as_ref().ok_or(InterceptError::Mint)?;
        if !leaves.authority().certificate().permits(subject) {
            return Err(InterceptError::NeedsNewAuthority);
        }
        self.new_names.pass(subject, || leaves.has(subject, now())).await
    }

    /// How many streams have waited for the turn of their names.
    pub(crate) fn names_held(&self) -> u64 {
        self.new_names.held()
    }

    /// The guest's end: a leaf for what was admitted, and the protocol it is told.
    pub(crate) fn guest_config(
        &self,
        admitted: &Admission<'_>,
        alpn: Alpn,
    ) -> Result<Arc<ServerConfig>, InterceptError> {
        let leaves = self.leaves.as_ref().ok_or(InterceptError::Mint)?;
        leaves.get_or_mint_config(admitted.subject(), alpn, &self.clock, now()).map_err(refusal)
    }

    /// What the upstream of a stream chose the last time, if that is a good guess at what it will choose.
    pub(crate) fn recall(&self, question: &AlpnQuestion) -> Option<Alpn> {
        self.choices.borrow().recall(question, super::now())
    }

    /// Notes what an upstream that was verified, as far as it had to be, has chosen.
    pub(crate) fn learn(&self, question: &AlpnQuestion, chosen: Alpn) {
        self.choices.borrow_mut().learn(question.clone(), chosen, super::now());
    }

    /// Forgets what an upstream chose that has failed.
    pub(crate) fn forget(&self, question: &AlpnQuestion) {
        self.choices.borrow_mut().forget(question);
    }

    /// The guest's end with the fault upstream's certificate had, from an issuer the guest does not
    /// trust where that is the fault. It chooses a protocol: some guests miss one before they look at a name.
    pub(crate) fn faulty_config(
        &self,
        admitted: &Admission<'_>,
        fault: UpstreamFault,
        offer: AlpnOffer,
    ) -> Result<Arc<ServerConfig>, InterceptError> {
        let authority = self.leaves.as_ref().ok_or(InterceptError::Mint)?.authority();
        let mut mirror = self.mirror.borrow_mut();
        let mirror = match &mut *mirror {
            Some(mirror) => mirror,
            none => none.insert(FaultMirror::generate(now()).map_err(|_| InterceptError::Mint)?),
        };
        let leaf = mirror.leaf(authority, admitted.subject(), fault, now()).map_err(refusal)?;
        Ok(net_tls::guest_config(leaf, offer.protocols(), system_clock()))
    }

    /// Our end towards the upstream of a stream, and whether a handshake proves who that is.
    pub(crate) fn upstream_config(&self, info: &StreamInfo, offer: AlpnOffer) -> (Arc<ClientConfig>, bool) {
        self.upstream.borrow_mut().config(info.name.as_ref(), info.flow.upstream, offer)
    }

    /// Our end towards resolvers that are asked over TLS, who speak no other protocol.
    pub(crate) fn resolver_config(&self) -> ClientConfig {
        self.upstream.borrow().resolver_config()
    }
}

#[allow(clippy::disallowed_methods, reason = "the shell owns the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn refusal(error: MintError) -> InterceptError {
    match error {
        MintError::NotPermitted => InterceptError::NeedsNewAuthority,
        MintError::AuthorityExpired | MintError::Subject | MintError::Crypto | _ => InterceptError::Mint,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use net_tls::{AuthorityParams, NameConstraints, UpstreamTrust};

    use super::*;

    fn parts(params: &AuthorityParams, limits: &Limits) -> TlsParts {
        let authority = Authority::generate(params, now()).expect("an authority");
        TlsParts::new(
            Some(authority),
            UpstreamSide::new(UpstreamTrust::default(), Vec::new()),
            None,
            limits,
            EventQueue::new(1),
        )
    }

    /// What does not wait.
    fn at_once<R>(work: impl Future<Output = R>) -> R {
        work.now_or_never().expect("it does not wait")
    }

    fn config(tls: &TlsParts, subject: &LeafSubject) -> Result<Arc<ServerConfig>, InterceptError> {
        tls.guest_config(&at_once(tls.admit(subject))?, Alpn::Nothing)
    }

    fn name(text: &str) -> LeafSubject {
        LeafSubject::Name(text.parse().expect(text))
    }

    #[test]
    fn many_names_are_few_leaves_and_those_that_are_kept_go_on() {
        const NAMES: u32 = 100_000;
        let limits = Limits {
            leaves_per_second: 4,
            leaf_burst: 4,
            max_leaf_wait: Duration::ZERO,
            max_leaves: 3,
            ..Limits::default()
        };
        let tls = parts(&AuthorityParams::default(), &limits);
        let begun = super::super::now();
        let mut minted = 0;
        for index in 0..NAMES {
            match config(&tls, &name(&format!("h{index}.test"))) {
                Ok(_) => minted += 1,
                Err(error) => assert_eq!(error, InterceptError::MintLimit),
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert!(minted >= 4 && f64::from(minted) <= 4.0 + 4.0 * seconds + 1.0, "{minted} in {seconds} s");
        let leaves = tls.leaves.as_ref().expect("an authority");
        assert!(leaves.len() <= 3);
        // The last is kept, and needs no token.
        let mut names = (0..NAMES).rev().map(|index| name(&format!("h{index}.test")));
        let kept = names.find(|subject| leaves.has(subject, now())).expect("one is kept");
        assert!((0..10).all(|_| config(&tls, &kept).is_ok()));
    }

    #[test]
    fn what_is_admitted_has_its_token_however_long_upstream_takes() {
        let limits = Limits {
            leaves_per_second: 1,
            leaf_burst: 1,
            max_leaf_wait: Duration::ZERO,
            ..Limits::default()
        };
        let tls = parts(&AuthorityParams::default(), &limits);
        let (a, b) = (name("a.test"), name("b.test"));
        let admitted = at_once(tls.admit(&a)).expect("a token");
        // While its upstream is asked, another name finds none.
        assert_eq!(at_once(tls.admit(&b)).map(drop), Err(InterceptError::MintLimit));
        assert!(tls.guest_config(&admitted, Alpn::Nothing).is_ok());
        drop(admitted);
        assert!(config(&tls, &a).is_ok());
    }

    #[test]
    fn a_name_outside_of_the_constraints_needs_a_new_authority_and_costs_no_leaf() {
        let mut params = AuthorityParams::default();
        let permitted = NameConstraints::permitting(["a.test".parse().expect("a name")], []);
        params.constraints = Some(permitted.expect("one subtree"));
        let limits = Limits { leaves_per_second: 1, ..Limits::default() };
        let tls = parts(&params, &limits);
        let outside = [name("b.test"), LeafSubject::Address([10, 0, 0, 1].into())];
        for subject in &outside {
            let refused = at_once(tls.admit(subject)).map(drop);
            assert_eq!(refused, Err(InterceptError::NeedsNewAuthority), "{subject:?}");
        }
        assert!(config(&tls, &name("x.a.test")).is_ok());
    }
}
