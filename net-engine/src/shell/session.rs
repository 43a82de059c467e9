//! What becomes of one TCP flow: decided, dialled, looked into, relayed.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use net_core::Flow;
use net_policy::{Decision, RuleId};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::context::Stage;
use super::first_flight::{FirstFlight, Hello, Patience, first_flight};
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
        spawn(context, id, flow, Stage::Dns, serve_dns(Rc::clone(context), id));
        return;
    }
    let decision = context.decide(&flow, None);
    if let Decision::Deny { .. } = decision {
        context.report_denial(&flow, None, &decision);
        context.stack.with(|gateway| gateway.refuse(id, Refusal::Reset));
        return;
    }
    let limit = context.limits.max_tcp_flows + context.limits.max_held_syns;
    if context.session_count() >= limit {
        context.events.push(Event::LimitReached { limit: "max_tcp_flows" });
        context.stack.with(|gateway| gateway.refuse(id, Refusal::Reset));
        return;
    }
    spawn(context, id, flow, Stage::Open, run(Rc::clone(context), id, flow, decision));
}

fn spawn(
    context: &Rc<Context>,
    id: FlowId,
    flow: Flow,
    stage: Stage,
    work: impl Future<Output = ()> + 'static,
) {
    // Leaving happens on drop, so that an aborted session leaves too.
    let leave = LeaveOnDrop { context: Rc::clone(context), id };
    let task = tokio::task::spawn_local(async move {
        let _leave = leave;
        work.await;
    });
    context.enter_session(id, flow, stage, task.abort_handle());
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

async fn run(context: Rc<Context>, id: FlowId, flow: Flow, decision: Decision) {
    let mut upstream = None;
    if let Decision::Allow { .. } = decision {
        // Upstream first: the guest's SYN waits, so that it sees the refusal upstream gave.
        match dial(context.dial_address(&flow), context.limits.connect_timeout).await {
            Ok(connected) => upstream = Some(connected),
            Err(error) => {
                context.events.push(Event::DialFailed { flow, error });
                context.stack.with(|gateway| gateway.refuse(id, error.refusal()));
                context.stack.wake_driver();
                return;
            }
        }
    }
    let Some(guest) = accept(&context, id) else { return };
    let ended = match (decision, upstream) {
        (Decision::Allow { rule }, Some(mut upstream)) if !must_look(&context, &flow, rule) => {
            context.settle_session(id, &flow, None);
            relay(&guest, &mut upstream, &context.limits).await;
            Ok(())
        }
        // On the heap: a flow that is only relayed, or only waits, does not carry the room for TLS.
        (_, upstream) => Box::pin(look_into(&context, id, flow, guest, upstream)).await,
    };
    if let Err((error, name)) = ended {
        context.events.push(Event::InterceptFailed { flow, name, error });
    }
}

fn accept(context: &Context, id: FlowId) -> Option<GuestStream> {
    let accepted = context.stack.with_now(|gateway, now| gateway.accept(id, now));
    match accepted {
        Ok(()) => {
            context.stack.wake_driver();
            Some(GuestStream::new(context.stack.clone(), id))
        }
        Err(AcceptError::Limit) => {
            context.events.push(Event::LimitReached { limit: "max_tcp_flows" });
            context.stack.with(|gateway| gateway.refuse(id, Refusal::Reset));
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
    guest: GuestStream,
    upstream: Option<TcpStream>,
) -> Ended {
    // The policy may have changed while upstream was dialled, and again while the guest was silent:
    // a verdict is used at once or asked for again.
    let decision = context.decide(&flow, None);
    let patience = match &upstream {
        // Where only HTTP or TLS may go on, it does not matter who speaks first: a server of HTTP/2
        // does.
        Some(upstream) if !must_show_name(context, &flow, decision) => {
            if context.looks_into(flow.upstream.port()) {
                Patience::ForEither(upstream)
            } else {
                Patience::Unhurried(upstream)
            }
        }
        Some(_) | None => Patience::ForName,
    };
    let flight = match first_flight(&guest, patience, &context.limits).await {
        Ok(flight) => flight,
        Err(error) => return Err((fail(&guest, error).await, None)),
    };
    let decision = context.decide(&flow, None);
    match flight {
        FirstFlight::Tls { prefix, hello } => {
            tls_stream(context, id, flow, decision, guest, upstream, prefix, hello).await
        }
        FirstFlight::Http { prefix, version } => {
            context.report_opened(&flow, None);
            let info = StreamInfo::new(flow, None, bound_rule(context, &flow, decision));
            http::bridge_plain(context, info, guest, upstream, prefix, version)
                .await
                .map_err(|error| (error, None))
        }
        FirstFlight::Other { prefix } => opaque(context, id, flow, decision, guest, upstream, prefix).await,
    }
}

fn bound_rule(context: &Context, flow: &Flow, decision: Decision) -> Option<BoundRule> {
    match decision {
        Decision::Allow { rule } => Some(context.bind(flow, rule)),
        Decision::Deny { .. } | Decision::NeedName => None,
    }
}

/// A stream that is neither TLS nor HTTP, or on which upstream spoke first.
async fn opaque(
    context: &Context,
    id: FlowId,
    flow: Flow,
    decision: Decision,
    guest: GuestStream,
    upstream: Option<TcpStream>,
    prefix: bytes::Bytes,
) -> Ended {
    let mut upstream = match (decision, upstream) {
        (Decision::Allow { .. }, Some(upstream)) => upstream,
        (Decision::Deny { .. }, _) => {
            context.report_denial(&flow, None, &decision);
            guest.abort();
            return Ok(());
        }
        (Decision::Allow { .. } | Decision::NeedName, _) => {
            guest.abort();
            return Err((InterceptError::NoName, None));
        }
    };
    if must_show_name(context, &flow, decision) {
        guest.abort();
        return Err((InterceptError::NotTls, None));
    }
    context.settle_session(id, &flow, None);
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

/// Whether the first flight is read before the stream goes on: by the port, or because the verdict
/// rests on a name, which the stream must not contradict by one of its own.
fn must_look(context: &Context, flow: &Flow, rule: RuleId) -> bool {
    context.looks_into(flow.upstream.port()) || context.with_policy(|policy, _, _| policy.rests_on_name(rule))
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
    if let Some(name) = &name
        && let Err(violation) = context.secrets().check(name.as_str().as_bytes())
    {
        context.report_violation(&flow, None, violation.to_string());
        return Err((fail(&guest, InterceptError::Violation).await, None));
    }
    let decision = match &name {
        Some(name) => context.decide(&flow, Some(name)),
        None => decision,
    };
    let rule = match decision {
        Decision::Allow { rule } => context.bind(&flow, rule),
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
    context.settle_session(id, &flow, name.as_ref());
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
        guest.poll_write_with(context, |_, room| {
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
            poll_fn(|context| guest.poll_read_with(context, |_, bytes| (bytes.len(), ()))).await
        {}
    };
    let _ = timeout(FAREWELL, ignore).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, F: Future>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_flow_that_waits_for_its_dial_is_small() {
        // With the held packet and the places in the tables it stays below 4 KiB.
        let bytes = size_of_future(run);
        assert!(bytes <= 2_048, "{bytes} bytes");
    }
}
