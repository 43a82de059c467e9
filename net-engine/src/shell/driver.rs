use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use net_core::{Direction, Flow};
use tokio::time::{Instant, Sleep, sleep};

use super::{Ping, Udp, dns_session, session};
use crate::core::{FlowId, Gateway, Ingress, Passage, Undelivery, Unreachable, packets};
use crate::dns::{Lookups, answer_datagram};
use crate::guest::{Context, DNS_OVER_TLS_PORT, DNS_PORT, DnsPlace, Event, Stack, now};
use crate::link::{Link, MAX_FRAME_BYTES};

/// Moves frames between a guest's link and its gateway, and starts what they ask for.
///
/// A task of its own, polled when the link, a timer or a session has something for it. Each poll
/// moves about [`Limits::max_frames_per_wakeup`](net_core::Limits::max_frames_per_wakeup) frames,
/// both ways together, before the guest's sessions get their turn.
pub(crate) struct Driver {
    context: Rc<Context>,
    lookups: Rc<Lookups>,
    udp: Rc<Udp>,
    ping: Rc<Ping>,
    link: Box<dyn Link>,
    buffer: Box<[u8]>,
    /// Whether sessions had their turn since frames were received. They have it before anything is
    /// sent: what they read and write goes into the same acknowledgement, and what is for upstream does
    /// not wait for it.
    lets_sessions_answer: bool,
    /// When the link may carry more, where that is what the last step waits for.
    link_opens: Option<std::time::Instant>,
}

/// How far a step of the driver came.
struct Progress {
    frames: usize,
    /// Whether there is nothing more to do: the link has no more frames, or took all of ours.
    is_done: bool,
}

impl Driver {
    pub(crate) fn new(context: Rc<Context>, udp: Rc<Udp>, link: Box<dyn Link>) -> Self {
        let buffer = vec![0; MAX_FRAME_BYTES].into_boxed_slice();
        let lookups = Rc::new(Lookups::new(Rc::clone(&context)));
        let ping = Rc::new(Ping::new(Rc::clone(&context)));
        Self { context, lookups, udp, ping, link, buffer, lets_sessions_answer: false, link_opens: None }
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
        self.link_opens = None;
        loop {
            let received = match self.receive(task, &stack, budget) {
                Ok(progress) => progress,
                Err(error) => return Poll::Ready(error),
            };
            if received.frames > 0 && received.is_done && !self.lets_sessions_answer {
                self.lets_sessions_answer = true;
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.lets_sessions_answer = false;
            let more = stack.with_now(Gateway::poll_flows);
            let sent = match self.send(task, &stack) {
                Ok(progress) => progress,
                Err(error) => return Poll::Ready(error),
            };
            if sent.frames > 0 {
                stack.note_sent();
            }
            // A full link wakes us when it is not, and nothing else can help.
            if !sent.is_done || (!more && received.is_done) {
                break;
            }
            budget = budget.saturating_sub(received.frames + sent.frames);
            if budget == 0 {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if stack.with(Gateway::take_shortage) {
            self.context.events.push(Event::LimitReached { limit: "max_ring_bytes" });
        }
        self.arm(task, timer.as_mut(), &stack)
    }

    /// Takes frames while there is room for answers, and starts what they ask for.
    fn receive(&mut self, task: &mut TaskContext<'_>, stack: &Stack, budget: usize) -> io::Result<Progress> {
        let mut frames = 0;
        while frames < budget {
            let Self { context, lookups, udp, ping, link, buffer, link_opens, .. } = self;
            // One borrow and one look at the clock for a run of frames that ask for nothing.
            let batch = stack.with_now(|gateway, now| {
                let mut shaper = stack.link_shaper();
                while frames < budget && gateway.has_room() {
                    if let Some(shaper) = &mut *shaper
                        && let Some(opens) = shaper.gate(Direction::Egress).packet_at(now)
                    {
                        // What the link holds waits there: the guest's own queue is the buffer.
                        *link_opens = link_opens.map_or(Some(opens), |at| Some(at.min(opens)));
                        gateway.note_link_wait();
                        return Ok(Batch::Drained);
                    }
                    let Poll::Ready(received) = link.poll_receive(task, buffer) else {
                        return Ok(Batch::Drained);
                    };
                    let received = received?;
                    frames += 1;
                    let bytes = buffer.get(..received.len).ok_or(io::ErrorKind::InvalidData)?;
                    if let Some(shaper) = &mut *shaper {
                        let packets = packets(&received.meta, received.len);
                        shaper.gate(Direction::Egress).spend(received.len, packets, now);
                    }
                    let asked = match gateway.handle_frame(&received.meta, bytes, now) {
                        Ingress::Handled => continue,
                        Ingress::Syn { id, flow } => Asked::Session { id, flow },
                        Ingress::GivenUp { id } => Asked::GivenUp { id },
                        Ingress::Datagram { flow, passage, payload, packet } => {
                            match take_datagram(context, udp, &flow, payload, passage, now) {
                                Ok(Some(query)) => Asked::Answer(query),
                                Ok(None) => continue,
                                Err(why) => {
                                    gateway.push_unreachable(packet, why);
                                    continue;
                                }
                            }
                        }
                        Ingress::Datagrams { flow, passage, payload, packet, piece_bytes } => {
                            for piece in payload.chunks(piece_bytes.get().into()) {
                                match take_datagram(context, udp, &flow, piece, passage, now) {
                                    Ok(Some(query)) => query.answer(Rc::clone(lookups)),
                                    Ok(None) => {}
                                    Err(why) => gateway.push_unreachable(packet, why),
                                }
                            }
                            continue;
                        }
                        Ingress::Echo { flow, sequence, passage, data, packet } => {
                            if let Err(why) = ping.ask(&flow, sequence, data, passage, now) {
                                gateway.push_unreachable(packet, why);
                            }
                            continue;
                        }
                        Ingress::Reassembled(datagram) => {
                            let (flow, passage) = (datagram.flow(), datagram.passage());
                            match take_datagram(context, udp, flow, datagram.payload(), passage, now) {
                                Ok(Some(query)) => Asked::Answer(query),
                                Ok(None) => continue,
                                Err(why) => {
                                    gateway.push_unreachable(datagram.packet(), why);
                                    continue;
                                }
                            }
                        }
                    };
                    return Ok(Batch::Asked(asked));
                }
                Ok::<_, io::Error>(Batch::Full)
            })?;
            match batch {
                Batch::Drained => return Ok(Progress { frames, is_done: true }),
                Batch::Full => break,
                Batch::Asked(Asked::Session { id, flow }) => match flow.upstream.port() {
                    DNS_PORT | DNS_OVER_TLS_PORT => dns_session::start(lookups, id, flow),
                    _ => session::start(context, id, flow),
                },
                Batch::Asked(Asked::GivenUp { id }) => context.end_session(id),
                Batch::Asked(Asked::Answer(query)) => query.answer(Rc::clone(lookups)),
            }
        }
        Ok(Progress { frames, is_done: false })
    }

    /// Sends what is queued.
    fn send(&mut self, task: &mut TaskContext<'_>, stack: &Stack) -> io::Result<Progress> {
        let mut shaper = stack.link_shaper();
        stack.with(|gateway| {
            let mut frames = 0;
            while let Some(frame) = gateway.next_frame() {
                let mut gate = shaper.as_mut().map(|shaper| (shaper.gate(Direction::Ingress), now()));
                if let Some((gate, now)) = &gate
                    && let Some(opens) = gate.packet_at(*now)
                {
                    self.link_opens = self.link_opens.map_or(Some(opens), |at| Some(at.min(opens)));
                    gateway.note_link_wait();
                    return Ok(Progress { frames, is_done: false });
                }
                match self.link.poll_send(task, &frame.meta, frame.bytes()) {
                    Poll::Ready(taken) => taken?,
                    Poll::Pending => return Ok(Progress { frames, is_done: false }),
                }
                if let Some((gate, now)) = &mut gate {
                    gate.spend(frame.bytes().len(), frame.packets(), *now);
                }
                gateway.frame_sent();
                frames += 1;
            }
            Ok(Progress { frames, is_done: true })
        })
    }

    fn arm(
        &mut self,
        task: &mut TaskContext<'_>,
        mut timer: Pin<&mut Sleep>,
        stack: &Stack,
    ) -> Poll<io::Error> {
        let deadlines = [
            stack.with(Gateway::poll_timeout),
            self.udp.poll_timeout(),
            self.ping.poll_timeout(),
            stack.shapers().poll_timeout(),
            self.link_opens,
        ];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            let deadline = Instant::from_std(deadline);
            // A deadline that moved away is found out when the old one fires: every datagram moves one.
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            if timer.poll(task).is_ready() {
                stack.shapers().handle_timeout(now());
                self.udp.handle_timeout(now());
                self.ping.handle_timeout(now());
                task.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

/// What ended a run of frames.
enum Batch {
    /// The link has no more.
    Drained,
    /// The budget or the room for answers is used up.
    Full,
    /// The last one asks for something.
    Asked(Asked),
}

/// What a frame asks of the shell, past the borrow of the gateway.
enum Asked {
    Session { id: FlowId, flow: Flow },
    GivenUp { id: FlowId },
    Answer(Query),
}

/// Carries a datagram of the guest, or finds the query in it; or says what the guest is told instead.
fn take_datagram(
    context: &Context,
    udp: &Rc<Udp>,
    flow: &Flow,
    payload: &[u8],
    passage: Passage,
    now: std::time::Instant,
) -> Result<Option<Query>, Undelivery> {
    if flow.upstream.port() == DNS_PORT {
        return Ok(Some(Query::of(context, flow, payload)?));
    }
    udp.send(flow, payload, passage, now).map(|()| None)
}

/// A DNS query on its way.
struct Query {
    guest: SocketAddr,
    /// The resolver the guest asked: the answer comes from it.
    asked: SocketAddr,
    message: Vec<u8>,
    _place: DnsPlace,
}

impl Query {
    /// The query in a datagram, or what the guest is told instead.
    fn of(context: &Context, flow: &Flow, payload: &[u8]) -> Result<Self, Unreachable> {
        let _place = context.enter_dns_query().ok_or(Unreachable::Host)?;
        Ok(Self { guest: flow.guest, asked: flow.upstream, message: payload.to_vec(), _place })
    }

    /// Answers it in a task of the guest's thread.
    fn answer(self, lookups: Rc<Lookups>) {
        tokio::task::spawn_local(async move {
            let stack = &lookups.context.stack;
            let max_bytes = stack.with(|gateway| gateway.max_datagram_bytes(self.asked.is_ipv6()));
            let answer = answer_datagram(&lookups, &self.message, max_bytes).await;
            if let Some(answer) = answer {
                stack.push_datagram(self.asked, self.guest, &answer).await;
            }
        });
    }
}
