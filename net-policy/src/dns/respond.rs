use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use net_core::HostName;

use super::Question;

/// What we can take of a query over UDP ourselves, as told in our answers.
const EDNS_PAYLOAD_BYTES: u16 = 1232;

/// TTL of the answers we make up ourselves.
const OWN_TTL: u32 = 60;

/// RFC 8914, section 2: the option's code.
pub(super) const EXTENDED_ERROR: u16 = 15;

/// How a guest is told that a name is denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DenialStyle {
    /// REFUSED: the truth. Some stub resolvers ask their next server then.
    #[default]
    Refused,
    /// NXDOMAIN: there is no such name here. Every stub resolver stops at that.
    NxDomain,
}

/// Why there is no other answer, for clients that show it (RFC 8914): `dig` and browsers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendedError {
    /// A policy of ours says no (15, Blocked).
    Blocked(&'static str),
    /// No resolver answered (23, Network Error).
    Network,
    /// What a resolver answered is no answer (24, Invalid Data).
    InvalidData,
    /// Something else (0, Other Error).
    Other(&'static str),
}

impl ExtendedError {
    fn option(self) -> EdnsOption {
        let (code, text): (u16, _) = match self {
            Self::Other(text) => (0, text),
            Self::Blocked(text) => (15, text),
            Self::Network => (23, "no resolver answered"),
            Self::InvalidData => (24, "a resolver's answer makes no sense"),
        };
        let mut data = code.to_be_bytes().to_vec();
        data.extend_from_slice(text.as_bytes());
        EdnsOption::Unknown(EXTENDED_ERROR, data)
    }
}

/// Answers we give without a resolver's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Policy says no.
    Denied(DenialStyle, ExtendedError),
    /// SERVFAIL: there is no answer to be had.
    Failed(ExtendedError),
    /// These addresses, as far as they are of the family asked for.
    Addresses(Vec<IpAddr>),
    /// The name of an address.
    Pointer(HostName),
    /// NXDOMAIN: the address has no name.
    NoPointer,
}

/// The message for an answer of our own.
pub fn reply(question: &Question, what: &Reply) -> Message {
    let mut message = Message::response(question.id, OpCode::Query);
    let mut explain = |code: ResponseCode, why: ExtendedError| {
        message.metadata.response_code = code;
        let mut edns = Edns::new();
        edns.options_mut().insert(why.option());
        message.set_edns(edns);
    };
    match what {
        Reply::Denied(DenialStyle::Refused, why) => explain(ResponseCode::Refused, *why),
        Reply::Denied(DenialStyle::NxDomain, why) => explain(ResponseCode::NXDomain, *why),
        Reply::Failed(why) => explain(ResponseCode::ServFail, *why),
        Reply::Pointer(host) => {
            if let Ok(host) = Name::from_ascii(format!("{host}.")) {
                let data = RData::PTR(PTR(host));
                message.add_answer(Record::from_rdata(question.name().clone(), OWN_TTL, data));
            }
        }
        Reply::NoPointer => message.metadata.response_code = ResponseCode::NXDomain,
        Reply::Addresses(addresses) => {
            for address in addresses {
                let data = match (address, question.record_type()) {
                    (IpAddr::V4(v4), RecordType::A) => RData::A(A(*v4)),
                    (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA(AAAA(*v6)),
                    (IpAddr::V4(_) | IpAddr::V6(_), _) => continue,
                };
                message.add_answer(Record::from_rdata(question.name().clone(), OWN_TTL, data));
            }
        }
    }
    message
}

/// Completes `message` as the answer to `question` and encodes it into at most `max_bytes`.
///
/// What does not fit is left out and TC set (RFC 2181, section 9): the guest asks again over TCP.
/// `None` when not even the header and the question can be encoded.
pub fn fit(question: &Question, mut message: Message, max_bytes: usize) -> Option<Vec<u8>> {
    message.metadata.id = question.id;
    message.metadata.recursion_desired = question.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.checking_disabled = question.checking_disabled;
    message.queries = vec![question.query.clone()];
    // An OPT record is for those who sent one (RFC 6891, section 7).
    let edns = message.edns.take().unwrap_or_default();
    if question.has_edns {
        let mut edns = edns;
        edns.set_max_payload(EDNS_PAYLOAD_BYTES).set_dnssec_ok(question.dnssec_ok);
        message.set_edns(edns);
    }
    // A guest that compares spellings compares those of the records too.
    for record in &mut message.answers {
        if record.name == *question.name() {
            record.name = question.name().clone();
        }
    }
    let bytes = message.to_vec().ok()?;
    if bytes.len() <= max_bytes {
        return Some(bytes);
    }
    message.truncate().to_vec().ok().filter(|bytes| bytes.len() <= max_bytes)
}
