use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{KeyLog, ServerConfig};

use crate::{Authority, LeafSubject, MintError, guest_config};

/// A leaf with less validity left than this is minted anew.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 60);

/// Configurations kept beside a leaf: with no protocol, HTTP/2 and HTTP/1.1.
const MAX_CONFIGS: usize = 3;

struct Entry {
    key: Arc<CertifiedKey>,
    /// At most [`MAX_CONFIGS`], told apart by their protocols.
    configs: Vec<Arc<ServerConfig>>,
    not_after: SystemTime,
    /// Set when the entry was used since it was last passed over.
    used: bool,
}

/// Leaves that were minted, at most `capacity` of them, and what shows them to a guest.
///
/// When it is full, the oldest that was not used since it was last looked at yields (second
/// chance).
pub struct LeafCache {
    capacity: usize,
    entries: HashMap<LeafSubject, Entry>,
    order: VecDeque<LeafSubject>,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl LeafCache {
    /// An empty cache.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: HashMap::new(), order: VecDeque::new(), key_log: None }
    }

    /// The same, giving the secrets of every session to `key_log`: whoever reads it reads the streams.
    #[must_use]
    pub fn dangerous_key_log(mut self, key_log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(key_log);
        self
    }

    /// Whether there is a leaf for `subject` that is good for another hour: asking for it mints none.
    pub fn has(&self, subject: &LeafSubject, now: SystemTime) -> bool {
        self.entries.get(subject).is_some_and(|entry| entry.not_after > now + RENEW_BEFORE)
    }

    /// The leaf for `subject`, minted when there is none that is good for another hour.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn get_or_mint(
        &mut self,
        authority: &Authority,
        subject: &LeafSubject,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, MintError> {
        if let Some(entry) = self.entries.get_mut(subject)
            && entry.not_after > now + RENEW_BEFORE
        {
            entry.used = true;
            return Ok(Arc::clone(&entry.key));
        }
        let leaf = authority.mint(subject, now)?;
        let key = leaf.certified_key()?;
        let entry =
            Entry { key: Arc::clone(&key), configs: Vec::new(), not_after: leaf.not_after, used: false };
        if self.entries.insert(subject.clone(), entry).is_none() {
            self.order.push_back(subject.clone());
            self.evict();
        }
        Ok(key)
    }

    /// The guest's end of a stream to `subject` with the protocol `alpn`: see [`guest_config`]. The
    /// ones asked for first are kept with the leaf, with the clock they were made with.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn get_or_mint_config(
        &mut self,
        authority: &Authority,
        subject: &LeafSubject,
        alpn: Option<&[u8]>,
        clock: Arc<dyn TimeProvider>,
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, MintError> {
        let key = self.get_or_mint(authority, subject, now)?;
        let entry = self.entries.get_mut(subject);
        let kept = entry.as_ref().and_then(|entry| {
            entry.configs.iter().find(|config| config.alpn_protocols.iter().map(Vec::as_slice).eq(alpn))
        });
        if let Some(config) = kept {
            return Ok(Arc::clone(config));
        }
        let mut config = guest_config(key, alpn.map(<[u8]>::to_vec).into_iter().collect(), clock);
        if let Some(key_log) = &self.key_log {
            Arc::make_mut(&mut config).key_log = Arc::clone(key_log);
        }
        if let Some(entry) = entry.filter(|entry| entry.configs.len() < MAX_CONFIGS) {
            entry.configs.push(Arc::clone(&config));
        }
        Ok(config)
    }

    /// The number of leaves kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no leaf is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn evict(&mut self) {
        while self.entries.len() > self.capacity {
            let Some(oldest) = self.order.pop_front() else { return };
            match self.entries.get_mut(&oldest) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.order.push_back(oldest);
                }
                Some(_) => drop(self.entries.remove(&oldest)),
                None => {}
            }
        }
    }
}
