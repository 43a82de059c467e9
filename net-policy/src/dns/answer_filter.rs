#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "records and codes that mean nothing to a policy are many"
)]

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsCode;
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use thiserror::Error;

use crate::{Group, HostAddresses, Policy};

use super::Question;
use super::respond::EXTENDED_ERROR;

/// Aliases followed from the question; resolvers give up at about as many.
const MAX_CHAIN: usize = 16;

/// Records of one answer that are looked at; more is nobody's address list.
const MAX_RECORDS: usize = 512;

/// Longest explanation of a resolver that is passed on.
const MAX_EXPLANATION_BYTES: usize = 256;

/// Longest that an answer may be told again: as long as a pin is believed.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest that it may be told again that there is nothing (RFC 2308, section 5, has one to three hours; a
/// name that comes into being is wanted sooner).
const MAX_NEGATIVE_LIFETIME: Duration = Duration::from_secs(15 * 60);

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
        /// How long it may be told again to whoever asks the same; zero for not at all.
        lifetime: Duration,
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
/// the policy can mean, no hints and no ECH in service bindings, nor HTTP/3 unless `allows_quic`.
///
/// Every address is checked, not the first; nothing of the authority or additional section pins, and of these
/// only what a negative answer needs is passed on. Signatures are passed on to those who asked for them, of
/// what we have not changed.
pub fn filter_answer(
    question: &Question,
    answer: &[u8],
    policy: &Policy,
    hosts: &HostAddresses,
    allows_quic: bool,
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
    let mut has_changed = false;
    for record in message.answers {
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
        match clean(record, allows_quic) {
            Cleaned::Same(record) => reply.answers.push(record),
            Cleaned::Changed(record) => {
                has_changed = true;
                reply.answers.push(record);
            }
            Cleaned::Nothing => has_changed = true,
        }
    }
    // Negative answers are cached by their SOA (RFC 2308, section 5), and proved by what comes with it.
    let in_authority = |record: &Record| match record.record_type() {
        RecordType::SOA => true,
        RecordType::NSEC | RecordType::NSEC3 | RecordType::RRSIG => question.dnssec_ok,
        _ => false,
    };
    reply.authorities = message.authorities.into_iter().take(MAX_RECORDS).filter(in_authority).collect();
    if has_changed {
        reply.answers.retain(|record| !signs_service_bindings(record));
    }
    reply.metadata.authentic_data =
        message.metadata.authentic_data && (question.dnssec_ok || question.authentic_data) && !has_changed;
    reply.edns = message.edns.as_ref().and_then(explanation);
    let lifetime = lifetime(&reply);
    AnswerVerdict::Forward { message: Box::new(reply), pins, lifetime }
}

/// Takes `age` off every TTL of an answer that was kept.
pub fn age(message: &mut Message, age: Duration) {
    let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        record.ttl = record.ttl.saturating_sub(seconds);
    }
}

/// Moves the first `by` addresses of an answer behind the others, so that whoever takes the first finds
/// another each time, as with a resolver that is asked anew (RFC 1794).
pub fn rotate(message: &mut Message, by: usize) {
    let is_address = |record: &&mut Record| matches!(record.data, RData::A(_) | RData::AAAA(_));
    let mut places: Vec<&mut Record> = message.answers.iter_mut().filter(is_address).collect();
    if places.len() < 2 {
        return;
    }
    let mut records: Vec<Record> = places.iter().map(|record| (**record).clone()).collect();
    let by = by % records.len();
    records.rotate_left(by);
    for (place, record) in places.iter_mut().zip(records) {
        **place = record;
    }
}

/// RFC 2181, section 5.2: the least TTL; RFC 2308, section 5: of nothing, what its SOA says.
fn lifetime(reply: &Message) -> Duration {
    let seconds = |ttl: u32| Duration::from_secs(ttl.into());
    let least = reply.answers.iter().map(|record| seconds(record.ttl)).min();
    let negative = reply.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(seconds(soa.minimum.min(record.ttl)).min(MAX_NEGATIVE_LIFETIME)),
        _ => None,
    });
    let is_data = |record: &Record| !matches!(record.record_type(), RecordType::CNAME | RecordType::RRSIG);
    let has_data = reply.answers.iter().any(is_data);
    match reply.metadata.response_code {
        ResponseCode::NoError if has_data => least.unwrap_or_default().min(MAX_LIFETIME),
        // An alias of nothing, or nothing at all: no longer than either is known to be so.
        ResponseCode::NoError | ResponseCode::NXDomain => match (least, negative) {
            (Some(least), Some(negative)) => least.min(negative),
            (None, Some(negative)) => negative,
            (_, None) => Duration::ZERO,
        },
        _ => Duration::ZERO,
    }
}

/// A resolver's own explanations (RFC 8914), without the rest of what it said of the hop to us.
fn explanation(edns: &Edns) -> Option<Edns> {
    let options = edns.options().options.iter();
    let kept = options.filter(|(code, option)| {
        *code == EdnsCode::Unknown(EXTENDED_ERROR) && usize::from(option.len()) <= MAX_EXPLANATION_BYTES
    });
    let mut own = Edns::new();
    let mut count = 0;
    for (_, option) in kept.take(4) {
        own.options_mut().insert(option.clone());
        count += 1;
    }
    (count > 0).then_some(own)
}

fn check(address: IpAddr, policy: &Policy, hosts: &HostAddresses) -> Result<(), RefuseReason> {
    let group = Group::of(address, hosts);
    if group == Some(Group::Public) || policy.permits_address(address, hosts) {
        return Ok(());
    }
    Err(RefuseReason::Rebinding { address, group: group.map_or("reserved", Group::as_str) })
}

/// What is left of a record.
enum Cleaned {
    Same(Record),
    Changed(Record),
    Nothing,
}

fn clean(mut record: Record, allows_quic: bool) -> Cleaned {
    let service = match &mut record.data {
        RData::HTTPS(https) => &mut https.0,
        RData::SVCB(svcb) => svcb,
        _ => return Cleaned::Same(record),
    };
    let before = service.svc_params.len();
    let has_http3 = service.svc_params.iter().any(|(_, value)| offers_http3(value));
    if !strip(service, allows_quic) {
        return Cleaned::Nothing;
    }
    if before == service.svc_params.len() && (allows_quic || !has_http3) {
        Cleaned::Same(record)
    } else {
        Cleaned::Changed(record)
    }
}

/// Address hints would be connected to without being checked or pinned, an ECH key would hide the name, and
/// HTTP/3 that is refused costs a client time; each only saves a client some. False where nothing usable is
/// left (RFC 9460, sections 7.1 and 8).
fn strip(service: &mut SVCB, allows_quic: bool) -> bool {
    let is_taken = |key: &SvcParamKey| {
        matches!(key, SvcParamKey::Ipv4Hint | SvcParamKey::Ipv6Hint | SvcParamKey::EchConfigList)
    };
    service.svc_params.retain(|(key, _)| !is_taken(key));
    // A client that must understand what was taken away must not use the record without it.
    let is_needed = service
        .svc_params
        .iter()
        .any(|(_, value)| matches!(value, SvcParamValue::Mandatory(keys) if keys.0.iter().any(is_taken)));
    if allows_quic {
        return !is_needed;
    }
    let has_default = !service.svc_params.iter().any(|(key, _)| *key == SvcParamKey::NoDefaultAlpn);
    let mut has_protocol = true;
    service.svc_params.retain_mut(|(_, value)| match value {
        SvcParamValue::Alpn(protocols) => {
            protocols.0.retain(|protocol| !is_http3(protocol));
            has_protocol = !protocols.0.is_empty();
            has_protocol
        }
        _ => true,
    });
    !is_needed && (has_protocol || has_default)
}

fn offers_http3(value: &SvcParamValue) -> bool {
    matches!(value, SvcParamValue::Alpn(protocols) if protocols.0.iter().any(|protocol| is_http3(protocol)))
}

/// `h3`, and the drafts of it (`h3-29`).
fn is_http3(protocol: &str) -> bool {
    protocol == "h3" || protocol.starts_with("h3-")
}

/// Whether a record is the signature of service bindings (RFC 4034, section 3.1.1).
fn signs_service_bindings(record: &Record) -> bool {
    let RData::Unknown { code: RecordType::RRSIG, rdata } = &record.data else { return false };
    let covered = rdata.anything.first_chunk::<2>().map(|bytes| RecordType::from(u16::from_be_bytes(*bytes)));
    matches!(covered, Some(RecordType::HTTPS | RecordType::SVCB))
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
