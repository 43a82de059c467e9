use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;

use crate::{Authority, LeafSubject, MintError};

/// A leaf with less validity left than this is minted anew.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 60);

struct Entry {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
    /// Set when the entry was used since it was last passed over.
    used: bool,
}

/// Leaves that were minted, at most `capacity` of them.
///
/// When it is full, the oldest that was not used since it was last looked at yields (second
/// chance).
pub struct LeafCache {
    capacity: usize,
    entries: HashMap<LeafSubject, Entry>,
    order: VecDeque<LeafSubject>,
}

impl LeafCache {
    /// An empty cache.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: HashMap::new(), order: VecDeque::new() }
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
        let entry = Entry { key: Arc::clone(&key), not_after: leaf.not_after, used: false };
        if self.entries.insert(subject.clone(), entry).is_none() {
            self.order.push_back(subject.clone());
            self.evict();
        }
        Ok(key)
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
