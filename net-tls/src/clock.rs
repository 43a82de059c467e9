use std::sync::Arc;

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// The system's clock, for callers that have no other: the one place of the crate that names it.
pub fn system_clock() -> Arc<dyn TimeProvider> {
    Arc::new(DefaultTimeProvider)
}
