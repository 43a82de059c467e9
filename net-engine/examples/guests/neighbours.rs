//! A guest that talks, and one that shouts, on one worker.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::guest::Guest;
use crate::house::{House, SERVER, Tenant};

const EXCHANGES: usize = 5_000;
const MESSAGE_BYTES: usize = 64;

/// As much as QUIC puts into one.
const DATAGRAM_BYTES: usize = 1_200;

/// Datagrams between two bells.
const BURST: usize = 64;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Neighbours {
    /// A round trip each.
    pub(crate) alone_us: Vec<f64>,
    pub(crate) beside_us: Vec<f64>,
    /// What the noisy one got onto its link.
    pub(crate) noise_per_second: f64,
}

pub(crate) fn measure() -> Result<Neighbours> {
    let mut house = House::build(1)?;
    let (talker, _talker) = guest(house.attach()?)?;
    let (mut shouter, _shouter) = guest(house.attach()?)?;
    let mut talk = Talk::begin(talker, &house)?;
    let alone_us = talk.exchange_often()?;
    let is_over = AtomicBool::new(false);
    let (beside_us, noise) = thread::scope(|scope| {
        let noise = scope.spawn(|| shout(&mut shouter, &is_over));
        let beside_us = talk.exchange_often();
        is_over.store(true, Ordering::Relaxed);
        (beside_us, noise.join())
    });
    let noise = noise.ok().context("the noisy guest panicked")??;
    Ok(Neighbours { alone_us, beside_us: beside_us?, noise_per_second: noise })
}

fn guest(tenant: Tenant) -> Result<(Guest, net_engine::Guest)> {
    let guest = Guest::new(tenant.cable, *tenant.handle.addresses(), SERVER)?;
    Ok((guest, tenant.handle))
}

/// One connection that stays.
struct Talk {
    guest: Guest,
    upstream: TcpStream,
}

impl Talk {
    fn begin(mut guest: Guest, house: &House) -> Result<Self> {
        guest.connect()?;
        let (upstream, _) = house.listener.accept()?;
        upstream.set_nodelay(true)?;
        upstream.set_read_timeout(Some(PATIENCE))?;
        let began = Instant::now();
        while !guest.hear_and_acknowledge()?.is_connected {
            ensure!(began.elapsed() < PATIENCE, "the guest was not connected");
            thread::yield_now();
        }
        Ok(Self { guest, upstream })
    }

    fn exchange_often(&mut self) -> Result<Vec<f64>> {
        (0..EXCHANGES).map(|_| self.exchange()).collect()
    }

    /// A message and its answer; how long they took, in µs.
    fn exchange(&mut self) -> Result<f64> {
        let mut message = [0; MESSAGE_BYTES];
        let began = Instant::now();
        self.guest.write(MESSAGE_BYTES)?;
        self.upstream.read_exact(&mut message)?;
        self.upstream.write_all(&message)?;
        let mut heard = 0;
        while heard < MESSAGE_BYTES {
            ensure!(began.elapsed() < PATIENCE, "no answer");
            heard += self.guest.hear_and_acknowledge()?.data_bytes;
            thread::yield_now();
        }
        Ok(began.elapsed().as_secs_f64() * 1e6)
    }
}

/// Sends datagrams until it is over; how many a second.
fn shout(guest: &mut Guest, is_over: &AtomicBool) -> Result<f64> {
    let began = Instant::now();
    let mut sent = 0_u32;
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            match guest.write_datagram(DATAGRAM_BYTES) {
                Ok(()) => sent += 1,
                Err(error) if is_full(&error) => thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(f64::from(sent) / began.elapsed().as_secs_f64())
}

/// Whether the link takes no more for the moment.
fn is_full(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
}
