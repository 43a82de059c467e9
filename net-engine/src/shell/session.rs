//! What becomes of one TCP flow: decided, dialled, looked into, relayed.

use std::rc::Rc;

use bytes::Bytes;
use net_core::Flow;
use net_policy::Decision;
use tokio::io::AsyncWriteExt as _;

use super::first_flight::{FirstFlight, Hello, first_flight};
use super::relay::relay_upstream;
use crate::core::{AcceptError, FlowId, Refusal};
use crate::guest::{
    ACCESS_DENIED, Capped, Context, DialError, Event, GuestStream, HttpVersion, InterceptError, LeakPlace,
    Opaque, Stage, StreamInfo, Tls, dial_flow, fail, send_alert,
};
use crate::http;
use crate::proxy::UpstreamStream;
use crate::tls::{deny, intercept};

/// Decides a new flow; where it may go on, a task of the guest's thread carries it.
pub(crate) fn start(context: &Rc<Context>, id: FlowId, flow: Flow) {
    let far = context.enter_virtual(&flow);
    let terms = context.terms(&flow, None);
    let decision = terms.decision;
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
    if let Err(Capped(limit)) = context.admit_flow(&flow) {
        context.events.push(Event::LimitReached { limit });
        context.stack.with(|gateway| gateway.refuse(id, Refusal::Reset));
        return;
    }
    // Where a name that is about to come says by which way, it is waited for.
    let may_dial = match decision {
        Decision::Allow { .. } | Decision::PerRequest { .. } => !context.way_needs_name(&flow, &terms),
        Decision::Deny { .. } | Decision::NeedName => false,
    };
    let run = run(Rc::clone(context), id, flow, may_dial);
    let work = async move {
        // To the end of the session.
        let _far = far;
        run.await;
    };
    spawn(context, id, flow, Stage::Open, terms.rests_on_pins(), work);
}

pub(super) fn spawn(
    context: &Rc<Context>,
    id: FlowId,
    flow: Flow,
    stage: Stage,
    holds_pins: bool,
    work: impl Future<Output = ()> + 'static,
) {
    // Leaving happens on drop, so that an aborted session leaves too.
    let leave = LeaveOnDrop { context: Rc::clone(context), id };
    let task = tokio::task::spawn_local(async move {
        let _leave = leave;
        work.await;
    });
    context.enter_session(id, flow, stage, holds_pins, task.abort_handle());
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

async fn run(context: Rc<Context>, id: FlowId, flow: Flow, may_dial: bool) {
    let mut upstream = None;
    if may_dial {
        // Upstream first: the guest's SYN waits, so that it sees the refusal upstream gave.
        match dial_flow(&context, id, &flow, None).await {
            Ok(connected) => upstream = Some(connected),
            // A name has come meanwhile that makes a difference: the stream shows whether it is its own.
            Err(DialError::Denied) => {}
            Err(error) => {
                context.report_dial_failure(&flow, error);
                context.stack.with(|gateway| gateway.refuse(id, error.refusal()));
                context.stack.wake_driver();
                return;
            }
        }
    }
    let Some(guest) = accept(&context, id) else { return };
    // The policy may have changed while upstream was dialled, and the names of its address.
    let may_relay = || !context.terms(&flow, None).must_look() && !context.goes_otherwise(id, &flow, None);
    let ended = match upstream {
        Some(upstream) if may_relay() => {
            context.settle_session(id, &flow, None);
            relay_upstream(&context, id, guest, upstream).await;
            Ok(())
        }
        // On the heap: a flow that is only relayed, or only waits, does not carry the room for TLS.
        upstream => Box::pin(Opening { context: &context, id, flow, guest, upstream }.look_into()).await,
    };
    if let Err((error, name)) = ended {
        context.events.push(Event::InterceptFailed { flow, name, error });
    }
}

/// The guest's end, connected from here on; `None` where there is none any more, or no room for it.
pub(super) fn accept(context: &Context, id: FlowId) -> Option<GuestStream> {
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

/// A stream whose first flight decides how it goes on.
struct Opening<'c> {
    context: &'c Rc<Context>,
    id: FlowId,
    flow: Flow,
    guest: GuestStream,
    /// `None` where only a name can tell whether it may be dialled.
    upstream: Option<UpstreamStream>,
}

impl Opening<'_> {
    /// Reads the first flight and goes on by what it shows.
    ///
    /// Terms are asked for at each step, and used at once: the policy may change while somebody is
    /// silent.
    async fn look_into(mut self) -> Ended {
        let Self { context, ref flow, .. } = self;
        let wait = context.terms(flow, None).wait(self.upstream.is_some());
        let flight = match first_flight(&self.guest, wait, self.upstream.as_mut(), &context.limits).await {
            Ok(flight) => flight,
            Err(error) => return Err((fail(&self.guest, error).await, None)),
        };
        match flight {
            FirstFlight::Tls { prefix, hello } => self.tls(prefix, hello).await,
            FirstFlight::Http { prefix, version } => self.http(prefix, version).await,
            FirstFlight::Other { prefix } => self.opaque(prefix).await,
        }
    }

    /// A stream that begins with an HTTP request: decided again with each.
    async fn http(self, prefix: Bytes, version: HttpVersion) -> Ended {
        let Self { context, id, flow, guest, upstream } = self;
        let rule = match context.terms(&flow, None).decision {
            Decision::Allow { rule } | Decision::PerRequest { rule } => Some(context.bind(&flow, rule)),
            Decision::Deny { .. } | Decision::NeedName => None,
        };
        let info = StreamInfo::new(id, flow, None, rule);
        let upstream = match upstream {
            Some(upstream) if http::nothing_at_stake(context, &info) && !context.names_choose_the_way() => {
                context.settle_session(id, &flow, None);
                context.note_unread(id);
                return splice(context, id, guest, upstream, &prefix).await;
            }
            upstream => upstream,
        };
        if rule.is_some() {
            context.report_opened(&flow, None);
        }
        let ended = http::bridge_plain(context, info, guest, upstream, prefix, version).await;
        ended.map_err(|error| (error, None))
    }

    /// A stream that is neither TLS nor HTTP, or on which upstream spoke first.
    async fn opaque(self, prefix: Bytes) -> Ended {
        let Self { context, id, flow, guest, upstream } = self;
        let upstream = match upstream {
            // Names of its address have come that lead another way.
            Some(_) if context.goes_otherwise(id, &flow, None) => dial_allowed(context, id, &flow).await,
            // A name was waited for that says by which way, and did not come.
            None if context.way_needs_name(&flow, &context.terms(&flow, None)) => {
                dial_allowed(context, id, &flow).await
            }
            upstream => upstream,
        };
        let terms = context.terms(&flow, None);
        let upstream = match terms.opaque(upstream) {
            Opaque::Carry(upstream) => upstream,
            Opaque::Deny => {
                context.report_denial(&flow, None, &terms.unseen);
                guest.abort();
                return Ok(());
            }
            Opaque::End(error) => {
                guest.abort();
                return Err((error, None));
            }
        };
        context.settle_session(id, &flow, None);
        if context.secrets().is_empty() {
            context.note_unread(id);
            return splice(context, id, guest, upstream, &prefix).await;
        }
        let ended = http::bridge_opaque(context, (id, &flow), guest, upstream, prefix).await;
        ended.map_err(|error| (error, None))
    }

    /// A stream of TLS: decided again by the name it shows.
    async fn tls(self, prefix: Bytes, hello: Hello) -> Ended {
        let Self { context, id, flow, guest, upstream } = self;
        let Ok(name) = hello.name.clone() else {
            return Err((fail(&guest, InterceptError::InvalidName).await, None));
        };
        // What shows no name is for the one its address stands for.
        let name = name.or_else(|| context.virtual_name(&flow));
        if let Some(name) = &name
            && let Err(violation) = context.secrets().check(name.as_str().as_bytes())
        {
            context.report_violation(&flow, None, LeakPlace::ServerName, &violation);
            return Err((fail(&guest, InterceptError::Violation).await, None));
        }
        let terms = context.terms(&flow, name.as_ref());
        let is_opened = context.intercepts(flow.upstream.port(), name.as_ref());
        let opened_by = match terms.tls(is_opened) {
            Tls::Intercept(rule) => Some(context.bind(&flow, rule)),
            Tls::Splice if context.refuses_ech(hello.has_ech) => {
                return Err((fail(&guest, InterceptError::EncryptedHello).await, name));
            }
            Tls::Splice => None,
            Tls::Deny => {
                context.report_denial(&flow, name.clone(), &terms.unseen);
                if is_opened && context.readable_denials {
                    let denial = context.denial(&terms.unseen);
                    let info = StreamInfo::new(id, flow, name.clone(), None);
                    let told = deny(context, info, guest, prefix, &hello.alpn, denial).await;
                    return told.map_err(|error| (error, name));
                }
                // curl and openssl print it, where a reset would leave them guessing.
                send_alert(&guest, ACCESS_DENIED).await;
                return Ok(());
            }
            Tls::End(error) => return Err((fail(&guest, error).await, name)),
        };
        match opened_by {
            Some(_) => context.settle_opened(id, &flow, name.as_ref()),
            None => context.settle_session(id, &flow, name.as_ref()),
        }
        let upstream = match upstream {
            Some(connected) if !context.goes_otherwise(id, &flow, name.as_ref()) => connected,
            // There is none, or it was dialled before the name was known that leads another way.
            _ => {
                let dialled = tokio::select! {
                    dialled = dial_flow(context, id, &flow, name.as_ref()) => dialled,
                    () = context.stack.guest_reset(id) => return Ok(()),
                };
                match dialled {
                    Ok(connected) => connected,
                    Err(error) => {
                        guest.abort();
                        return Err((error.into(), name));
                    }
                }
            }
        };
        if opened_by.is_none() {
            return splice(context, id, guest, upstream, &prefix).await;
        }
        let info = StreamInfo::new(id, flow, name.clone(), opened_by);
        intercept(context, info, guest, upstream, prefix, hello.alpn).await.map_err(|error| (error, name))
    }
}

/// Dials a flow that shows no name, where its address alone lets it go.
async fn dial_allowed(context: &Context, id: FlowId, flow: &Flow) -> Option<UpstreamStream> {
    let Decision::Allow { .. } = context.terms(flow, None).unseen else { return None };
    let dialled = tokio::select! {
        dialled = dial_flow(context, id, flow, None) => dialled,
        () = context.stack.guest_reset(id) => return None,
    };
    dialled.inspect_err(|error| context.report_dial_failure(flow, *error)).ok()
}

/// Passes a stream on as it is, from its first byte on.
async fn splice(
    context: &Context,
    id: FlowId,
    guest: GuestStream,
    mut upstream: UpstreamStream,
    prefix: &[u8],
) -> Ended {
    if upstream.write_all(prefix).await.is_ok() {
        relay_upstream(context, id, guest, upstream).await;
    } else {
        guest.abort();
    }
    Ok(())
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
