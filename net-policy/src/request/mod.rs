//! What rules may ask of a request of HTTP: its method and its path.

mod condition;
mod line;
mod method;
mod path;
mod path_pattern;

pub use condition::{HttpCondition, HttpConditionError};
pub use line::RequestLine;
pub use method::{Method, MethodError};
pub use path::MAX_PATH_BYTES;
pub use path_pattern::{MAX_PATTERN_BYTES, MAX_WILDCARDS, PathPattern, PathPatternError};

#[cfg(any(test, fuzzing))]
pub(crate) use path::normal_path;
