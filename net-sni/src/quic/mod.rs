//! From the first datagrams of a QUIC flow to a ClientHello.

mod crypto_stream;
mod error;
mod frame;
mod initial_ids;
mod packet;
mod protection;
mod sniffer;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use error::QuicError;
pub use initial_ids::InitialIds;
pub use sniffer::{QUIC_BUFFER_BYTES, QuicSniffer};
