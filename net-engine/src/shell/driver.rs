use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use net_core::{Direction, Flow};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep};

use super::dns_query::DnsQuery;
use super::flood_watch::FloodWatch;
use super::{Ping, Udp, dns_session, session};
use crate::core::{FlowId, Gateway, Ingress, Kind, Passage, Undelivery, packets};
use crate::dns::Lookups;
use crate::guest::{Context, DNS_OVER_TLS_PORT, DNS_PORT, Event, RawEchoSockets, Stack, now};
use crate::link::{Link, MAX_FRAME_BYTES, SPARED_SERVICES};

/// What a datagram costs that begins a flow, in frames that do not: it is decided, and takes a socket of the host.
const FRAMES_PER_UDP_FLOW: usize = 8;

/// Flows that are started in one poll: each is decided, and its dial costs as much as dozens of frames. What
/// the others send in the meantime, and what has come for them, is not to wait for a burst of SYNs.
const MAX_STARTS: usize = 8;

/// Moves frames between a guest's link and its gateway, and starts what they ask for.
///
/// A task of its own, polled when the link, a timer or a session has something for it. Each poll
/// moves about [`Limits::max_frames_per_wakeup`](net_core::Limits::max_frames_per_wakeup) frames,
/// or datagrams where many share a frame, both ways together, and starts a few flows, before the guest's sessions get their turn, and whatever else
/// runs on the worker: its sockets are looked at in between, however much the link has.
pub(crate) struct Driver {
    context: Rc<Context>,
    lookups: Rc<Lookups>,
    udp: Rc<Udp>,
    ping: Rc<Ping>,
    link: Box<dyn Link>,
    buffer: Box<[u8]>,
    /// Flows that wait to be started, in the order they came. All of them are held by the gateway, which bounds
    /// how many there are.
    starts: VecDeque<(FlowId, Flow)>,
    floods: FloodWatch,
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
    pub(crate) fn new(
        context: Rc<Context>,
        udp: Rc<Udp>,
        link: Box<dyn Link>,
        raw_echoes: RawEchoSockets,
    ) -> Self {
        let buffer = vec![0; MAX_FRAME_BYTES].into_boxed_slice();
        let lookups = Rc::new(Lookups::new(Rc::clone(&context)));
        let ping = Rc::new(Ping::new(Rc::clone(&context), raw_echoes));
        Self {
            context,
            lookups,
            udp,
            ping,
            link,
            buffer,
            starts: VecDeque::new(),
            floods: FloodWatch::new(),
            lets_sessions_answer: false,
            link_opens: None,
        }
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
        self.floods.poll(&stack, &self.udp, &self.ping, &mut *self.link);
        let mut budget = self.context.limits.max_frames_per_wakeup;
        let mut starts = MAX_STARTS;
        self.link_opens = None;
        loop {
            let received = match self.receive(task, &stack, budget) {
                Ok(progress) => progress,
                Err(error) => return Poll::Ready(error),
            };
            self.start_flows(&mut starts);
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
                return come_back(task);
            }
        }
        if !self.starts.is_empty() {
            return come_back(task);
        }
        if stack.with(Gateway::take_shortage) {
            self.context.events.push(Event::LimitReached { limit: "max_ring_bytes" });
        }
        self.arm(task, timer.as_mut(), &stack)
    }

    /// Takes frames while there is room for answers, and starts what they ask for.
    fn receive(&mut self, task: &mut TaskContext<'_>, stack: &Stack, budget: usize) -> io::Result<Progress> {
        // Where one costs more than others it counts as more.
        let mut frames = 0;
        while frames < budget {
            let Self { context, lookups, udp, ping, link, buffer, starts, link_opens, floods, .. } = self;
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
                    let ingress = gateway.handle_frame(&received.meta, bytes, now);
                    let (decided, refused) = (udp.decided(), udp.refused());
                    let (asked, thinned_as) = match ingress {
                        Ingress::Handled => continue,
                        Ingress::Syn { id, flow } => {
                            starts.push_back((id, flow));
                            continue;
                        }
                        Ingress::GivenUp { id } => (Some(Asked::GivenUp { id }), None),
                        Ingress::Datagram { flow, passage, payload, packet } => {
                            let taken = take_datagram(context, udp, &flow, payload, passage, now);
                            let query = taken.unwrap_or_else(|why| {
                                gateway.push_unreachable(packet, why);
                                None
                            });
                            (query.map(Asked::Answer), thinned_as(&flow))
                        }
                        Ingress::Datagrams { flow, passage, payload, packet, piece_bytes } => {
                            let pieces = payload.chunks(piece_bytes.get().into());
                            // Each is sent by itself, which is most of what a frame of one costs.
                            frames += pieces.len().saturating_sub(1);
                            for piece in pieces {
                                match take_datagram(context, udp, &flow, piece, passage, now) {
                                    Ok(Some(query)) => query.answer(Rc::clone(lookups)),
                                    Ok(None) => {}
                                    Err(why) => gateway.push_unreachable(packet, why),
                                }
                            }
                            (None, thinned_as(&flow))
                        }
                        Ingress::Echo { flow, sequence, passage, data, packet } => {
                            if let Err(why) = ping.ask(&flow, sequence, data, passage, now) {
                                gateway.push_unreachable(packet, why);
                            }
                            continue;
                        }
                        Ingress::Reassembled(datagram) => {
                            let (flow, passage) = (datagram.flow(), datagram.passage());
                            let taken = take_datagram(context, udp, flow, datagram.payload(), passage, now);
                            let query = taken.unwrap_or_else(|why| {
                                gateway.push_unreachable(datagram.packet(), why);
                                None
                            });
                            // A filter sees the pieces alone.
                            (query.map(Asked::Answer), Some(Kind::Fragment))
                        }
                    };
                    let begun = usize::try_from(udp.decided() - decided).unwrap_or(usize::MAX);
                    frames = frames.saturating_add(begun.saturating_mul(FRAMES_PER_UDP_FLOW - 1));
                    if let Some(kind) = thinned_as {
                        floods.note_refused(kind, udp.refused() - refused, now);
                    }
                    let Some(asked) = asked else { continue };
                    return Ok(Batch::Asked(asked));
                }
                Ok::<_, io::Error>(Batch::Full)
            });
            // What waits to leave together, before anything else.
            udp.end_turn(matches!(batch, Ok(Batch::Full)), |flow, payload, why| {
                stack.with(|gateway| gateway.push_undelivered(flow, payload, why.into()));
            });
            match batch? {
                Batch::Drained => return Ok(Progress { frames, is_done: true }),
                Batch::Full => break,
                Batch::Asked(Asked::GivenUp { id }) => {
                    starts.retain(|(waiting, _)| *waiting != id);
                    context.end_session(id);
                }
                Batch::Asked(Asked::Answer(query)) => query.answer(Rc::clone(lookups)),
            }
        }
        Ok(Progress { frames, is_done: false })
    }

    /// Starts flows that wait for it, at most so many.
    fn start_flows(&mut self, most: &mut usize) {
        while *most > 0
            && let Some((id, flow)) = self.starts.pop_front()
        {
            *most -= 1;
            match flow.upstream.port() {
                DNS_PORT | DNS_OVER_TLS_PORT => dns_session::start(&self.lookups, id, flow),
                _ => session::start(&self.context, id, flow),
            }
        }
        if let Some(limit) = self.context.stack.with(Gateway::take_reached) {
            self.context.events.push(Event::LimitReached { limit });
        }
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
            self.floods.poll_timeout(),
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

/// Has the driver polled again, once everybody else had a turn.
///
/// A waker that is woken at once puts it behind the tasks that are ready and before a look at the sockets: while
/// the link has frames, nobody would learn that something has come from upstream.
fn come_back(task: &mut TaskContext<'_>) -> Poll<io::Error> {
    // It is woken from where the runtime keeps it; the future itself is of no more use.
    let _ = pin!(yield_now()).poll(task);
    Poll::Pending
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
    GivenUp { id: FlowId },
    Answer(DnsQuery),
}

/// What a datagram is thinned as, where it is.
fn thinned_as(flow: &Flow) -> Option<Kind> {
    (!SPARED_SERVICES.contains(&flow.upstream.port())).then_some(Kind::Datagram)
}

/// Carries a datagram of the guest, or finds the query in it; or says what the guest is told instead.
fn take_datagram(
    context: &Context,
    udp: &Rc<Udp>,
    flow: &Flow,
    payload: &[u8],
    passage: Passage,
    now: std::time::Instant,
) -> Result<Option<DnsQuery>, Undelivery> {
    if flow.upstream.port() == DNS_PORT {
        return Ok(Some(DnsQuery::of(context, flow, payload)?));
    }
    udp.send(flow, payload, passage, now).map(|()| None)
}

#[cfg(test)]
mod tests;
