use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::{Context, Stack, session};
use crate::core::{Ingress, Unreachable};
use crate::link::{Link, MAX_FRAME_BYTES};

const DNS_PORT: u16 = 53;

/// Moves frames between a guest's link and its gateway, and starts what they ask for.
///
/// One future, polled when the link, a timer or a session has something for it. Each poll is
/// bounded by [`Limits::max_frames_per_wakeup`](net_core::Limits::max_frames_per_wakeup).
pub(crate) struct Driver {
    context: Rc<Context>,
    link: Box<dyn Link>,
    buffer: Box<[u8]>,
}

impl Driver {
    pub(crate) fn new(context: Rc<Context>, link: Box<dyn Link>) -> Self {
        Self { context, link, buffer: vec![0; MAX_FRAME_BYTES].into_boxed_slice() }
    }

    /// Runs until the link fails or ends.
    pub(crate) async fn run(mut self) -> io::Error {
        let mut timer = pin!(sleep(Duration::ZERO));
        poll_fn(|task| self.poll(task, timer.as_mut())).await
    }

    fn poll(&mut self, task: &mut TaskContext<'_>, mut timer: Pin<&mut Sleep>) -> Poll<io::Error> {
        let stack = self.context.stack.clone();
        stack.register_driver(task.waker());
        stack.release_noted();
        let mut budget = self.context.limits.max_frames_per_wakeup;
        loop {
            let (received, link_drained) = match self.receive(task, &stack, budget) {
                Ok(progress) => progress,
                Err(error) => return Poll::Ready(error),
            };
            budget -= received;
            let more = stack.with(|gateway, now| gateway.poll_flows(now));
            match self.send(task, &stack) {
                Err(error) => return Poll::Ready(error),
                // The link is full: it wakes us when it is not, and nothing else can help.
                Ok(false) => break,
                Ok(true) if more => {}
                Ok(true) if link_drained => break,
                Ok(true) if budget == 0 => {
                    // Sessions get their turn before the next frames.
                    task.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(true) => {}
            }
        }
        self.arm(task, timer.as_mut(), &stack)
    }

    /// Takes frames while there is room for answers; how many, and whether the link has no more.
    fn receive(
        &mut self,
        task: &mut TaskContext<'_>,
        stack: &Stack,
        budget: usize,
    ) -> io::Result<(usize, bool)> {
        for received in 0..budget {
            if !stack.with(|gateway, _| gateway.has_room()) {
                return Ok((received, false));
            }
            let Poll::Ready(frame) = self.link.poll_receive(task, &mut self.buffer) else {
                return Ok((received, true));
            };
            let frame = frame?;
            let bytes = self.buffer.get(..frame.len).ok_or(io::ErrorKind::InvalidData)?;
            let ingress = stack.with(|gateway, now| gateway.handle_frame(&frame.meta, bytes, now));
            match ingress {
                Ingress::Handled => {}
                Ingress::Syn { id, flow } => session::start(&self.context, id, flow),
                Ingress::Datagram { flow, payload, packet } if flow.upstream.port() == DNS_PORT => {
                    answer_dns(&self.context, flow.guest, flow.upstream, payload, packet);
                }
                Ingress::Datagram { packet, .. } => {
                    // Saying so at once lets QUIC fall back to TCP in milliseconds.
                    stack.with(|gateway, _| gateway.push_unreachable(packet, Unreachable::Port));
                }
            }
        }
        Ok((budget, false))
    }

    /// Sends what is queued; whether all of it was taken.
    fn send(&mut self, task: &mut TaskContext<'_>, stack: &Stack) -> io::Result<bool> {
        loop {
            let sent = stack.with(|gateway, _| {
                let Some(frame) = gateway.next_frame() else { return Ok(None) };
                let taken = match self.link.poll_send(task, &frame.meta, frame.bytes()) {
                    Poll::Ready(result) => result.map(|()| true),
                    Poll::Pending => Ok(false),
                };
                if matches!(taken, Ok(true)) {
                    gateway.frame_sent();
                }
                taken.map(Some)
            })?;
            match sent {
                None => return Ok(true),
                Some(true) => {}
                Some(false) => return Ok(false),
            }
        }
    }

    fn arm(
        &mut self,
        task: &mut TaskContext<'_>,
        mut timer: Pin<&mut Sleep>,
        stack: &Stack,
    ) -> Poll<io::Error> {
        let deadline = stack.with(|gateway, _| gateway.poll_timeout());
        if let Some(deadline) = deadline {
            let deadline = Instant::from_std(deadline);
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.poll(task).is_ready() {
                task.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

fn answer_dns(context: &Rc<Context>, guest: SocketAddr, asked: SocketAddr, query: &[u8], packet: &[u8]) {
    if context.enter_dns_query().is_none() {
        context.stack.with(|gateway, _| gateway.push_unreachable(packet, Unreachable::Host));
        return;
    }
    let context = Rc::clone(context);
    let query = query.to_vec();
    tokio::task::spawn_local(async move {
        let Some(_place) = context.enter_dns_query() else { return };
        let max_bytes = context.stack.with(|gateway, _| gateway.max_datagram_bytes(asked.is_ipv6()));
        let Some(answer) = crate::dns::answer_datagram(&context, &query, max_bytes).await else { return };
        // A full queue drops the answer, as a full link would: the resolver asks again.
        let _ = context.stack.with(|gateway, _| gateway.push_datagram(asked, guest, &answer));
        context.stack.wake_driver();
    });
}
