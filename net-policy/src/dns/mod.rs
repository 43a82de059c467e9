//! DNS as a matter of policy: what is asked, what may be answered.

mod answer_filter;
mod question;
mod respond;

pub use answer_filter::{AnswerVerdict, Pin, RefuseReason, filter_answer};
pub use question::{QueryError, Question};
pub use respond::{Reply, fit, reply};
