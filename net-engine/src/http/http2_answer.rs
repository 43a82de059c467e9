use std::cell::{Cell, RefCell};
use std::future::poll_fn;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{Response, StatusCode};

/// The guest's end of one stream of HTTP/2: where its answer goes, and the answers before it.
pub(super) struct Http2Answer {
    stream: RefCell<SendResponse<Bytes>>,
    /// From then on nothing goes before it.
    has_begun: Cell<bool>,
}

impl Http2Answer {
    pub(super) fn new(stream: SendResponse<Bytes>) -> Self {
        Self { stream: RefCell::new(stream), has_begun: Cell::new(false) }
    }

    /// Sends an interim response; a guest that has gone hears none.
    pub(super) fn inform(&self, head: Response<()>) {
        if !self.has_begun.get() {
            let _ = self.stream.borrow_mut().send_informational(head);
        }
    }

    /// Tells a guest that waits with its body to send it (RFC 9110, section 10.1.1).
    pub(super) fn proceed(&self) {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::CONTINUE;
        self.inform(head);
    }

    /// Begins the answer; its body goes to what is returned.
    ///
    /// # Errors
    /// The guest has gone, or the head is none that HTTP/2 has.
    pub(super) fn begin(&self, head: Response<()>, ends: bool) -> Result<SendStream<Bytes>, h2::Error> {
        self.has_begun.set(true);
        self.stream.borrow_mut().send_response(head, ends)
    }

    /// Answers by a reset alone.
    pub(super) fn reset(&self, reason: Reason) {
        self.has_begun.set(true);
        self.stream.borrow_mut().send_reset(reason);
    }

    /// Waits until the guest takes its request back; not to be asked once the answer has begun.
    pub(super) async fn taken_back(&self) {
        let _ = poll_fn(|task| self.stream.borrow_mut().poll_reset(task)).await;
    }
}
