//! What becomes of one TCP flow: decided, dialled, looked into, relayed.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use net_core::Flow;
use net_policy::Decision;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::first_flight::{FirstFlight, Hello, first_flight};
use super::{BoundRule, Context, GuestStream, dial, relay};
use crate::core::{AcceptError, FlowId, Refusal};
use crate::event::Event;
use crate::http;
use crate::tls::{InterceptError, StreamInfo, intercept};

const DNS_PORT: u16 = 53;

/// How long a guest may go on sending what nobody reads after the last it is told.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// Decides a new flow; where it may go on, a task of the guest's thread carries it.
pub(crate) fn start(context: &Rc<Context>, id: FlowId, flow: Flow) {
    if flow.upstream.port() == DNS_PORT {
        spawn(context, id, flow, serve_dns(Rc::clone(context), id));
        return;
    }
    let decision = context.decide(&flow, None);
    let decided = Decided { decision, generation: context.generation() };
    if let Decision::Deny { .. } = decision {
        context.report_denial(&flow, None, &decision);
        context.stack.with(|gateway, _| gateway.refuse(id, Refusal::Reset));
        return;
    }
    let limit = context.limits.max_tcp_flows + context.limits.max_held_syns;
    if context.session_count() >= limit {
        context.events.push(Event::LimitReached { limit: "max_tcp_flows" });
        context.stack.with(|gateway, _| gateway.refuse(id, Refusal::Reset));
        return;
    }
    spawn(context, id, flow, run(Rc::clone(context), id, flow, decided));
}

fn spawn(context: &Rc<Context>, id: FlowId, flow: Flow, work: impl Future<Output = ()> + 'static) {
    // Leaving happens on drop, so that an aborted session leaves too.
    let leave = LeaveOnDrop { context: Rc::clone(context), id };
    let task = tokio::task::spawn_local(async move {
        let _leave = leave;
        work.await;
    });
    context.enter_session(id, flow, task.abort_handle());
}

struct LeaveOnDrop {
    context: Rc<Context>,
    id: FlowId,
}

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        self.context.leave_session(self.id);
    }
}

/// DNS over TCP goes to nobody but us, whatever address was asked.
async fn serve_dns(context: Rc<Context>, id: FlowId) {
    if let Some(guest) = accept(&context, id) {
        crate::dns::serve_stream(&context, guest).await;
    }
}

/// What was decided when a flow began, and under which policy: dials and first flights take time.
#[derive(Clone, Copy)]
struct Decided {
    decision: Decision,
    generation: u64,
}

impl Decided {
    /// What holds now.
    fn now(self, context: &Context, flow: &Flow) -> Decision {
        if self.generation == context.generation() { self.decision } else { context.decide(flow, None) }
    }
}

async fn run(context: Rc<Context>, id: FlowId, flow: Flow, decided: Decided) {
    let mut upstream = None;
    if let Decision::Allow { .. } = decided.decision {
        // Upstream first: the guest's SYN waits, so that it sees the refusal upstream gave.
        match dial(context.dial_address(&flow), context.limits.connect_timeout).await {
            Ok(connected) => upstream = Some(connected),
            Err(error) => {
                context.events.push(Event::DialFailed { flow, error });
                context.stack.with(|gateway, _| gateway.refuse(id, error.refusal()));
                context.stack.wake_driver();
                return;
            }
        }
    }
    let Some(guest) = accept(&context, id) else { return };
    let ended = match (decided.decision, upstream) {
        (Decision::Allow { .. }, Some(mut upstream)) if !context.looks_into(flow.upstream.port()) => {
            relay(&guest, &mut upstream, &context.limits).await;
            Ok(())
        }
        (_, upstream) => look_into(&context, id, flow, decided, guest, upstream).await,
    };
    if let Err((error, name)) = ended {
        context.events.push(Event::InterceptFailed { flow, name, error });
    }
}

fn accept(context: &Context, id: FlowId) -> Option<GuestStream> {
    let accepted = context.stack.with(|gateway, now| gateway.accept(id, now));
    match accepted {
        Ok(()) => {
            context.stack.wake_driver();
            Some(GuestStream::new(context.stack.clone(), id))
        }
        Err(AcceptError::Limit) => {
            context.events.push(Event::LimitReached { limit: "max_tcp_flows" });
            context.stack.with(|gateway, _| gateway.refuse(id, Refusal::Reset));
            context.stack.wake_driver();
            None
        }
        // The guest gave up while we dialled.
        Err(AcceptError::Gone) => None,
    }
}

type Ended = Result<(), (InterceptError, Option<net_core::HostName>)>;

/// Reads the first flight and goes on by what it shows.
async fn look_into(
    context: &Rc<Context>,
    id: FlowId,
    flow: Flow,
    decided: Decided,
    guest: GuestStream,
    upstream: Option<TcpStream>,
) -> Ended {
    // Where only HTTP or TLS may go on, it does not matter who speaks first: a server of HTTP/2 does.
    let waits_for_guest = must_show_name(context, &flow, decided.now(context, &flow));
    let speaker = if waits_for_guest { None } else { upstream.as_ref() };
    let flight = match first_flight(&guest, speaker, &context.limits).await {
        Ok(flight) => flight,
        Err(error) => return Err((fail(&guest, error).await, None)),
    };
    let decision = decided.now(context, &flow);
    match flight {
        FirstFlight::Tls { prefix, hello } => {
            tls_stream(context, id, flow, decision, guest, upstream, prefix, hello).await
        }
        FirstFlight::Http { prefix, version } => {
            let info = StreamInfo::new(flow, None, bound_rule(context, decision));
            http::bridge_plain(context, info, guest, upstream, prefix, version)
                .await
                .map_err(|error| (error, None))
        }
        FirstFlight::Other { prefix } => opaque(context, flow, decision, guest, upstream, prefix).await,
    }
}

fn bound_rule(context: &Context, decision: Decision) -> Option<BoundRule> {
    match decision {
        Decision::Allow { rule } => Some(context.bind(rule)),
        Decision::Deny { .. } | Decision::NeedName => None,
    }
}

/// A stream that is neither TLS nor HTTP, or on which upstream spoke first.
async fn opaque(
    context: &Context,
    flow: Flow,
    decision: Decision,
    guest: GuestStream,
    upstream: Option<TcpStream>,
    prefix: bytes::Bytes,
) -> Ended {
    let (Decision::Allow { .. }, Some(mut upstream)) = (decision, upstream) else {
        guest.abort();
        return Err((InterceptError::NoName, None));
    };
    if must_show_name(context, &flow, decision) {
        guest.abort();
        return Err((InterceptError::NotTls, None));
    }
    if !context.secrets().is_empty() {
        let ended = http::bridge_opaque(context, &flow, guest, upstream, prefix).await;
        return ended.map_err(|error| (error, None));
    }
    if write_all(&mut upstream, &prefix).await.is_ok() {
        relay(&guest, &mut upstream, &context.limits).await;
    } else {
        guest.abort();
    }
    Ok(())
}

/// Whether the stream must be TLS or HTTP: on their ports a verdict by name holds only for what
/// shows the name, and junk before a request must not buy an opaque relay.
fn must_show_name(context: &Context, flow: &Flow, decision: Decision) -> bool {
    match decision {
        Decision::Allow { rule } => {
            context.looks_into(flow.upstream.port())
                && context.with_policy(|policy, _, _| policy.rests_on_name(rule))
        }
        Decision::NeedName => true,
        Decision::Deny { .. } => false,
    }
}

#[allow(clippy::too_many_arguments, reason = "the pieces of one stream, each used once")]
async fn tls_stream(
    context: &Rc<Context>,
    id: FlowId,
    flow: Flow,
    decision: Decision,
    guest: GuestStream,
    upstream: Option<TcpStream>,
    prefix: bytes::Bytes,
    hello: Hello,
) -> Ended {
    let name = match hello.name {
        Ok(ref name) => name.clone(),
        Err(()) => {
            return Err((fail(&guest, InterceptError::InvalidName).await, None));
        }
    };
    let decision = match &name {
        Some(name) => context.decide(&flow, Some(name)),
        None => decision,
    };
    let rule = match decision {
        Decision::Allow { rule } => context.bind(rule),
        Decision::Deny { .. } => {
            context.report_denial(&flow, name, &decision);
            // access_denied: curl and openssl print it, where a reset would leave them guessing.
            send_alert(&guest, 49).await;
            return Ok(());
        }
        Decision::NeedName => {
            return Err((fail(&guest, InterceptError::NoName).await, name));
        }
    };
    if let Some(name) = &name {
        context.name_session(id, name);
    }
    let upstream = match upstream {
        Some(connected) => connected,
        None => match dial(context.dial_address(&flow), context.limits.connect_timeout).await {
            Ok(connected) => connected,
            Err(error) => {
                guest.abort();
                return Err((error.into(), name));
            }
        },
    };
    if !context.intercepts(flow.upstream.port(), name.as_ref()) {
        return splice(context, guest, upstream, &prefix).await;
    }
    let info = StreamInfo::new(flow, name.clone(), Some(rule));
    intercept(context, info, guest, upstream, prefix, &hello).await.map_err(|error| (error, name))
}

/// Passes a TLS stream on as it is, from its ClientHello on.
async fn splice(context: &Context, guest: GuestStream, mut upstream: TcpStream, prefix: &[u8]) -> Ended {
    if write_all(&mut upstream, prefix).await.is_ok() {
        relay(&guest, &mut upstream, &context.limits).await;
    } else {
        guest.abort();
    }
    Ok(())
}

async fn write_all(upstream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    tokio::io::AsyncWriteExt::write_all(upstream, bytes).await
}

/// Tells the guest by an alert or a reset; `guest` has sent its first flight and got nothing.
pub(crate) async fn fail(guest: &GuestStream, error: InterceptError) -> InterceptError {
    match error.alert() {
        Some(alert) => send_alert(guest, alert).await,
        None => guest.abort(),
    }
    error
}

/// Ends a TLS stream before its ServerHello with a fatal alert (RFC 8446, section 6).
async fn send_alert(guest: &GuestStream, description: u8) {
    const FATAL: u8 = 2;
    let record = [21, 3, 3, 0, 2, FATAL, description];
    let sent = poll_fn(|context| {
        guest.poll_write_with(context, |room| {
            let count = record.len().min(room.len());
            room[..count].copy_from_slice(&record[..count]);
            (count, ())
        })
    });
    // The ring of a stream on which nothing was sent has room for seven bytes.
    let _ = sent.await;
    guest.close();
    // A reset for what the guest still sends would take the alert from it.
    let ignore = async {
        while let Ok(Some(())) =
            poll_fn(|context| guest.poll_read_with(context, |bytes| (bytes.len(), ()))).await
        {}
    };
    let _ = timeout(FAREWELL, ignore).await;
}
