use std::cell::{OnceCell, RefCell};
use std::sync::Arc;
use std::time::SystemTime;

use net_core::{Limits, TokenBucket};
use net_tls::{
    Authority, FaultMirror, LeafCache, LeafSubject, MintError, UpstreamFault, UpstreamTrust, system_clock,
};
use rustls::{ClientConfig, KeyLog, ServerConfig};

use super::{InterceptError, Offer};

/// What TLS of one guest is made of: its authority, its leaves, and whom it trusts upstream.
pub(crate) struct TlsParts {
    authority: Option<Authority>,
    leaves: RefCell<LeafCache>,
    /// New leaves: signing one is the dearest thing a guest's first bytes can ask for.
    mints: RefCell<TokenBucket>,
    key_log: Option<Arc<dyn KeyLog>>,
    trust: UpstreamTrust,
    /// One for each offer, with the sessions that may be resumed on the guest's behalf.
    upstream_configs: [OnceCell<Arc<ClientConfig>>; Offer::COUNT],
    /// The issuer of faulty leaves, made when the first fault is mirrored.
    mirror: RefCell<Option<FaultMirror>>,
}

impl TlsParts {
    pub(crate) fn new(
        authority: Option<Authority>,
        trust: UpstreamTrust,
        key_log: Option<Arc<dyn KeyLog>>,
        limits: &Limits,
    ) -> Self {
        let leaves = LeafCache::new(limits.max_leaves);
        let leaves = match &key_log {
            Some(key_log) => leaves.dangerous_key_log(Arc::clone(key_log)),
            None => leaves,
        };
        Self {
            authority,
            leaves: RefCell::new(leaves),
            mints: RefCell::new(TokenBucket::new(limits.leaves_per_second, limits.leaves_per_second)),
            key_log,
            trust,
            upstream_configs: Default::default(),
            mirror: RefCell::default(),
        }
    }

    /// Whether TLS can be opened at all.
    pub(crate) fn has_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// Whether a handshake with upstream proves who it is.
    pub(crate) fn verifies(&self) -> bool {
        self.trust.verifies()
    }

    /// The guest's end: a leaf for `subject`, and the protocol upstream chose. A guest is one thread,
    /// so a name is never minted twice at a time.
    pub(crate) fn guest_config(
        &self,
        subject: &LeafSubject,
        alpn: Option<&[u8]>,
    ) -> Result<Arc<ServerConfig>, InterceptError> {
        let authority = self.authority.as_ref().ok_or(InterceptError::Mint)?;
        let mut leaves = self.leaves.borrow_mut();
        if !leaves.has(subject, now()) {
            self.may_mint(authority, subject)?;
        }
        leaves.get_or_mint_config(authority, subject, alpn, system_clock(), now()).map_err(refusal)
    }

    /// Whether a stream for `subject` can be opened now: what could not be is refused before it has cost an
    /// upstream's handshake.
    pub(crate) fn may_open(&self, subject: &LeafSubject) -> Result<(), InterceptError> {
        if self.leaves.borrow().has(subject, now()) || self.mints.borrow().has(super::now()) {
            return Ok(());
        }
        Err(InterceptError::MintLimit)
    }

    fn may_mint(&self, authority: &Authority, subject: &LeafSubject) -> Result<(), InterceptError> {
        if !authority.certificate().permits(subject) {
            return Err(InterceptError::NeedsNewAuthority);
        }
        if !self.mints.borrow_mut().take(super::now()) {
            return Err(InterceptError::MintLimit);
        }
        Ok(())
    }

    /// The guest's end with the fault upstream's certificate had, from an issuer the guest does not
    /// trust where that is the fault.
    pub(crate) fn faulty_config(
        &self,
        subject: &LeafSubject,
        fault: UpstreamFault,
    ) -> Result<Arc<ServerConfig>, InterceptError> {
        let authority = self.authority.as_ref().ok_or(InterceptError::Mint)?;
        self.may_mint(authority, subject)?;
        let mut mirror = self.mirror.borrow_mut();
        let mirror = match &mut *mirror {
            Some(mirror) => mirror,
            none => none.insert(FaultMirror::generate(now()).map_err(|_| InterceptError::Mint)?),
        };
        let leaf = mirror.leaf(authority, subject, fault, now()).map_err(refusal)?;
        Ok(net_tls::guest_config(leaf, Vec::new(), system_clock()))
    }

    /// Upstream's end: offering these protocols.
    pub(crate) fn upstream_config(&self, offer: Offer) -> Arc<ClientConfig> {
        let config = self.upstream_configs[offer.index()].get_or_init(|| {
            let protocols = offer.protocols().iter().map(|protocol| protocol.to_vec()).collect();
            let mut config = net_tls::upstream_config(&self.trust, protocols, system_clock());
            if let Some(key_log) = &self.key_log {
                Arc::make_mut(&mut config).key_log = Arc::clone(key_log);
            }
            config
        });
        Arc::clone(config)
    }

    /// Our end towards resolvers that are asked over TLS, who speak no other protocol.
    pub(crate) fn resolver_config(&self) -> ClientConfig {
        net_tls::upstream_config(&self.trust, Vec::new(), system_clock()).as_ref().clone()
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
    use net_tls::{AuthorityParams, NameConstraints};

    use super::*;

    fn parts(params: &AuthorityParams, limits: &Limits) -> TlsParts {
        let authority = Authority::generate(params, now()).expect("an authority");
        TlsParts::new(Some(authority), UpstreamTrust::default(), None, limits)
    }

    fn name(text: &str) -> LeafSubject {
        LeafSubject::Name(text.parse().expect(text))
    }

    #[test]
    fn many_names_are_few_leaves_and_those_that_are_kept_go_on() {
        const NAMES: u32 = 100_000;
        let limits = Limits { leaves_per_second: 4, max_leaves: 3, ..Limits::default() };
        let tls = parts(&AuthorityParams::default(), &limits);
        let begun = super::super::now();
        let mut minted = 0;
        for index in 0..NAMES {
            match tls.guest_config(&name(&format!("h{index}.test")), None) {
                Ok(_) => minted += 1,
                Err(error) => assert_eq!(error, InterceptError::MintLimit),
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert!(minted >= 4 && f64::from(minted) <= 4.0 + 4.0 * seconds + 1.0, "{minted} in {seconds} s");
        assert!(tls.leaves.borrow().len() <= 3);
        // The last is kept, and needs no token.
        let mut names = (0..NAMES).rev().map(|index| name(&format!("h{index}.test")));
        let kept = names.find(|subject| tls.leaves.borrow().has(subject, now())).expect("one is kept");
        assert!((0..10).all(|_| tls.guest_config(&kept, None).is_ok()));
    }

    #[test]
    fn what_could_not_be_minted_is_not_opened_and_what_is_kept_is() {
        let limits = Limits { leaves_per_second: 1, ..Limits::default() };
        let tls = parts(&AuthorityParams::default(), &limits);
        assert_eq!(tls.may_open(&name("a.test")), Ok(()));
        tls.guest_config(&name("a.test"), None).expect("a leaf");
        assert_eq!(tls.may_open(&name("a.test")), Ok(()));
        assert_eq!(tls.may_open(&name("b.test")), Err(InterceptError::MintLimit));
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
            for fault in [UpstreamFault::Expired, UpstreamFault::UnknownIssuer] {
                let refused = tls.faulty_config(subject, fault).map(drop);
                assert_eq!(refused, Err(InterceptError::NeedsNewAuthority), "{subject:?}");
            }
            let refused = tls.guest_config(subject, None).map(drop);
            assert_eq!(refused, Err(InterceptError::NeedsNewAuthority), "{subject:?}");
        }
        assert!(tls.guest_config(&name("x.a.test"), None).is_ok());
    }
}
