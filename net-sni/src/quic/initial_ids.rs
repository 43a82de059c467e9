use super::packet::{self, Packet};

/// What tells the connections of Initial packets apart, for each one in a datagram of a client, of
/// versions 1 and 2: version, length of the destination connection ID, and that ID, as they stand in the
/// packet (RFC 8999, section 5.1); 25 bytes at most.
///
/// Who follows a flow learns from them, without opening anything, whether a datagram may begin another
/// connection: one has an ID that was not seen before. A client that goes on with an ID the server has
/// chosen shows such a one too; what it sends does not open ([`QuicError::Unauthentic`]).
///
/// A datagram has Initial packets of one connection only (RFC 9000, section 12.2).
///
/// [`QuicError::Unauthentic`]: crate::QuicError::Unauthentic
#[derive(Clone, Debug)]
pub struct InitialIds<'d> {
    rest: &'d [u8],
}

/// What stands between the first byte of a packet and the ID.
const VERSION_AND_LENGTH_BYTES: usize = 5;

impl<'d> InitialIds<'d> {
    /// Those of `datagram`; none where that is no QUIC. Work is linear in its length.
    pub const fn of(datagram: &'d [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'d> Iterator for InitialIds<'d> {
    type Item = &'d [u8];

    fn next(&mut self) -> Option<&'d [u8]> {
        // What cannot be told apart ends the datagram, as it does for a server.
        while let Ok((packet, tail)) = packet::parse(self.rest) {
            self.rest = tail;
            if let Packet::Initial(initial) = packet {
                let end = VERSION_AND_LENGTH_BYTES + initial.destination.len();
                return initial.bytes.get(1..1 + end);
            }
        }
        self.rest = &[];
        None
    }
}
