use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

/// How many of those who were accepted the guest has not answered yet: as many as may wait the other way
/// ([`Limits::max_held_syns`](net_core::Limits::max_held_syns)), by all ports, each of which has an equal share. So one
/// where the guest is silent closes no other, while there are no more ports than may wait.
pub(super) struct Waiting {
    count: Cell<usize>,
    most: usize,
    ports: Cell<usize>,
    /// The tasks of ports that accept nobody meanwhile.
    tasks: RefCell<Vec<Waker>>,
}

/// Those of one port.
pub(super) struct WaitingAt {
    all: Rc<Waiting>,
    count: Cell<usize>,
}

/// One of them, until it is dropped.
pub(super) struct Unanswered(Rc<WaitingAt>);

impl Waiting {
    pub(super) fn new(most: usize) -> Self {
        Self { count: Cell::new(0), most: most.max(1), ports: Cell::new(0), tasks: RefCell::default() }
    }

    /// One more port, until it is dropped and nobody waits there any more.
    pub(super) fn port(self: &Rc<Self>) -> Rc<WaitingAt> {
        self.ports.set(self.ports.get() + 1);
        Rc::new(WaitingAt { all: Rc::clone(self), count: Cell::new(0) })
    }

    fn share(&self) -> usize {
        (self.most / self.ports.get().max(1)).max(1)
    }

    fn wake(&self) {
        self.tasks.take().into_iter().for_each(Waker::wake);
    }
}

impl WaitingAt {
    /// Waits until one more may be accepted.
    pub(super) fn poll_room(&self, task: &TaskContext<'_>) -> Poll<()> {
        let all = &self.all;
        if all.count.get() < all.most && self.count.get() < all.share() {
            return Poll::Ready(());
        }
        let mut tasks = all.tasks.borrow_mut();
        if !tasks.iter().any(|waiting| waiting.will_wake(task.waker())) {
            tasks.push(task.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn enter(self: &Rc<Self>) -> Unanswered {
        self.count.set(self.count.get() + 1);
        self.all.count.set(self.all.count.get() + 1);
        Unanswered(Rc::clone(self))
    }
}

impl Drop for WaitingAt {
    fn drop(&mut self) {
        self.all.ports.set(self.all.ports.get().saturating_sub(1));
        self.all.wake();
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let port = &self.0;
        port.count.set(port.count.get().saturating_sub(1));
        port.all.count.set(port.all.count.get().saturating_sub(1));
        port.all.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as may enter at a port.
    fn fill(port: &Rc<WaitingAt>) -> Vec<Unanswered> {
        let task = TaskContext::from_waker(Waker::noop());
        std::iter::from_fn(|| port.poll_room(&task).is_ready().then(|| port.enter())).collect()
    }

    #[test]
    fn a_silent_port_closes_no_other() {
        let all = Rc::new(Waiting::new(10));
        let first = all.port();
        assert_eq!(fill(&first).len(), 10, "one alone has all");
        let (second, third) = (all.port(), all.port());
        let silent = [fill(&first), fill(&second)];
        assert_eq!(silent.each_ref().map(Vec::len), [3, 3]);
        // What is answered there makes room there.
        for _ in 0..5 {
            assert_eq!(fill(&third).len(), 3);
        }
        // A port that is closed has its share until nobody waits there.
        drop(second);
        assert_eq!(fill(&third).len(), 3);
        drop(silent);
        assert_eq!(fill(&third).len(), 5);
    }

    #[test]
    fn together_they_hold_no_more_than_may_wait() {
        let all = Rc::new(Waiting::new(3));
        let alone = all.port();
        let early = fill(&alone);
        let others: Vec<_> = (0..5).map(|_| all.port()).collect();
        assert!(others.iter().all(|port| fill(port).is_empty()));
        drop(early);
        let held: Vec<_> = others.iter().map(fill).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 0, 0]);
    }
}
