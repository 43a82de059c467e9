//! A TCP socket that is read in large pieces, however small those are that rustls asks for.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

/// Enough for a handshake.
const FIRST_BYTES: usize = 16 << 10;

/// Enough for bulk.
const MOST_BYTES: usize = 256 << 10;

/// See the file's own description.
pub(super) struct Wide {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// What of `buffer` was read and not yet asked for.
    unread: Range<usize>,
}

impl Wide {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, buffer: vec![0; FIRST_BYTES], unread: 0..0 }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Read for Wide {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            if self.unread.end == self.buffer.len() {
                self.buffer.resize(MOST_BYTES, 0);
            }
            self.unread = 0..self.socket.read(&mut self.buffer)?;
        }
        let mut unread = &self.buffer[self.unread.clone()];
        let length = unread.read(into)?;
        self.unread.start += length;
        Ok(length)
    }
}

impl Write for Wide {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
