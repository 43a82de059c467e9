//! Throughput: as much as goes, one way.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::answer::Answer;
use crate::load::habit::Habit;
use crate::load::servers::Servers;

/// Buffers fill and windows open before the count begins.
const WARM_UP: Duration = Duration::from_millis(300);

const READ_BYTES: usize = 1 << 20;

/// Smaller than what is read: a blocking write is counted when all of it is taken.
const WRITE_BYTES: usize = 128 << 10;

/// Client: moves bytes over so many connections to or from `habit`.
pub(crate) fn run(servers: &Servers, habit: Habit, streams: usize, seconds: f64) -> io::Result<Answer> {
    let open: Vec<TcpStream> = (0..streams).map(|_| servers.connect(habit)).collect::<Result<_, _>>()?;
    let (moved, is_over, broken) = (AtomicU64::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let count = |bytes: usize| {
        moved.fetch_add(bytes as u64, Ordering::Relaxed);
    };
    let gbit_per_s = thread::scope(|scope| {
        for stream in &open {
            scope.spawn(|| {
                let ended =
                    if habit == Habit::Sink { write_on(stream, count) } else { read_on(stream, count) };
                if !is_over.load(Ordering::Relaxed) {
                    broken.fetch_add(1, Ordering::Relaxed);
                }
                ended
            });
        }
        thread::sleep(WARM_UP);
        let (began, before) = (Instant::now(), moved.load(Ordering::Relaxed));
        thread::sleep(Duration::from_secs_f64(seconds));
        let (took, after) = (began.elapsed(), moved.load(Ordering::Relaxed));
        is_over.store(true, Ordering::Relaxed);
        for stream in &open {
            // One that is gone already needs none.
            let _ = stream.shutdown(Shutdown::Both);
        }
        (after - before) as f64 * 8e-9 / took.as_secs_f64()
    });
    Ok(Answer::Moved { gbit_per_s, total_bytes: moved.into_inner(), broken: broken.into_inner() })
}

/// Client: does something while a download runs.
pub(crate) fn beside<T>(servers: &Servers, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let stream = servers.connect(Habit::Source)?;
    thread::scope(|scope| {
        scope.spawn(|| read_on(&stream, |_| ()));
        thread::sleep(WARM_UP);
        let done = act();
        // One that is gone already needs none.
        let _ = stream.shutdown(Shutdown::Both);
        done
    })
}

/// Server: reads as fast as it can.
pub(crate) fn sink(stream: &TcpStream) -> io::Result<()> {
    read_on(stream, |_| ())
}

/// Server: writes as fast as it can.
pub(crate) fn source(stream: &TcpStream) -> io::Result<()> {
    write_on(stream, |_| ())
}

fn read_on(mut stream: &TcpStream, count: impl Fn(usize)) -> io::Result<()> {
    let mut buffer = vec![1; READ_BYTES];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => count(length),
        }
    }
}

fn write_on(mut stream: &TcpStream, count: impl Fn(usize)) -> io::Result<()> {
    // Not zeroes: those would be one page of memory, read again and again.
    let buffer = vec![1; WRITE_BYTES];
    loop {
        count(stream.write(&buffer)?);
    }
}
