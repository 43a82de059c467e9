use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use net_core::HostName;
use thiserror::Error;

/// What we ask resolvers to fit an answer into (DNS flag day 2020): no fragments on any path.
const EDNS_PAYLOAD_BYTES: u16 = 1232;

/// RFC 1035, section 4.2.1: what a client without EDNS can take over UDP.
const PLAIN_PAYLOAD_BYTES: u16 = 512;

/// One question of the guest.
#[derive(Clone, Debug)]
pub struct Question {
    /// The guest's id, for the answer.
    pub id: u16,
    /// The name, when it is a host name; policies decide nothing else.
    pub host: Option<HostName>,
    /// The most the guest can take in one datagram.
    pub max_payload: u16,
    pub(super) recursion_desired: bool,
    pub(super) has_edns: bool,
    pub(super) query: Query,
}

/// Why a datagram is no question we answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Not a DNS message, or a response: no answer is due.
    #[error("not a dns query")]
    Malformed,
    /// Something other than one question of class IN: answered with NOTIMP or FORMERR.
    #[error("not one question of class in")]
    Unsupported {
        /// The query's id.
        id: u16,
    },
}

impl QueryError {
    /// The answer that is due, if one is: FORMERR under the query's id.
    pub fn reply(&self) -> Option<Vec<u8>> {
        match self {
            Self::Malformed => None,
            Self::Unsupported { id } => {
                Message::error_msg(*id, OpCode::Query, ResponseCode::FormErr).to_vec().ok()
            }
        }
    }
}

impl Question {
    /// Parses a query.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, QueryError> {
        let message = Message::from_vec(bytes).map_err(|_| QueryError::Malformed)?;
        if message.metadata.message_type != MessageType::Query {
            return Err(QueryError::Malformed);
        }
        let id = message.metadata.id;
        let [query] = message.queries.as_slice() else { return Err(QueryError::Unsupported { id }) };
        if message.metadata.op_code != OpCode::Query || query.query_class() != DNSClass::IN {
            return Err(QueryError::Unsupported { id });
        }
        Ok(Self {
            id,
            host: HostName::parse(&query.name().to_ascii()).ok(),
            max_payload: message
                .edns
                .as_ref()
                .map_or(PLAIN_PAYLOAD_BYTES, |edns| edns.max_payload().max(PLAIN_PAYLOAD_BYTES)),
            recursion_desired: message.metadata.recursion_desired,
            has_edns: message.edns.is_some(),
            query: query.clone(),
        })
    }

    /// The name as it was asked.
    pub fn name(&self) -> &Name {
        self.query.name()
    }

    /// The type asked for.
    pub fn record_type(&self) -> RecordType {
        self.query.query_type()
    }

    /// The message to ask a resolver with: the question alone, without anything else the guest
    /// put into its query. The id is 0: give it one.
    pub fn to_upstream(&self) -> Message {
        let mut message = Message::query();
        message.metadata.id = 0;
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD_BYTES);
        message.set_edns(edns);
        message
    }
}
