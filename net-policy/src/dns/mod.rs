//! DNS as a matter of policy: what is asked, what may be answered.

mod answer_filter;
mod question;
mod respond;
mod virtual_answer;

pub use answer_filter::{AnswerVerdict, Pin, RefuseReason, age, filter_answer, rotate};
pub use question::{QueryError, Question, QuestionKey};
pub use respond::{DenialStyle, ExtendedError, Reply, fit, reply};
pub use virtual_answer::{answer_virtually, virtual_ttl};

#[cfg(test)]
mod tests;
