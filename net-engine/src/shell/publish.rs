//! Published ports: connections of others, decided, and carried to the guest.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use net_core::{Flow, Protocol};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use super::relay;
use super::seldom::Seldom;
use super::session::spawn;
use super::udp::Udp;
use super::waiting::{Unanswered, Waiting, WaitingAt};
use crate::core::{ConnectError, FlowId};
use crate::guest::{
    Context, Event, GuestStream, InboundError, Listener, ProxyProtocol, Publication, PublicationId, Stage,
    now,
};
use crate::http::carry_while_guest;

/// How long a host without descriptors is left alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the owner is told that newcomers wait.
const HOLDS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Ports tried where the one of a peer is taken, or there is none.
const MAX_PORTS: usize = 64;

/// Ports that are given to nobody else (RFC 6335, section 6).
const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// The published ports of one guest.
pub(crate) struct Publisher {
    context: Rc<Context>,
    udp: Rc<Udp>,
    served: RefCell<HashMap<PublicationId, AbortHandle>>,
    next_id: Cell<u64>,
    next_port: Cell<u16>,
    /// Connections that are begun or carried.
    carried: Rc<Cell<usize>>,
    waiting: Rc<Waiting>,
    /// What the owner was told of those who wait, at any port.
    holds: Seldom,
}

impl Publisher {
    pub(crate) fn new(context: Rc<Context>, udp: Rc<Udp>) -> Self {
        let (next_id, next_port) = (Cell::new(0), Cell::new(FIRST_DYNAMIC_PORT));
        let waiting = Rc::new(Waiting::new(context.limits.max_held_syns));
        Self {
            context,
            udp,
            served: RefCell::default(),
            next_id,
            next_port,
            carried: Rc::default(),
            waiting,
            holds: Seldom::every(HOLDS_TOLD_EVERY),
        }
    }

    /// Serves a port from now on.
    ///
    /// # Errors
    /// The reactor takes no more descriptors.
    pub(crate) fn publish(self: &Rc<Self>, publication: Publication) -> io::Result<PublicationId> {
        let Publication { listener, guest_port, proxy_protocol, socket_file, .. } = publication;
        let id = PublicationId(self.next_id.get());
        self.next_id.set(id.0 + 1);
        let listener = match listener {
            Listener::Tcp(listener) => {
                // What is accepted has it from the listener (tcp(7)). Failing to set it costs time, not bytes.
                let _ = setsockopt(&listener, sockopt::TcpNoDelay, &true);
                Accepting::Tcp(TcpListener::from_std(listener)?)
            }
            Listener::Unix(listener) => Accepting::Unix(UnixListener::from_std(listener)?),
            Listener::Udp(socket) => {
                self.udp.publish(id, socket, guest_port)?;
                return Ok(id);
            }
        };
        let to = To { guest_port, proxy_protocol, told: Rc::default() };
        let serving = serve(Rc::clone(self), listener, to, self.waiting.port());
        let task = spawn_local(async move {
            // To its end, also where it is ended from outside.
            let _socket_file = socket_file;
            serving.await;
        });
        self.served.borrow_mut().insert(id, task.abort_handle());
        Ok(id)
    }

    /// Closes a port; what is connected by it goes on. Whether it was served.
    pub(crate) fn withdraw(&self, id: PublicationId) -> bool {
        let served = self.served.borrow_mut().remove(&id);
        served.map(|task| task.abort()).is_some() || self.udp.withdraw(id)
    }

    /// A port for a connection of which nobody knows its own.
    fn next_port(&self) -> u16 {
        let port = self.next_port.get();
        self.next_port.set(port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT));
        port
    }

    /// Begins a connection to the guest, from the peer's own port if it is free.
    fn connect(&self, mut flow: Flow) -> Result<(FlowId, Flow), ConnectError> {
        let mut outcome = Err(ConnectError::InUse);
        for _ in 0..MAX_PORTS {
            if flow.upstream.port() != 0 {
                outcome = self.context.stack.with_now(|gateway, now| gateway.connect(flow, now));
            }
            match outcome {
                Ok(id) => return Ok((id, flow)),
                Err(ConnectError::InUse) => flow.upstream.set_port(self.next_port()),
                Err(error) => return Err(error),
            }
        }
        outcome.map(|id| (id, flow))
    }
}

/// Where connections to one port lead.
#[derive(Clone)]
struct To {
    guest_port: u16,
    proxy_protocol: Option<ProxyProtocol>,
    told: Rc<Told>,
}

/// What the owner was told of those who were not taken.
#[derive(Default)]
struct Told {
    denials: Seldom,
    limits: Seldom,
    failures: Seldom,
}

impl To {
    fn report_failure(&self, context: &Context, error: InboundError) {
        if self.told.failures.is_due(now()) {
            context.report_inbound_failure(self.guest_port, error);
        }
    }
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Somebody who has connected.
enum Peer {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Accepting {
    fn poll_accept(&self, task: &mut TaskContext<'_>) -> Poll<io::Result<Peer>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(task).map_ok(|(stream, from)| {
                // A listener of both families has those of IPv4 in the words of IPv6.
                Peer::Tcp(stream, SocketAddr::new(from.ip().to_canonical(), from.port()))
            }),
            Self::Unix(listener) => listener.poll_accept(task).map_ok(|(stream, _)| Peer::Unix(stream)),
        }
    }
}

impl Peer {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, from) => Some(*from),
            Self::Unix(_) => None,
        }
    }

    /// Where it is, and where it has connected to.
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(stream, from) => stream.local_addr().ok().map(|at| (*from, at)),
            Self::Unix(_) => None,
        }
    }

    /// Who it is to the rules: over a Unix socket a process of this host.
    fn ip(&self) -> IpAddr {
        self.address().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |from| from.ip())
    }

    /// Has the connection end with a reset: nobody was there.
    fn reset(self) {
        if let Self::Tcp(stream, _) = &self {
            // Failing to set it means a FIN: less exact, equally final.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn serve(publisher: Rc<Publisher>, listener: Accepting, to: To, waiting: Rc<WaitingAt>) {
    let context = &publisher.context;
    let mut is_short = false;
    loop {
        let accepted = poll_fn(|task| {
            // Who comes while the guest is silent waits in the kernel's backlog.
            match waiting.poll_room(task) {
                Poll::Ready(()) => listener.poll_accept(task),
                Poll::Pending => {
                    if publisher.holds.is_due(now()) {
                        context.events.push(Event::LimitHolds { limit: "max_held_syns" });
                    }
                    Poll::Pending
                }
            }
        });
        match accepted.await {
            Ok(peer) => {
                is_short = false;
                receive(&publisher, peer, to.clone(), &waiting);
            }
            Err(error) => {
                let number = error.raw_os_error().map(Errno::from_raw);
                // Somebody has left before they were received (accept(2)).
                let gone = [Errno::ECONNABORTED, Errno::EPROTO, Errno::EINTR];
                if number.is_some_and(|number| gone.contains(&number)) {
                    tokio::task::yield_now().await;
                    continue;
                }
                // Who waits stays in the backlog; it is said once, not ten times a second.
                if !std::mem::replace(&mut is_short, true) {
                    context.report_inbound_failure(to.guest_port, InboundError::Accept(error.kind()));
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Decides about a peer, and has a task of its own carry it to the guest.
fn receive(publisher: &Rc<Publisher>, peer: Peer, to: To, waiting: &Rc<WaitingAt>) {
    let guest_port = to.guest_port;
    let context = &publisher.context;
    let ip = peer.ip();
    if let Err(decision) = context.decide_inbound(Protocol::Tcp, ip, guest_port) {
        if to.told.denials.is_due(now()) {
            context.report_inbound_denial(ip, guest_port, &decision);
        }
        return peer.reset();
    }
    // Others leave the guest half of its flows.
    if publisher.carried.get() >= context.limits.max_tcp_flows / 2 {
        if to.told.limits.is_due(now()) {
            context.events.push(Event::LimitReached { limit: "max_tcp_flows" });
        }
        return peer.reset();
    }
    let flows = context.inbound_flows(Protocol::Tcp, peer.address(), guest_port);
    let place = Place::take(&publisher.carried);
    let unanswered = waiting.enter();
    attempt(publisher, peer, to, flows.into(), (place, unanswered));
}

/// A place among the connections of others, given back on drop.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(carried: &Rc<Cell<usize>>) -> Self {
        carried.set(carried.get() + 1);
        Self(Rc::clone(carried))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Connects the guest by the first of these flows, and where it refuses by the next one: a server may listen
/// over one family alone.
fn attempt(
    publisher: &Rc<Publisher>,
    peer: Peer,
    to: To,
    mut flows: VecDeque<Flow>,
    places: (Place, Unanswered),
) {
    let context = &publisher.context;
    let Some(flow) = flows.pop_front() else {
        to.report_failure(context, InboundError::Refused);
        return peer.reset();
    };
    let (id, flow) = match publisher.connect(flow) {
        Ok(begun) => begun,
        Err(ConnectError::Limit) => {
            to.report_failure(context, InboundError::Limit);
            return peer.reset();
        }
        Err(_) => return attempt(publisher, peer, to, flows, places),
    };
    context.stack.wake_driver();
    let stage = Stage::Inbound { peer: peer.ip() };
    let work = carry_inbound(Rc::clone(publisher), id, peer, to, flows, places);
    spawn(context, id, flow, stage, false, work);
}

async fn carry_inbound(
    publisher: Rc<Publisher>,
    id: FlowId,
    peer: Peer,
    to: To,
    others: VecDeque<Flow>,
    places: (Place, Unanswered),
) {
    let context = &*publisher.context;
    let mut guest = GuestStream::new(context.stack.clone(), id);
    if !is_connected(&guest).await {
        drop(guest);
        return attempt(&publisher, peer, to, others, places);
    }
    // The one to its end, the other until here.
    let (_place, unanswered) = places;
    drop(unanswered);
    context.report_inbound(peer.ip(), to.guest_port);
    if let Some(version) = to.proxy_protocol
        && guest.write_all(&version.header(peer.ends())).await.is_err()
    {
        guest.abort();
        return peer.reset();
    }
    match peer {
        Peer::Tcp(stream, _) => {
            let mut unfinished = Unfinished(Some(stream));
            if let Some(stream) = &mut unfinished.0 {
                relay(&guest, stream, &context.limits).await;
            }
            // How it ended was told by the relay.
            drop(unfinished.0.take());
        }
        Peer::Unix(mut stream) => {
            let carried = carry_while_guest(context, id, &mut guest, &mut stream).await;
            if carried.is_none_or(|carried| carried.is_err()) {
                guest.abort();
            }
        }
    }
}

/// A peer's connection that ends with a reset when its task is ended from outside: a stream that breaks off
/// must not end as if it were whole.
struct Unfinished(Option<TcpStream>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            // Failing to set it means a FIN: less exact, equally final.
            let _ = stream.set_zero_linger();
        }
    }
}

/// Waits for the guest's answer; whether it has taken the connection.
async fn is_connected(guest: &GuestStream) -> bool {
    poll_fn(|task| match guest.poll_write_with(task, |_, _| (0, ())) {
        Poll::Ready(answer) => Poll::Ready(answer.is_ok()),
        Poll::Pending => Poll::Pending,
    })
    .await
}
