//! The servers: a listener for each address and habit, and who returns datagrams.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

use crate::load::habit::Habit;
use crate::load::servers::PATIENCE;
use crate::load::{bulk, datagrams, fin, idle, paced, ping, raise_descriptor_limit, short};

/// Threads that accept and serve short connections, for each address.
const ACCEPTORS: usize = 4;

/// Waiting connections for each listener, as far as the namespace's `somaxconn` allows.
const BACKLOG: i32 = 4096;

/// Serves on every address until the process is killed.
///
/// # Errors
/// When an address cannot be listened on.
pub(crate) fn serve(addresses: &[IpAddr]) -> io::Result<()> {
    raise_descriptor_limit();
    let acceptors = start(addresses)?;
    println!("listening");
    for acceptor in acceptors {
        // It does not end unless it panics.
        let _ = acceptor.join();
    }
    Ok(())
}

/// Listens everywhere; when this returns clients are accepted.
pub(crate) fn start(addresses: &[IpAddr]) -> io::Result<Vec<thread::JoinHandle<()>>> {
    let mut acceptors = Vec::new();
    for address in addresses {
        acceptors.push(datagrams::echo(*address)?);
        for habit in Habit::ALL {
            let listener = TcpListener::bind(SocketAddr::new(*address, habit.port()))?;
            listen(&listener, Backlog::new(BACKLOG)?)?;
            if habit == Habit::Paced {
                // Connections inherit it; set later it would not shrink the window.
                setsockopt(&listener, sockopt::RcvBuf, &paced::RECEIVE_BUFFER_BYTES)?;
            }
            let threads = if habit == Habit::Short { ACCEPTORS } else { 1 };
            for _ in 0..threads {
                let listener = listener.try_clone()?;
                acceptors.push(thread::spawn(move || accept(&listener, habit)));
            }
        }
    }
    Ok(acceptors)
}

fn accept(listener: &TcpListener, habit: Habit) {
    let mut held = Vec::new();
    loop {
        // Out of descriptors, or a client that is gone already: the client's error to report.
        let Ok((stream, _)) = listener.accept() else { continue };
        match habit {
            Habit::Short => drop(serve_one(&stream, habit)),
            Habit::Idle => {
                if serve_one(&stream, habit).is_ok() {
                    held.push(stream);
                }
            }
            Habit::Sink | Habit::Source | Habit::Echo | Habit::Paced | Habit::Fin => {
                thread::spawn(move || serve_one(&stream, habit));
            }
        }
    }
}

fn serve_one(stream: &TcpStream, habit: Habit) -> io::Result<()> {
    match habit {
        Habit::Sink => bulk::sink(stream),
        Habit::Source => bulk::source(stream),
        Habit::Echo => ping::echo(stream),
        Habit::Paced => paced::read_paced(stream),
        Habit::Fin => fin::end_in_time(stream),
        // These are served where they are accepted: one that is stuck must not be for good.
        Habit::Short => stream.set_read_timeout(Some(PATIENCE)).and_then(|()| short::answer(stream)),
        Habit::Idle => stream.set_read_timeout(Some(PATIENCE)).and_then(|()| idle::greet(stream)),
    }
}
