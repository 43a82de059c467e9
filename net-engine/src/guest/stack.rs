use std::cell::{Cell, RefCell, RefMut};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use net_core::{Direction, Shaping};
use net_policy::{Layer, RuleId};
use tokio::sync::Notify;

use crate::core::{FlowId, Gateway, LinkShaper, Shapers};

/// The gateway of one guest, shared by the driver and the guest's sessions on one thread.
///
/// No borrow lives across an await. Wakers and drops never borrow the gateway: they may run while
/// it is borrowed, so they leave a note for the driver.
#[derive(Clone)]
pub(crate) struct Stack(Rc<Shared>);

struct Shared {
    gateway: RefCell<Gateway>,
    /// What the guest may send and receive, whatever it is.
    link_shaper: RefCell<Option<LinkShaper>>,
    /// What rules let their flows carry.
    shapers: RefCell<Shapers<(Layer, RuleId)>>,
    /// Flows whose stream was dropped.
    released: RefCell<Vec<FlowId>>,
    driver: Cell<Option<Waker>>,
    /// Notified when frames have left, while somebody waits for it.
    sent: Notify,
    waiting: Cell<bool>,
}

impl Stack {
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self(Rc::new(Shared {
            gateway: RefCell::new(gateway),
            link_shaper: RefCell::new(None),
            shapers: RefCell::new(Shapers::new()),
            released: RefCell::new(Vec::new()),
            driver: Cell::new(None),
            sent: Notify::new(),
            waiting: Cell::new(false),
        }))
    }

    /// Runs `work` on the gateway. Never nested.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Gateway) -> R) -> R {
        work(&mut self.0.gateway.borrow_mut())
    }

    /// Runs `work` on the gateway with the current time, where time matters. Never nested.
    pub(crate) fn with_now<R>(&self, work: impl FnOnce(&mut Gateway, Instant) -> R) -> R {
        self.with(|gateway| work(gateway, Instant::now()))
    }

    /// Bounds what the guest may send and receive from now on.
    pub(crate) fn shape_link(&self, shaping: &Shaping) {
        let mut shaper = LinkShaper::new(shaping);
        let burst = shaper.as_mut().and_then(|shaper| shaper.gate(Direction::Ingress).burst_bytes());
        // What waits in our queue cannot be overtaken: no more than passes at once.
        self.with(|gateway| gateway.set_max_queued_bytes(burst.unwrap_or(usize::MAX)));
        *self.0.link_shaper.borrow_mut() = shaper;
        self.wake_driver();
    }

    /// What bounds the whole link. Not held while anything else is called.
    pub(crate) fn link_shaper(&self) -> RefMut<'_, Option<LinkShaper>> {
        self.0.link_shaper.borrow_mut()
    }

    /// What rules let their flows carry. Not held while anything else is called.
    pub(crate) fn shapers(&self) -> RefMut<'_, Shapers<(Layer, RuleId)>> {
        self.0.shapers.borrow_mut()
    }

    /// Waits until the guest has reset a flow, whoever reads it or does not. One waiter per flow.
    pub(crate) async fn guest_reset(&self, id: FlowId) {
        poll_fn(|task| {
            let is_reset = self.with(|gateway| gateway.poll_reset(id, task.waker()));
            if is_reset { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Sends FIN on a flow once everything written to it has been delivered.
    pub(crate) fn close(&self, id: FlowId) {
        self.with(|gateway| gateway.close(id));
        self.wake_driver();
    }

    /// Has the driver look at the gateway again.
    pub(crate) fn wake_driver(&self) {
        if let Some(waker) = self.0.driver.take() {
            waker.wake();
        }
    }

    /// Registers the driver for the next [`Stack::wake_driver`].
    pub(crate) fn register_driver(&self, waker: &Waker) {
        self.0.driver.set(Some(waker.clone()));
    }

    /// Sends the guest a datagram, as soon as there is room for it; one that is too large is not sent.
    ///
    /// Whoever calls this is bounded in number: each waits with its datagram.
    pub(crate) async fn push_datagram(&self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        self.room_for_datagrams().await;
        // There is room: what is refused now is too large.
        let _ = self.with(|gateway| gateway.push_datagram(source, destination, payload));
        self.wake_driver();
    }

    /// Notes that frames have left for the guest.
    pub(crate) fn note_sent(&self) {
        if self.0.waiting.take() {
            self.0.sent.notify_waiters();
        }
    }

    /// Waits until the gateway takes datagrams.
    pub(crate) async fn room_for_datagrams(&self) {
        while !self.with(|gateway| gateway.has_room_for_datagrams()) {
            // Nothing leaves between the look and the wait: both are of one thread.
            self.0.waiting.set(true);
            self.0.sent.notified().await;
        }
    }

    /// Notes that nobody holds the flow any more.
    pub(crate) fn note_released(&self, id: FlowId) {
        self.0.released.borrow_mut().push(id);
        self.wake_driver();
    }

    /// Carries out what was noted.
    pub(crate) fn release_noted(&self) {
        let noted = std::mem::take(&mut *self.0.released.borrow_mut());
        if !noted.is_empty() {
            self.with_now(|gateway, now| noted.into_iter().for_each(|id| gateway.release(id, now)));
        }
    }
}
