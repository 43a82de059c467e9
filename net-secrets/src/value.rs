use std::sync::Arc;

use zeroize::Zeroizing;

/// Memory that holds one value: locked and kept out of core dumps, where the caller can have that.
///
/// Whoever implements it wipes the bytes when it is dropped, and never moves them meanwhile.
pub trait ValueStore: Send + Sync {
    /// The value.
    fn bytes(&self) -> &[u8];

    /// Whether the memory is locked: never written to swap.
    fn is_locked(&self) -> bool {
        false
    }
}

impl ValueStore for Zeroizing<Vec<u8>> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A real secret. It has no `Debug`, no `Display` and no serialisation; clones share one store.
#[derive(Clone)]
pub struct SecretValue(Arc<dyn ValueStore>);

impl SecretValue {
    /// Takes the bytes over; they are zeroed with the last clone.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::stored(Zeroizing::new(bytes))
    }

    /// A value in the caller's memory.
    pub fn stored(store: impl ValueStore + 'static) -> Self {
        Self(Arc::new(store))
    }

    /// Whether the store is never written to swap.
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// The bytes; copy them no more than needed.
    pub fn expose(&self) -> &[u8] {
        self.0.bytes()
    }
}
