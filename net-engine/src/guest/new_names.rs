use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use net_core::{Entry, Limits, Ticket, Turn, Turnstile};
use net_tls::LeafSubject;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::{Event, EventQueue, InterceptError};

/// How often the embedder hears that names wait, while they do.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Names that a guest's TLS is for and that have no leaf: each costs a minting, and most often a whole
/// handshake with an upstream that was not met before. So many pass at once and so many a second, the others
/// wait in the order they came; see [`Limits::leaves_per_second`].
pub(super) struct NewNames {
    line: RefCell<Turnstile<Rc<Notify>>>,
    /// Those that have passed and are not known yet. Whoever comes for one of them passes with it.
    passed: RefCell<HashSet<LeafSubject>>,
    held: Cell<u64>,
    told_at: Cell<Option<Instant>>,
    events: EventQueue,
}

impl NewNames {
    pub(super) fn new(limits: &Limits, events: EventQueue) -> Self {
        let line = Turnstile::new(limits.leaves_per_second, limits.leaf_burst, limits.max_leaf_wait);
        Self {
            line: RefCell::new(line),
            passed: RefCell::default(),
            held: Cell::new(0),
            told_at: Cell::new(None),
            events,
        }
    }

    /// Lets `subject` pass, at once where it is known; where it is not, when its turn comes. One that is
    /// dropped meanwhile leaves its turn to the next.
    ///
    /// # Errors
    /// [`InterceptError::MintLimit`], at once: too many wait.
    pub(super) async fn pass(
        &self,
        subject: &LeafSubject,
        is_known: impl Fn() -> bool,
    ) -> Result<Admission<'_>, InterceptError> {
        let needs_no_turn = || is_known() || self.passed.borrow().contains(subject);
        if needs_no_turn() {
            return Ok(self.admission(subject, false));
        }
        let waker = Rc::new(Notify::new());
        let entry = self.line.borrow_mut().enter(Rc::clone(&waker), super::now());
        let ticket = match entry {
            Entry::Passed => return Ok(self.admission(subject, true)),
            Entry::Full => return Err(InterceptError::MintLimit),
            Entry::Waits(ticket) => ticket,
        };
        self.note_held();
        let place = Place { names: self, ticket };
        loop {
            // Who came before it may have been for the same name.
            if self.line.borrow().is_first(ticket) && needs_no_turn() {
                drop(place);
                return Ok(self.admission(subject, false));
            }
            let turn = self.line.borrow_mut().handle_turn(ticket, super::now());
            match turn {
                Turn::Passed => return Ok(self.admission(subject, true)),
                Turn::At(due) => sleep_until(due.into()).await,
                Turn::Behind => waker.notified().await,
            }
        }
    }

    /// How many have waited so far, or wait.
    pub(super) fn held(&self) -> u64 {
        self.held.get()
    }

    fn admission(&self, subject: &LeafSubject, is_new: bool) -> Admission<'_> {
        if is_new {
            self.passed.borrow_mut().insert(subject.clone());
        }
        Admission { names: self, subject: subject.clone(), is_new }
    }

    fn note_held(&self) {
        self.held.set(self.held.get() + 1);
        let now = super::now();
        if self.told_at.get().is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY) {
            self.told_at.set(Some(now));
            self.events.push(Event::LimitHolds { limit: "leaves_per_second" });
        }
    }
}

/// What has passed: the guest may be shown a leaf for it.
#[must_use]
pub(crate) struct Admission<'n> {
    names: &'n NewNames,
    subject: LeafSubject,
    /// Whether it passed by a token of its own.
    is_new: bool,
}

impl Admission<'_> {
    pub(super) fn subject(&self) -> &LeafSubject {
        &self.subject
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_new {
            self.names.passed.borrow_mut().remove(&self.subject);
        }
    }
}

/// A place in the line.
struct Place<'n> {
    names: &'n NewNames,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.names.line.borrow_mut();
        line.leave(self.ticket);
        if let Some(next) = line.first() {
            next.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    /// Long enough for anything that happens at all.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Two at once and four a second, of whom eight may wait.
    const LIMITS: (u32, u32, Duration) = (4, 2, Duration::from_secs(2));

    fn names() -> (NewNames, EventQueue) {
        let events = EventQueue::new(8);
        let (leaves_per_second, leaf_burst, max_leaf_wait) = LIMITS;
        let limits = Limits { leaves_per_second, leaf_burst, max_leaf_wait, ..Limits::default() };
        (NewNames::new(&limits, events.clone()), events)
    }

    fn name(index: usize) -> LeafSubject {
        LeafSubject::Name(format!("n{index}.test").parse().expect("a name"))
    }

    fn run<R>(test: impl Future<Output = R>) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async { timeout(PATIENCE, test).await.expect("an end") })
    }

    async fn pass(names: &NewNames, index: usize) -> Result<(), InterceptError> {
        names.pass(&name(index), || false).await.map(drop)
    }

    #[test]
    fn what_is_too_much_waits_in_order_and_what_is_known_does_not() {
        run(async {
            let (names, events) = names();
            let order = RefCell::new(Vec::new());
            let one = async |index| {
                pass(&names, index).await.expect("its turn");
                order.borrow_mut().push(index);
                if index == 3 {
                    // The others wait: what is known passes, and so does what has just passed and is not over.
                    let known = names.pass(&name(9), || true).await.expect("a known name");
                    assert_eq!((known.is_new, names.line.borrow().len()), (false, 2));
                }
            };
            tokio::join!(one(5), one(1), one(4), one(3), one(2), one(0));
            assert_eq!(order.into_inner(), [5, 1, 4, 3, 2, 0]);
            assert_eq!(names.held(), 4);
            events.close();
            let event = events.next().await.expect("an event");
            assert!(matches!(event, Event::LimitHolds { limit: "leaves_per_second" }), "{event}");
            // Not one for each.
            assert!(events.next().await.is_none());
        });
    }

    #[test]
    fn a_name_that_has_passed_takes_those_with_it_who_are_for_it() {
        run(async {
            let (names, _) = names();
            let first = names.pass(&name(0), || false).await.expect("a token");
            pass(&names, 1).await.expect("a token");
            for _ in 0..100 {
                let with_it = names.pass(&name(0), || false).await.expect("the same name");
                assert!(!with_it.is_new);
            }
            assert_eq!(names.held(), 0);
            drop(first);
            // It is not known, and takes a token of its own again.
            pass(&names, 0).await.expect("its turn");
            assert_eq!(names.held(), 1);
        });
    }

    #[test]
    fn a_full_line_refuses_and_who_goes_makes_room() {
        run(async {
            let (names, _) = names();
            for index in 0..2 {
                pass(&names, index).await.expect("a token");
            }
            let mut waiting: Vec<_> = (2..10).map(|index| Box::pin(pass(&names, index))).collect();
            for one in &mut waiting {
                assert!(futures_util::poll!(one).is_pending());
            }
            assert_eq!(pass(&names, 10).await, Err(InterceptError::MintLimit));
            // Nobody but the last stays: its turn is the next.
            let last = waiting.pop().expect("eight");
            drop(waiting);
            assert_eq!(names.line.borrow().len(), 1);
            last.await.expect("its turn");
            assert!(names.line.borrow().is_empty() && names.passed.borrow().is_empty());
            // Eight would have taken two seconds.
            let mut another = pin!(pass(&names, 11));
            assert!(futures_util::poll!(&mut another).is_pending());
            another.await.expect("its turn");
        });
    }
}
