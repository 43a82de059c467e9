use std::net::IpAddr;
use std::rc::Rc;

use hickory_net::proto::op::Message;
use net_core::HostName;
use net_policy::NameDecision;
use net_policy::dns::{
    AnswerVerdict, ExtendedError, Pin, Question, RefuseReason, Reply, age, answer_virtually, filter_answer,
    fit, reply, rotate, virtual_ttl,
};

use super::Lookups;
use super::cache::Kept;
use super::lookup::{LookupError, aged};
use crate::guest::{Context, Event, LeakPlace, ViolationReport};

/// The most a DNS message over TCP can have.
const MAX_STREAM_BYTES: usize = 65_535;

/// The port of HTTP/3, as far as a service binding names none.
const HTTPS_PORT: u16 = 443;

/// The answer to a query over UDP, at most `max_bytes` long; `None` when none is due.
pub(crate) async fn answer_datagram(
    lookups: &Rc<Lookups>,
    query: &[u8],
    max_bytes: usize,
) -> Option<Vec<u8>> {
    match Question::parse(query) {
        Ok(question) => {
            let max_bytes = max_bytes.min(usize::from(question.max_payload));
            answer(lookups, &question, max_bytes).await
        }
        Err(error) => error.reply(),
    }
}

/// The answer to a query over TCP or TLS; `None` when none is due.
pub(crate) async fn answer_message(lookups: &Rc<Lookups>, query: &[u8]) -> Option<Vec<u8>> {
    match Question::parse(query) {
        Ok(question) => answer(lookups, &question, MAX_STREAM_BYTES).await,
        Err(error) => error.reply(),
    }
}

/// The answer to a query for which there is no place among those in flight; `None` when none is due.
pub(crate) fn answer_busy(query: &[u8]) -> Option<Vec<u8>> {
    match Question::parse(query) {
        Ok(question) => {
            let busy = reply(&question, &Reply::Failed(ExtendedError::Other("too many questions")));
            fit(&question, busy, MAX_STREAM_BYTES)
        }
        Err(error) => error.reply(),
    }
}

async fn answer(lookups: &Rc<Lookups>, question: &Question, max_bytes: usize) -> Option<Vec<u8>> {
    let context = &*lookups.context;
    let own = |what: Reply| fit(question, reply(question, &what), max_bytes);
    let deny = |why: String, told: &'static str| {
        refuse(context, question, why);
        own(Reply::Denied(context.dns_denial, ExtendedError::Blocked(told)))
    };
    let Some(host) = &question.host else {
        return deny("not a host name".to_owned(), "not a host name");
    };
    // Also where the name may be resolved: a query tells every resolver on its way. In one case of letters:
    // a resolver that mixes them asks for the same name.
    if let Err(violation) =
        context.secrets().check(question.name().to_ascii().to_ascii_lowercase().as_bytes())
    {
        // What is refused is an event in any case.
        let why = violation.to_string();
        let report = ViolationReport { violation, place: LeakPlace::DnsName, flow: None, name: None };
        let _ = context.count_violation(&report);
        return deny(why, "the name has a placeholder in it");
    }
    if *host == context.host_alias && context.with_policy(|policy, _, _| policy.may_reach_host()) {
        return own(Reply::Addresses(context.gateways()));
    }
    if let Some(address) = question.reverse().filter(|address| context.is_virtual(*address)) {
        return own(pointer(context, address));
    }
    let decision = context.decide_name(host);
    if let NameDecision::Deny { reason, .. } = decision {
        let why = context.with_policy(|policy, _, _| policy.describe_name(&decision));
        return deny(why, reason.as_str());
    }
    let (key, generation) = (question.key(), context.generation());
    let told = lookups.tell(&key, generation, crate::guest::now(), |told| {
        pin(context, host, aged(&told.kept.pins, told.old));
        let mut message = Message::from_vec(&told.kept.message).ok()?;
        age(&mut message, told.old);
        rotate(&mut message, told.times + 1);
        virtualise(context, question, host, &mut message);
        fit(question, message, max_bytes)
    });
    if let Some(told) = told {
        return told;
    }
    let asked = match lookups.ask(question, &key).await {
        Ok(asked) => asked,
        Err(LookupError::Failed) => return own(Reply::Failed(ExtendedError::Network)),
        Err(LookupError::TooMany) => {
            context.events.push(Event::LimitReached { limit: "dns_exchanges_per_second" });
            return own(Reply::Failed(ExtendedError::Other("too many questions")));
        }
    };
    // The policy that is asked now, which may be another than before the exchange.
    let generation = context.generation();
    let decision = context.decide_name(host);
    if let NameDecision::Deny { reason, .. } = decision {
        let why = context.with_policy(|policy, _, _| policy.describe_name(&decision));
        return deny(why, reason.as_str());
    }
    let allows_quic = !context.intercepts(HTTPS_PORT, Some(host));
    let verdict =
        context.with_policy(|policy, _, hosts| filter_answer(question, &asked, policy, hosts, allows_quic));
    match verdict {
        // What stands for a name may not be real to another one.
        AnswerVerdict::Forward { pins, .. } if pins.iter().any(|pin| context.is_virtual(pin.address)) => {
            let why = "it resolves to an address that is kept for names";
            deny(why.to_owned(), "it leads to an address that is not public")
        }
        AnswerVerdict::Forward { mut message, pins, lifetime } => {
            pin(context, host, pins.iter().copied());
            if let Ok(encoded) = message.to_vec() {
                let kept = Kept { message: encoded.into(), pins: pins.into(), generation, lifetime };
                lookups.keep(key, kept, crate::guest::now());
            }
            virtualise(context, question, host, &mut message);
            fit(question, *message, max_bytes)
        }
        AnswerVerdict::Refuse(RefuseReason::Malformed) => {
            refuse(context, question, RefuseReason::Malformed.to_string());
            own(Reply::Failed(ExtendedError::InvalidData))
        }
        AnswerVerdict::Refuse(reason) => {
            deny(reason.to_string(), "it leads to an address that is not public")
        }
    }
}

/// Puts the name's own addresses into an answer with real ones, where its rule wants that.
fn virtualise(context: &Context, question: &Question, host: &HostName, message: &mut Message) {
    if let Some(ttl) = virtual_ttl(message)
        && let Some(pair) = context.virtual_pair(host, ttl)
    {
        answer_virtually(question, message, pair, ttl);
    }
}

/// The name that an address of ours stands for, as long as it may be resolved.
fn pointer(context: &Context, address: IpAddr) -> Reply {
    let may_know = |name: &HostName| matches!(context.decide_name(name), NameDecision::Allow { .. });
    context.name_of(address).filter(may_know).map_or(Reply::NoPointer, Reply::Pointer)
}

fn pin(context: &Context, host: &HostName, pins: impl Iterator<Item = Pin>) {
    let now = crate::guest::now();
    context.with_policy(|_, table, _| {
        for pin in pins {
            table.pin(host, pin.address, pin.ttl, now);
        }
    });
}

fn refuse(context: &Context, question: &Question, why: String) {
    let name = question.host.as_ref().map_or_else(|| question.name().to_ascii(), HostName::to_string);
    context.events.push(Event::NameRefused { name, why });
}
