use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{KeyLog, ServerConfig};

use crate::guest_config::resuming_guest_config;
use crate::{Alpn, Authority, LeafSubject, MintError};

/// A leaf with less validity left than this is minted anew, while it is still good.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 60);

/// A leaf and what shows it to a guest.
struct Kept {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
    /// Whether one that is minted later lives longer: not where the authority's own end is near.
    has_successor: bool,
    /// One for each protocol, made when it is first asked for. Tickets of one mean nothing to another.
    configs: [OnceLock<Arc<ServerConfig>>; Alpn::COUNT],
    /// Set when it was used since it was last passed over.
    used: AtomicBool,
    /// Set by whoever mints its successor.
    renewing: AtomicBool,
}

/// A mint under way, or just over: those who come meanwhile wait for the one that began it.
type Flight = Arc<OnceLock<Result<Arc<Kept>, MintError>>>;

/// Leaves that an authority has minted, at most `capacity` of them, and what shows them to guests.
///
/// It may be shared between threads. Finding a leaf takes no lock; one that is missing is minted once,
/// whoever asks for it meanwhile, and under no lock that others wait for. When it is full, the oldest
/// that was not used since it was last looked at yields (second chance).
pub struct LeafCache {
    authority: Authority,
    capacity: usize,
    kept: papaya::HashMap<LeafSubject, Arc<Kept>>,
    /// How many are kept; counted apart, since the map's own count walks it.
    count: AtomicUsize,
    flights: Mutex<HashMap<LeafSubject, Flight>>,
    /// The subjects kept, as they came.
    order: Mutex<VecDeque<LeafSubject>>,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl LeafCache {
    /// An empty cache of what `authority` will sign.
    pub fn new(authority: Authority, capacity: usize) -> Self {
        Self {
            authority,
            capacity: capacity.max(1),
            kept: papaya::HashMap::new(),
            count: AtomicUsize::new(0),
            flights: Mutex::default(),
            order: Mutex::default(),
            key_log: None,
        }
    }

    /// The same, giving the secrets of every session to `key_log`: whoever reads it reads the streams.
    #[must_use]
    pub fn dangerous_key_log(mut self, key_log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(key_log);
        self
    }

    /// Who signs.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether there is a leaf for `subject` that is valid: asking for it mints no more than its successor.
    pub fn has(&self, subject: &LeafSubject, now: SystemTime) -> bool {
        self.kept.pin().get(subject).is_some_and(|kept| kept.not_after > now)
    }

    /// The leaf for `subject`, minted when there is none that is good for another hour. While somebody
    /// mints the successor of one that is still valid, others are given that one.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn get_or_mint(
        &self,
        subject: &LeafSubject,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, MintError> {
        self.find(subject, now, |kept| Arc::clone(&kept.key))
    }

    /// The guest's end of a stream to `subject` with the protocol `alpn`: see
    /// [`guest_config`](crate::guest_config). It is kept with the leaf, with the clock it was first made
    /// with, and resumes its own sessions: those to this subject, with this protocol, while this leaf is
    /// kept. The keys of its tickets are forgotten with it.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn get_or_mint_config(
        &self,
        subject: &LeafSubject,
        alpn: Alpn,
        clock: &Arc<dyn TimeProvider>,
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, MintError> {
        self.find(subject, now, |kept| {
            let config = kept.configs[alpn.index()].get_or_init(|| {
                let mut config = resuming_guest_config(Arc::clone(&kept.key), alpn, Arc::clone(clock));
                if let Some(key_log) = &self.key_log {
                    Arc::make_mut(&mut config).key_log = Arc::clone(key_log);
                }
                config
            });
            Arc::clone(config)
        })
    }

    /// The number of leaves kept.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether no leaf is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find<R>(
        &self,
        subject: &LeafSubject,
        now: SystemTime,
        take: impl FnOnce(&Kept) -> R,
    ) -> Result<R, MintError> {
        let kept = self.kept.pin();
        if let Some(kept) = kept.get(subject).filter(|kept| kept.is_usable(now)) {
            // Most often it is set, and a line that nobody writes is shared by all readers.
            if !kept.used.load(Ordering::Relaxed) {
                kept.used.store(true, Ordering::Relaxed);
            }
            return Ok(take(kept));
        }
        drop(kept);
        self.mint(subject, now).map(|kept| take(&kept))
    }

    fn mint(&self, subject: &LeafSubject, now: SystemTime) -> Result<Arc<Kept>, MintError> {
        let flight = Arc::clone(lock(&self.flights).entry(subject.clone()).or_default());
        // Waits for nobody but those who mint this very leaf.
        let minted = flight.get_or_init(|| {
            // Another flight may have ended between our look and this one.
            let fresh = self.kept.pin().get(subject).filter(|kept| kept.is_fresh(now)).cloned();
            fresh.map_or_else(|| self.mint_anew(subject, now), Ok)
        });
        let mut flights = lock(&self.flights);
        if flights.get(subject).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(subject);
        }
        minted.clone()
    }

    fn mint_anew(&self, subject: &LeafSubject, now: SystemTime) -> Result<Arc<Kept>, MintError> {
        let minted = self.authority.mint(subject, now);
        let end = self.authority.certificate().not_after();
        let kept = minted
            .and_then(|leaf| Ok(Kept::new(leaf.certified_key()?, leaf.not_after, leaf.not_after < end)));
        let kept = match kept {
            Ok(kept) => Arc::new(kept),
            Err(error) => {
                // The next one may try again.
                if let Some(kept) = self.kept.pin().get(subject) {
                    kept.renewing.store(false, Ordering::Relaxed);
                }
                return Err(error);
            }
        };
        let is_new = self.kept.pin().insert(subject.clone(), Arc::clone(&kept)).is_none();
        if is_new {
            self.count.fetch_add(1, Ordering::Relaxed);
            let mut order = lock(&self.order);
            order.push_back(subject.clone());
            self.evict(&mut order);
        }
        Ok(kept)
    }

    /// Each subject that is kept is in `order` once: it is put there when it comes, and leaves both.
    fn evict(&self, order: &mut VecDeque<LeafSubject>) {
        let kept = self.kept.pin();
        while order.len() > self.capacity {
            let Some(oldest) = order.pop_front() else { return };
            if kept.get(&oldest).is_some_and(|kept| kept.used.swap(false, Ordering::Relaxed)) {
                order.push_back(oldest);
            } else if kept.remove(&oldest).is_some() {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Kept {
    fn new(key: Arc<CertifiedKey>, not_after: SystemTime, has_successor: bool) -> Self {
        let (used, renewing) = Default::default();
        Self { key, not_after, has_successor, configs: Default::default(), used, renewing }
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.not_after > now && (!self.has_successor || self.not_after > now + RENEW_BEFORE)
    }

    /// Whether it may be shown; where its successor is due, to all but the one that goes and mints it.
    fn is_usable(&self, now: SystemTime) -> bool {
        self.is_fresh(now) || (self.not_after > now && self.renewing.swap(true, Ordering::Relaxed))
    }
}

impl fmt::Debug for LeafCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafCache").field("authority", &self.authority).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
