use std::rc::Rc;

use net_core::HostName;
use net_policy::NameDecision;
use net_policy::dns::{AnswerVerdict, Question, Reply, filter_answer, fit, reply};

use super::upstream;
use crate::guest::{Context, Event};

/// The most a DNS message over TCP can have.
const MAX_STREAM_BYTES: usize = 65_535;

/// The answer to a query over UDP, at most `max_bytes` long; `None` when none is due.
pub(crate) async fn answer_datagram(
    context: &Rc<Context>,
    query: &[u8],
    max_bytes: usize,
) -> Option<Vec<u8>> {
    match Question::parse(query) {
        Ok(question) => {
            let max_bytes = max_bytes.min(usize::from(question.max_payload));
            answer(context, &question, max_bytes).await
        }
        Err(error) => error.reply(),
    }
}

/// The answer to a query over TCP; `None` when none is due.
pub(crate) async fn answer_message(context: &Rc<Context>, query: &[u8]) -> Option<Vec<u8>> {
    match Question::parse(query) {
        Ok(question) => answer(context, &question, MAX_STREAM_BYTES).await,
        Err(error) => error.reply(),
    }
}

async fn answer(context: &Rc<Context>, question: &Question, max_bytes: usize) -> Option<Vec<u8>> {
    let own = |what: Reply| fit(question, reply(question, &what), max_bytes);
    let Some(host) = &question.host else {
        refuse(context, question, "not a host name".to_owned());
        return own(Reply::Refused);
    };
    // Also where the name may be resolved: a query tells every resolver on its way.
    if let Err(violation) = context.secrets().check(question.name().to_ascii().as_bytes()) {
        refuse(context, question, violation.to_string());
        return own(Reply::Refused);
    }
    if *host == context.host_alias && context.with_policy(|policy, _, _| policy.may_reach_host()) {
        return own(Reply::Addresses(context.gateways()));
    }
    let decision = context.decide_name(host);
    if let NameDecision::Deny { .. } = decision {
        refuse(context, question, context.with_policy(|policy, _, _| policy.describe_name(&decision)));
        return own(Reply::Refused);
    }
    let nameservers = context.resolvers.current(crate::guest::now());
    let asked = upstream::ask(&nameservers, &question.to_upstream(), context.limits.dns_timeout).await;
    let Some(bytes) = asked else { return own(Reply::Failed) };
    let verdict = context.with_policy(|policy, _, hosts| filter_answer(question, &bytes, policy, hosts));
    match verdict {
        AnswerVerdict::Forward { message, pins } => {
            pin(context, host, &pins);
            fit(question, *message, max_bytes)
        }
        AnswerVerdict::Refuse(reason) => {
            refuse(context, question, reason.to_string());
            own(Reply::Refused)
        }
    }
}

fn pin(context: &Context, host: &HostName, pins: &[net_policy::dns::Pin]) {
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
