#![allow(clippy::wildcard_enum_match_arm, reason = "only addresses matter here")]

//! What holds for every input: called by the fuzz targets and by the tests that replay their corpora.

use std::net::IpAddr;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::dns::{AnswerVerdict, Question, filter_answer, fit};
use crate::{Action, Group, HostAddresses, Policy, parse_target};

/// No address that is not public passes a policy that allows names alone, and what is pinned is
/// what is passed on. The question is fixed: a fuzzer would hardly ever guess it.
pub fn answers_stay_within_the_policy(bytes: &[u8]) {
    // Queries of the guest are as hostile as answers of upstream.
    if let Ok(question) = Question::parse(bytes) {
        assert!(question.to_upstream().to_vec().is_ok());
    }
    let (Ok(name), Ok(target)) = (Name::from_ascii("a.example."), parse_target("a.example")) else { return };
    let mut query = Message::query();
    query.add_query(Query::query(name, RecordType::A));
    let Ok(question) = query.to_vec().map(|bytes| Question::parse(&bytes)) else { return };
    let Ok(question) = question else { return };
    let policy = Policy::new(vec![target.into_rule(Action::Allow)]);
    let hosts = HostAddresses::default();
    let verdict = filter_answer(&question, bytes, &policy, &hosts, false);
    let AnswerVerdict::Forward { message, pins, lifetime } = verdict else { return };
    assert!(message.answers.iter().all(|record| u64::from(record.ttl) >= lifetime.as_secs()));
    let mut addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    });
    assert!(addresses.all(|address| Group::of(address, &hosts) == Some(Group::Public)));
    assert!(pins.iter().all(|pin| Group::of(pin.address, &hosts) == Some(Group::Public)));
    assert!(pins.len() <= message.answers.len());
    if let Some(fitted) = fit(&question, *message, 512) {
        assert!(fitted.len() <= 512 && Message::from_vec(&fitted).is_ok());
    }
}

/// What is parsed prints as something that parses to the same.
pub fn targets_round_trip(text: &str) {
    let Ok(target) = parse_target(text) else { return };
    let shown = target.destination.to_string();
    let again = shown.parse::<crate::Destination>();
    assert_eq!(again.as_ref(), Ok(&target.destination), "{text} printed as {shown}");
    if !target.ports.is_any() {
        assert_eq!(target.ports.to_string().parse(), Ok(target.ports), "{text}");
    }
}
