//! Round trips of one byte.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::load::answer::Answer;
use crate::load::habit::Habit;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

/// Round trips before those that count.
const WARM_UP: usize = 100;

/// Client: so many round trips over one connection.
pub(crate) fn run(servers: &Servers, count: usize) -> io::Result<Answer> {
    let mut stream = servers.connect(Habit::Echo)?;
    stream.set_nodelay(true)?;
    let mut micros = Vec::with_capacity(count);
    for turn in 0..count + WARM_UP {
        let began = Instant::now();
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        if turn >= WARM_UP {
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    let at = |q| quantile(&micros, q).unwrap_or_default();
    Ok(Answer::Rtt { p50_us: at(0.5), p99_us: at(0.99) })
}

/// Server: returns what it reads.
pub(crate) fn echo(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}
