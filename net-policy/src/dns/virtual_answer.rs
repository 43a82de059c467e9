#![allow(clippy::wildcard_enum_match_arm, reason = "all but two kinds of records lead to no address")]

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};

use super::Question;
use crate::VirtualPair;

/// Longest that a guest is told to remember an address that stands for a name.
const MAX_VIRTUAL_TTL: u32 = 60;

/// How long a filtered answer with addresses may be remembered once these stand for the name: as long as the
/// answer, at most 60 s. `None` where it has no address.
pub fn virtual_ttl(message: &Message) -> Option<Duration> {
    let has_address = message.answers.iter().any(|record| family(record).is_some());
    let least = message.answers.iter().map(|record| record.ttl).min().unwrap_or_default();
    has_address.then(|| Duration::from_secs(least.min(MAX_VIRTUAL_TTL).into()))
}

/// Puts the name's own addresses in the place of the real ones, of each family that it has any of. The name
/// asked has them itself: no alias is left, nor a signature, which would be of something else.
pub fn answer_virtually(question: &Question, message: &mut Message, pair: VirtualPair, ttl: Duration) {
    let ttl = u32::try_from(ttl.as_secs()).unwrap_or(MAX_VIRTUAL_TTL);
    let own = [(RecordType::A, RData::A(A(pair.ipv4))), (RecordType::AAAA, RData::AAAA(AAAA(pair.ipv6)))];
    let has = |kind| message.answers.iter().any(|record| family(record) == Some(kind));
    let own = own.into_iter().filter(|(kind, _)| has(*kind));
    let own = own.map(|(_, data)| Record::from_rdata(question.name().clone(), ttl, data)).collect();
    message.answers = own;
    message.authorities.clear();
    message.metadata.authentic_data = false;
}

fn family(record: &Record) -> Option<RecordType> {
    match &record.data {
        RData::A(_) => Some(RecordType::A),
        RData::AAAA(_) => Some(RecordType::AAAA),
        _ => None,
    }
}

impl Question {
    /// The address whose name is asked for (RFC 1035, section 3.5; RFC 3596, section 2.5).
    pub fn reverse(&self) -> Option<IpAddr> {
        if self.record_type() != RecordType::PTR {
            return None;
        }
        let prefix = self.name().parse_arpa_name().ok()?;
        (prefix.prefix_len() == prefix.max_prefix_len()).then(|| prefix.addr())
    }
}
