#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "records and codes that mean nothing to a policy are many"
)]

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use thiserror::Error;

use crate::{Group, HostAddresses, Policy};

use super::Question;

/// Aliases followed from the question; resolvers give up at about as many.
const MAX_CHAIN: usize = 16;

/// Records of one answer that are looked at; more is nobody's address list.
const MAX_RECORDS: usize = 512;

/// An address our resolver gave for the name asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The address.
    pub address: IpAddr,
    /// The least TTL on the way to it.
    pub ttl: Duration,
}

/// What becomes of a resolver's answer.
#[derive(Clone, Debug)]
#[must_use]
pub enum AnswerVerdict {
    /// Send this to the guest, and pin these.
    Forward {
        /// The answer, cleaned.
        message: Box<Message>,
        /// Addresses for the name asked.
        pins: Vec<Pin>,
    },
    /// Refuse the question.
    Refuse(RefuseReason),
}

/// Why an answer is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefuseReason {
    /// An address in it is none of the internet's, and no rule allows it as such: somebody points
    /// a public name at a private place.
    #[error("it resolves to {address}, which is {group}")]
    Rebinding {
        /// The first such address.
        address: IpAddr,
        /// What it is.
        group: &'static str,
    },
    /// The bytes are no answer to the question.
    #[error("the resolver's answer is malformed")]
    Malformed,
}

/// Cleans a resolver's answer: only records on the alias chain from the question, only addresses
/// the policy can mean, no hints and no ECH in service bindings.
///
/// Every address is checked, not the first; nothing of the authority or additional section pins.
pub fn filter_answer(
    question: &Question,
    answer: &[u8],
    policy: &Policy,
    hosts: &HostAddresses,
) -> AnswerVerdict {
    let Ok(message) = Message::from_vec(answer) else {
        return AnswerVerdict::Refuse(RefuseReason::Malformed);
    };
    let is_answer = message.metadata.message_type == MessageType::Response
        && matches!(message.queries.as_slice(), [query] if *query == question.query)
        && message.answers.len() <= MAX_RECORDS;
    if !is_answer {
        return AnswerVerdict::Refuse(RefuseReason::Malformed);
    }
    let chain = Chain::follow(question.name(), &message.answers);
    let mut reply = Message::response(question.id, message.metadata.op_code);
    reply.metadata.response_code = match message.metadata.response_code {
        code @ (ResponseCode::NoError | ResponseCode::NXDomain) => code,
        _ => ResponseCode::ServFail,
    };
    let mut pins = Vec::new();
    for record in &message.answers {
        let Some(chain_ttl) = chain.ttl_at(&record.name) else { continue };
        let address = match &record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        };
        if let Some(address) = address {
            if let Err(reason) = check(address, policy, hosts) {
                return AnswerVerdict::Refuse(reason);
            }
            pins.push(Pin { address, ttl: Duration::from_secs(record.ttl.min(chain_ttl).into()) });
        }
        reply.add_answer(clean(record));
    }
    // Negative answers are cached by their SOA (RFC 2308, section 5).
    let soa = message.authorities.iter().filter(|record| record.record_type() == RecordType::SOA);
    reply.add_authorities(soa.cloned());
    AnswerVerdict::Forward { message: Box::new(reply), pins }
}

fn check(address: IpAddr, policy: &Policy, hosts: &HostAddresses) -> Result<(), RefuseReason> {
    let group = Group::of(address, hosts);
    if group == Some(Group::Public) || policy.permits_address(address, hosts) {
        return Ok(());
    }
    Err(RefuseReason::Rebinding { address, group: group.map_or("reserved", Group::as_str) })
}

/// Address hints would be connected to without being checked or pinned, and an ECH key would hide
/// the name; both only save a client time.
fn clean(record: &Record) -> Record {
    let mut record = record.clone();
    match &mut record.data {
        RData::HTTPS(https) => strip_hints(&mut https.0),
        RData::SVCB(svcb) => strip_hints(svcb),
        _ => {}
    }
    record
}

fn strip_hints(svcb: &mut SVCB) {
    let stays = |key: &SvcParamKey| {
        !matches!(key, SvcParamKey::Ipv4Hint | SvcParamKey::Ipv6Hint | SvcParamKey::EchConfigList)
    };
    svcb.svc_params.retain_mut(|(key, value)| {
        if let SvcParamValue::Mandatory(keys) = value {
            // A record without a key it calls mandatory is ignored (RFC 9460, section 8).
            keys.0.retain(stays);
            return !keys.0.is_empty();
        }
        stays(key)
    });
}

/// The owners an answer may have: the name asked and what it is an alias of.
struct Chain(Vec<(Name, u32)>);

impl Chain {
    fn follow(asked: &Name, answers: &[Record]) -> Self {
        let mut owners = vec![(asked.to_lowercase(), u32::MAX)];
        while owners.len() < MAX_CHAIN {
            let Some((owner, ttl)) = owners.last().cloned() else { break };
            let alias = answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name.to_lowercase() == owner => {
                    Some((target.0.to_lowercase(), ttl.min(record.ttl)))
                }
                _ => None,
            });
            match alias {
                Some(alias) if !owners.iter().any(|(known, _)| *known == alias.0) => owners.push(alias),
                Some(_) | None => break,
            }
        }
        Self(owners)
    }

    /// The least TTL on the way to `owner`, when it is on the chain.
    fn ttl_at(&self, owner: &Name) -> Option<u32> {
        let owner = owner.to_lowercase();
        self.0.iter().find(|(known, _)| *known == owner).map(|(_, ttl)| *ttl)
    }
}
