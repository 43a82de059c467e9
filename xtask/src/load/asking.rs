//! A request now and then, for some time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::load::answer::Answer;
use crate::load::habit::Habit;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(1);

/// Client: a byte there and back over one connection, and over a new one after an error.
pub(crate) fn run(servers: &Servers, seconds: f64) -> io::Result<Answer> {
    let mut stream = connect(servers)?;
    let (mut micros, mut errors) = (Vec::new(), 0);
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < seconds {
        let asked = Instant::now();
        match exchange(&stream) {
            Ok(()) => micros.push(asked.elapsed().as_secs_f64() * 1e6),
            Err(_) => {
                errors += 1;
                if let Ok(other) = connect(servers) {
                    stream = other;
                }
            }
        }
        thread::sleep(PAUSE);
    }
    let at = |q| quantile(&micros, q).unwrap_or_default();
    Ok(Answer::Asked { total: micros.len(), errors, p50_us: at(0.5), p99_us: at(0.99) })
}

fn connect(servers: &Servers) -> io::Result<TcpStream> {
    let stream = servers.connect(Habit::Echo)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn exchange(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])
}
