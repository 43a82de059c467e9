use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};

use super::Question;

/// What we can take of a query over UDP ourselves, as told in our answers.
const EDNS_PAYLOAD_BYTES: u16 = 1232;

/// TTL of the answers we make up ourselves.
const OWN_TTL: u32 = 60;

/// Answers we give without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// REFUSED: policy says no.
    Refused,
    /// SERVFAIL: no resolver answered.
    Failed,
    /// These addresses, as far as they are of the family asked for.
    Addresses(Vec<IpAddr>),
}

/// The message for an answer of our own.
pub fn reply(question: &Question, what: &Reply) -> Message {
    let mut message = Message::response(question.id, OpCode::Query);
    match what {
        Reply::Refused => message.metadata.response_code = ResponseCode::Refused,
        Reply::Failed => message.metadata.response_code = ResponseCode::ServFail,
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
    message.queries = vec![question.query.clone()];
    if question.has_edns {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD_BYTES);
        message.set_edns(edns);
    }
    let bytes = message.to_vec().ok()?;
    if bytes.len() <= max_bytes {
        return Some(bytes);
    }
    message.truncate().to_vec().ok().filter(|bytes| bytes.len() <= max_bytes)
}
