//! Connections that have moved a byte each way and then keep quiet.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::load::habit::Habit;
use crate::load::servers::Servers;

/// Client: opens what is missing to `count`.
pub(crate) fn open(servers: &Servers, held: &mut Vec<TcpStream>, count: usize) -> io::Result<()> {
    while held.len() < count {
        let mut stream = servers.connect(Habit::Idle)?;
        stream.read_exact(&mut [0])?;
        stream.write_all(&[1])?;
        held.push(stream);
    }
    Ok(())
}

/// Client: how many have not ended.
pub(crate) fn alive(held: &[TcpStream]) -> io::Result<usize> {
    let mut count = 0;
    for stream in held {
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        count += usize::from(peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    }
    Ok(count)
}

/// Server: the exchange; whoever calls keeps the connection.
pub(crate) fn greet(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])
}
