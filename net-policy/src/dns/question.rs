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
    /// Whether the guest wants to know if the resolver has validated the answer (RFC 6840, section 5.7).
    pub(super) authentic_data: bool,
    /// Whether the guest validates by itself (RFC 4035, section 3.2.2).
    pub(super) checking_disabled: bool,
    /// Whether the guest takes signatures (RFC 3225).
    pub(super) dnssec_ok: bool,
    pub(super) has_edns: bool,
    pub(super) query: Query,
}

/// What an answer depends on: two questions with one key have one answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuestionKey {
    name: Name,
    record_type: RecordType,
    dnssec_ok: bool,
    checking_disabled: bool,
    authentic_data: bool,
}

/// Why a datagram is no question we answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Not a DNS message, or a response: no answer is due.
    #[error("not a dns query")]
    Malformed,
    /// Something other than a question: NOTIMP.
    #[error("not a standard query")]
    OpCode {
        /// The query's id.
        id: u16,
        /// What it asks for.
        op_code: OpCode,
    },
    /// No question, or more than one (RFC 9619): FORMERR.
    #[error("not one question")]
    Count {
        /// The query's id.
        id: u16,
    },
    /// A question of another class than IN: REFUSED.
    #[error("not of class in")]
    Class {
        /// The query's id.
        id: u16,
    },
    /// A version of EDNS above 0: BADVERS (RFC 6891, section 6.1.3).
    #[error("an unknown version of edns")]
    EdnsVersion {
        /// The query's id.
        id: u16,
    },
}

impl QueryError {
    /// The answer that is due, if one is, under the query's id.
    pub fn reply(&self) -> Option<Vec<u8>> {
        let message = match *self {
            Self::Malformed => return None,
            Self::OpCode { id, op_code } => Message::error_msg(id, op_code, ResponseCode::NotImp),
            Self::Count { id } => Message::error_msg(id, OpCode::Query, ResponseCode::FormErr),
            Self::Class { id } => Message::error_msg(id, OpCode::Query, ResponseCode::Refused),
            Self::EdnsVersion { id } => {
                let mut message = Message::error_msg(id, OpCode::Query, ResponseCode::BADVERS);
                // The code's upper bits travel in the OPT record.
                let mut edns = Edns::new();
                edns.set_max_payload(EDNS_PAYLOAD_BYTES);
                message.set_edns(edns);
                message
            }
        };
        message.to_vec().ok()
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
        if message.metadata.op_code != OpCode::Query {
            return Err(QueryError::OpCode { id, op_code: message.metadata.op_code });
        }
        let edns = message.edns.as_ref();
        if edns.is_some_and(|edns| edns.version() > 0) {
            return Err(QueryError::EdnsVersion { id });
        }
        let [query] = message.queries.as_slice() else { return Err(QueryError::Count { id }) };
        if query.query_class() != DNSClass::IN {
            return Err(QueryError::Class { id });
        }
        Ok(Self {
            id,
            host: HostName::parse(&query.name().to_ascii()).ok(),
            max_payload: edns.map_or(PLAIN_PAYLOAD_BYTES, |edns| edns.max_payload().max(PLAIN_PAYLOAD_BYTES)),
            recursion_desired: message.metadata.recursion_desired,
            authentic_data: message.metadata.authentic_data,
            checking_disabled: message.metadata.checking_disabled,
            dnssec_ok: edns.is_some_and(|edns| edns.flags().dnssec_ok),
            has_edns: edns.is_some(),
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

    /// What the answer depends on.
    pub fn key(&self) -> QuestionKey {
        QuestionKey {
            name: self.query.name().to_lowercase(),
            record_type: self.query.query_type(),
            dnssec_ok: self.dnssec_ok,
            checking_disabled: self.checking_disabled,
            authentic_data: self.authentic_data,
        }
    }

    /// The message to ask a resolver with: the question and the guest's flags. The id is 0: give it one.
    ///
    /// Options of EDNS (cookies, padding, a client's subnet) speak of one hop (RFC 6891, section 6.1.1), and
    /// what the guest puts there is for us.
    pub fn to_upstream(&self) -> Message {
        let mut message = Message::query();
        message.metadata.id = 0;
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = self.authentic_data;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD_BYTES).set_dnssec_ok(self.dnssec_ok);
        message.set_edns(edns);
        message
    }
}
