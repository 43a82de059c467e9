#![allow(clippy::wildcard_enum_match_arm, reason = "most records mean nothing to a policy")]

//! What holds for every DNS message, whoever sends it.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::dns::{
    AnswerVerdict, DenialStyle, ExtendedError, Question, Reply, age, filter_answer, fit, reply, rotate,
};
use crate::{Action, Group, HostAddresses, Policy, parse_target};

/// A query of the guest is answered, in the size it can take, or by nothing; and what goes upstream of it is
/// the question alone.
pub fn query_is_answered(bytes: &[u8]) {
    let question = match Question::parse(bytes) {
        Ok(question) => question,
        Err(error) => {
            let reply = error.reply();
            // Under the id of the query, which is its first two bytes.
            assert!(reply.is_none_or(|reply| reply.get(..2) == bytes.get(..2) && reply.len() <= 512));
            return;
        }
    };
    assert_eq!(question.key(), question.clone().key());
    let upstream = question.to_upstream();
    assert!(
        upstream.answers.is_empty() && upstream.authorities.is_empty() && upstream.additionals.is_empty()
    );
    assert!(upstream.edns.as_ref().is_some_and(|edns| edns.options().options.is_empty()));
    assert!(upstream.to_vec().is_ok_and(|bytes| bytes.len() <= 512));
    let denied = Reply::Denied(DenialStyle::Refused, ExtendedError::Blocked("no rule allows it"));
    let Some(answer) = fit(&question, reply(&question, &denied), usize::from(question.max_payload)) else {
        return;
    };
    let parsed = Message::from_vec(&answer).expect("our own message");
    assert_eq!(parsed.metadata.response_code, ResponseCode::Refused);
    assert!(matches!(&*parsed.queries, [query] if query.name() == question.name()));
    assert!(answer.len() <= usize::from(question.max_payload));
}

/// No address that is not public passes a policy that allows names alone, and what is pinned is
/// what is passed on; no service binding leads past us. The question is fixed, but for its type: a fuzzer
/// would hardly ever guess it.
pub fn answer_stays_within_the_policy(bytes: &[u8]) {
    let (Ok(name), Ok(target)) = (Name::from_ascii("a.example."), parse_target("a.example")) else { return };
    let policy = Policy::new(vec![target.into_rule(Action::Allow)]);
    let hosts = HostAddresses::default();
    for kind in [RecordType::A, RecordType::HTTPS] {
        let mut query = Message::query();
        query.add_query(Query::query(name.clone(), kind));
        let Ok(Ok(question)) = query.to_vec().map(|bytes| Question::parse(&bytes)) else { return };
        for allows_quic in [false, true] {
            let verdict = filter_answer(&question, bytes, &policy, &hosts, allows_quic);
            let AnswerVerdict::Forward { message, pins, lifetime } = verdict else { continue };
            assert!(message.answers.iter().all(|record| u64::from(record.ttl) >= lifetime.as_secs()));
            assert!(message.answers.iter().all(|record| leads_nowhere_past_us(record, allows_quic)));
            let mut addresses = message.answers.iter().filter_map(address_of);
            assert!(addresses.all(|address| Group::of(address, &hosts) == Some(Group::Public)));
            assert!(pins.iter().all(|pin| Group::of(pin.address, &hosts) == Some(Group::Public)));
            assert!(pins.len() <= message.answers.len() && message.additionals.is_empty());
            told_again_it_is_the_same(&message);
            if let Some(fitted) = fit(&question, *message, 512) {
                assert!(fitted.len() <= 512 && Message::from_vec(&fitted).is_ok());
            }
        }
    }
}

fn address_of(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

fn leads_nowhere_past_us(record: &Record, allows_quic: bool) -> bool {
    let params = match &record.data {
        RData::HTTPS(https) => &https.0.svc_params,
        RData::SVCB(svcb) => &svcb.svc_params,
        _ => return true,
    };
    params.iter().all(|(key, value)| match (key, value) {
        (SvcParamKey::Ipv4Hint | SvcParamKey::Ipv6Hint | SvcParamKey::EchConfigList, _) => false,
        (_, SvcParamValue::Alpn(protocols)) => allows_quic || !protocols.0.iter().any(|name| name == "h3"),
        _ => true,
    })
}

/// Taking turns and growing older loses no address and lengthens no life.
fn told_again_it_is_the_same(message: &Message) {
    let sorted = |message: &Message| {
        let mut addresses: Vec<IpAddr> = message.answers.iter().filter_map(address_of).collect();
        addresses.sort();
        addresses
    };
    let mut again = message.clone();
    rotate(&mut again, 3);
    age(&mut again, Duration::from_secs(7));
    assert_eq!(sorted(&again), sorted(message));
    let longest = |message: &Message| message.answers.iter().map(|record| record.ttl).max();
    assert!(longest(&again) <= longest(message));
}
