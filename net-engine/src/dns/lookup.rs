use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin as StdPin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use net_core::TokenBucket;
use net_policy::dns::{Pin, Question, QuestionKey};

use super::cache::{AnswerCache, Kept, Told};
use super::upstream::Upstreams;
use crate::guest::Context;

/// That nobody answered is remembered this long (RFC 9520, section 3.2, asks for a second at least).
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// A resolver's answer in wire format, for all who asked.
type Answer = Option<Rc<[u8]>>;
type Exchange = StdPin<Box<dyn Future<Output = Answer>>>;

/// The questions of one guest: those answered not long ago, those being asked, and whom to ask.
pub(crate) struct Lookups {
    pub(crate) context: Rc<Context>,
    upstreams: Upstreams,
    cache: RefCell<AnswerCache>,
    failed: RefCell<AnswerCache>,
    /// One exchange for however many ask the same; it ends when none of them waits any more.
    in_flight: RefCell<HashMap<QuestionKey, WeakShared<Exchange>>>,
    rate: RefCell<TokenBucket>,
}

/// Why a resolver's answer is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// The guest asks more than it may.
    TooMany,
    /// No resolver answered.
    Failed,
}

impl Lookups {
    pub(crate) fn new(context: Rc<Context>) -> Self {
        let limits = &context.limits;
        let rate = limits.dns_exchanges_per_second;
        Self {
            upstreams: Upstreams::default(),
            cache: RefCell::new(AnswerCache::new(limits.max_dns_cache_bytes)),
            failed: RefCell::new(AnswerCache::new(limits.max_dns_cache_bytes / 16)),
            in_flight: RefCell::default(),
            rate: RefCell::new(TokenBucket::new(rate, rate)),
            context,
        }
    }

    /// Has an answer told again that was filtered under this generation of policies.
    pub(crate) fn tell<R>(
        &self,
        key: &QuestionKey,
        generation: u64,
        now: Instant,
        tell: impl FnOnce(Told<'_>) -> R,
    ) -> Option<R> {
        self.cache.borrow_mut().tell(key, generation, now).map(tell)
    }

    /// Keeps a filtered answer.
    pub(crate) fn keep(&self, key: QuestionKey, kept: Kept, now: Instant) {
        self.cache.borrow_mut().insert(key, kept, now);
    }

    /// A resolver's answer, as it came.
    ///
    /// # Errors
    /// [`LookupError`].
    pub(crate) async fn ask(
        self: &Rc<Self>,
        question: &Question,
        key: &QuestionKey,
    ) -> Result<Rc<[u8]>, LookupError> {
        let now = crate::guest::now();
        if self.failed.borrow_mut().tell(key, 0, now).is_some() {
            return Err(LookupError::Failed);
        }
        let running = self.in_flight.borrow().get(key).and_then(WeakShared::upgrade);
        let exchange = match running {
            Some(exchange) => exchange,
            None => self.start(question, key, now)?,
        };
        let answer = exchange.await;
        let mut in_flight = self.in_flight.borrow_mut();
        // Whoever is first takes it out, unless another has begun since.
        if in_flight.get(key).is_some_and(|exchange| exchange.upgrade().is_none_or(|it| it.peek().is_some()))
        {
            in_flight.remove(key);
        }
        drop(in_flight);
        answer.ok_or_else(|| {
            let failure = Kept {
                message: Box::default(),
                pins: Box::default(),
                generation: 0,
                lifetime: FAILURE_LIFETIME,
            };
            self.failed.borrow_mut().insert(key.clone(), failure, crate::guest::now());
            LookupError::Failed
        })
    }

    fn start(
        self: &Rc<Self>,
        question: &Question,
        key: &QuestionKey,
        now: Instant,
    ) -> Result<Shared<Exchange>, LookupError> {
        if !self.rate.borrow_mut().take(now) {
            return Err(LookupError::TooMany);
        }
        let (lookups, message) = (Rc::clone(self), question.to_upstream());
        let nameservers = self.context.resolvers.current(now);
        let exchange: Exchange = Box::pin(async move {
            let answer = lookups.upstreams.ask(&lookups.context, nameservers, &message).await;
            answer.map(Rc::from)
        });
        let exchange = exchange.shared();
        let mut in_flight = self.in_flight.borrow_mut();
        // Those whose askers went away.
        if in_flight.len() >= self.context.limits.max_dns_queries {
            in_flight.retain(|_, exchange| exchange.upgrade().is_some());
        }
        if let Some(weak) = exchange.downgrade() {
            in_flight.insert(key.clone(), weak);
        }
        Ok(exchange)
    }
}

/// The pins of an answer as they are `age` later.
pub(super) fn aged(pins: &[Pin], age: Duration) -> impl Iterator<Item = Pin> {
    pins.iter().map(move |pin| Pin { address: pin.address, ttl: pin.ttl.saturating_sub(age) })
}
