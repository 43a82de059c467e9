//! `bench engine --tls`: TLS through our engine in each of its ways, through the reference and mitmproxy,
//! and through nothing.
//!
//! All bear the same load: HTTP/1.1 with bodies and requests that do not end. Where the engine carries it
//! as bytes an id is as it is for everybody; where it parses it the id ends in `/http`. `splice` is ours
//! that reads the name and opens nothing, `direct` no engine at all: both are limits, not competitors.

pub(crate) mod certificates;
mod report;
mod schedule;
mod session;
mod system;

pub(crate) use schedule::run;
pub(crate) use system::System;
