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

/// Server: the exchange; whoever calls keeps the connection.
pub(crate) fn greet(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])
}
