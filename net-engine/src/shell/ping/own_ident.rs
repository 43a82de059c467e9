use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Identifiers of all guests of this process: no guest hears another one's echoes. Locked when an identifier of a guest
/// comes or goes, never for an echo.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An identifier that is nobody else's in this process.
pub(super) struct OwnIdent(u16);

impl OwnIdent {
    /// One that nobody can guess: other processes of the host may ask by theirs.
    ///
    /// # Errors
    /// Without randomness, or when all are taken.
    pub(super) fn draw() -> io::Result<Self> {
        let first = getrandom::u32().map_err(|_| io::ErrorKind::Other)?.to_le_bytes();
        let first = u16::from_le_bytes([first[0], first[1]]);
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = (first..=u16::MAX).chain(0..first);
        let free = all.find(|ident| taken.insert(*ident)).ok_or(io::ErrorKind::AddrInUse)?;
        Ok(Self(free))
    }

    pub(super) fn number(&self) -> u16 {
        self.0
    }
}

impl Drop for OwnIdent {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_nobody_else_s() {
        // Of others that run beside this test, too.
        let held: Vec<_> = (0..10_000).map(|_| OwnIdent::draw().expect("one is free")).collect();
        let numbers: BTreeSet<u16> = held.iter().map(OwnIdent::number).collect();
        assert_eq!(numbers.len(), held.len());
        drop(held);
        // What is given back is another's: without that there would be none by now.
        for _ in 0..8 {
            let held: Vec<_> = (0..10_000).map(|_| OwnIdent::draw().expect("one is free")).collect();
            assert_eq!(held.len(), 10_000);
        }
    }
}
