//! The embedder's side: worker threads, and guests attached to them.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use net_core::Shaping;
use net_policy::{Policy, VirtualPoolError};
use net_secrets::SecretSet;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::core::{AddressError, Counters, Gateway, GatewayConfig, GuestAddresses};
use crate::guest::{
    Context, Event, EventQueue, GuestConfig, Publication, PublicationId, Stack, SwapError, Termination,
    ViolationReport,
};
use crate::link::Link;
use crate::proxy::{Proxies, ProxyListError};
use crate::shell::{Driver, Publisher, Udp};

/// Commands that wait for a worker or a guest; a caller waits when they are used up.
const MAX_QUEUED_COMMANDS: usize = 16;

/// How long a stopping guest's last frames (the resets of its flows) may take to leave.
const FAREWELL: Duration = Duration::from_millis(100);

/// Builds an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineBuilder {
    workers: usize,
}

/// Why an engine could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No worker was asked for.
    #[error("an engine needs at least one worker")]
    NoWorkers,
    /// The operating system gave no thread or no event queue.
    #[error("a worker could not be started")]
    Worker(#[source] io::Error),
}

/// Why a guest could not be attached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The addresses make no link.
    #[error("the addresses make no link")]
    Addresses(#[from] AddressError),
    /// The prefixes of names' own addresses are no others' ([`GuestConfig::virtual_pools`]).
    #[error(transparent)]
    VirtualPools(#[from] VirtualPoolError),
    /// Upstream's certificates would not be verified, whoever it is ([`GuestConfig::upstream_trust`]).
    #[error("upstream certificates would not be verified: name the hosts in host_trust that are not to be")]
    DangerousTrust,
    /// The proxies are none that can be used ([`GuestConfig::proxies`]).
    #[error(transparent)]
    Proxies(#[from] ProxyListError),
    /// The host gave no randomness for sequence numbers.
    #[error("no randomness")]
    Randomness,
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// Worker threads that carry the networks of guests.
///
/// A guest stays on the worker it was attached to: everything of it runs on one thread. Dropping
/// the engine ends every guest and joins the threads.
pub struct Engine {
    workers: Vec<Worker>,
}

struct Worker {
    commands: mpsc::Sender<Attach>,
    guests: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

struct Attach {
    link: Box<dyn Link>,
    gateway: Gateway,
    config: GuestConfig,
    commands: mpsc::Receiver<Command>,
    events: EventQueue,
    guests: GuestCount,
}

/// A guest counted on its worker until it is gone.
struct GuestCount(Arc<AtomicUsize>);

impl Drop for GuestCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Command {
    Counters(oneshot::Sender<Counters>),
    SwapPolicy(Policy, oneshot::Sender<Result<usize, SwapError>>),
    SwapSecrets(SecretSet, oneshot::Sender<()>),
    SwapShaping(Shaping, oneshot::Sender<()>),
    Publish(Publication, oneshot::Sender<io::Result<PublicationId>>),
    Withdraw(PublicationId, oneshot::Sender<bool>),
    Stop,
}

impl Engine {
    /// Starts from one worker thread.
    pub fn builder() -> EngineBuilder {
        EngineBuilder { workers: 1 }
    }

    /// Attaches a guest by its link, on the worker with the fewest guests. Its addresses are those of
    /// `slot` unless the configuration has others.
    ///
    /// # Errors
    /// [`AttachError`]; nothing was started then.
    pub async fn attach(
        &self,
        slot: u64,
        link: Box<dyn Link>,
        config: GuestConfig,
    ) -> Result<Guest, AttachError> {
        if !config.upstream_trust.verifies() {
            return Err(AttachError::DangerousTrust);
        }
        Proxies::check(&config.proxies)?;
        let random_seed = getrandom::u64().map_err(|_| AttachError::Randomness)?;
        let addresses = match config.addresses {
            Some(addresses) => addresses,
            None => GuestAddresses::for_slot(slot)?,
        };
        let v4 = addresses.ipv4.map(|pair| (pair.guest.into(), pair.prefix_len));
        let v6 = addresses.ipv6.map(|pair| (pair.guest.into(), pair.prefix_len));
        for (own, prefix_len) in [v4, v6].into_iter().flatten() {
            config.virtual_pools.check_link(own, prefix_len)?;
        }
        let mut gateway = Gateway::new(
            GatewayConfig {
                addresses,
                link: link.capabilities(),
                limits: config.limits.clone(),
                random_seed,
                autoconfiguration: config.autoconfiguration.clone(),
            },
            now(),
        )?;
        if link.cuts_datagrams() {
            gateway.join_datagrams();
        }
        let worker = self
            .workers
            .iter()
            .min_by_key(|worker| worker.guests.load(Ordering::Relaxed))
            .ok_or(AttachError::Stopped)?;
        worker.guests.fetch_add(1, Ordering::Relaxed);
        let guests = GuestCount(Arc::clone(&worker.guests));
        let (sender, commands) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let events = EventQueue::new(config.limits.max_queued_events);
        let attach = Attach { link, gateway, config, commands, events: events.clone(), guests };
        worker.commands.send(attach).await.map_err(|_| AttachError::Stopped)?;
        Ok(Guest { commands: sender, events, addresses })
    }
}

impl EngineBuilder {
    /// The number of worker threads; guests are spread over them.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is left running then.
    pub fn build(self) -> Result<Engine, BuildError> {
        if self.workers == 0 {
            return Err(BuildError::NoWorkers);
        }
        let workers = (0..self.workers).map(Worker::start).collect::<Result<_, _>>()?;
        Ok(Engine { workers })
    }
}

impl Worker {
    fn start(index: usize) -> Result<Self, BuildError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BuildError::Worker)?;
        let (commands, attachments) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let thread = std::thread::Builder::new()
            .name(format!("net-engine-{index}"))
            .spawn(move || {
                let guests = LocalSet::new();
                runtime.block_on(guests.run_until(serve(attachments)));
            })
            .map_err(BuildError::Worker)?;
        Ok(Self { commands, guests: Arc::default(), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The worker ends when nobody can attach guests any more.
        let (closed, _) = mpsc::channel(1);
        self.commands = closed;
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

async fn serve(mut attachments: mpsc::Receiver<Attach>) {
    while let Some(attach) = attachments.recv().await {
        tokio::task::spawn_local(run_guest(attach));
    }
}

/// A guest from its attachment to its end. Its sessions live in a set of their own, so that none
/// outlives it.
async fn run_guest(attach: Attach) {
    let Attach { link, gateway, mut config, mut commands, events, guests: _guests } = attach;
    let on_termination = config.on_termination.take();
    let raw_echoes = std::mem::take(&mut config.raw_echoes);
    // Declared first, dropped last: when the events end, nothing of the guest is left, even where
    // the whole worker is taken down.
    let _end = CloseOnDrop(events.clone());
    let sessions = LocalSet::new();
    let ended = sessions
        .run_until(async move {
            let stack = Stack::new(gateway);
            let context = Rc::new(Context::new(stack.clone(), events, config));
            let udp = Rc::new(Udp::new(Rc::clone(&context)));
            let publisher = Rc::new(Publisher::new(Rc::clone(&context), Rc::clone(&udp)));
            let driver = Driver::new(Rc::clone(&context), Rc::clone(&udp), link, raw_echoes);
            let mut driver = tokio::task::spawn_local(driver.run());
            let ended = loop {
                tokio::select! {
                    ended = &mut driver => {
                        // It is never aborted; a panic of it ends the guest like a failed link.
                        let reason = ended.map_or_else(|panic| panic.to_string(), |error| error.to_string());
                        context.events.push(Event::LinkClosed { reason });
                        return Some(Termination::LinkClosed);
                    }
                    // Asked anew after each command, which may be a swap.
                    () = context.forget_retired() => {}
                    () = context.authority_ends() => {}
                    report = context.terminated() => break Some(violated(report)),
                    command = commands.recv() => match command {
                        Some(Command::Counters(reply)) => {
                            // A caller that went away needs no answer.
                            let udp = udp.counters();
                            let stream_waits = stack.shapers().waits();
                            let names_held = context.tls.names_held();
                            let counters = stack.with(|gateway| gateway.counters());
                            let flows_over_destination = context.capped_flows();
                            let _ = reply.send(Counters {
                                udp,
                                names_held,
                                stream_waits,
                                flows_over_destination,
                                ..counters
                            });
                        }
                        Some(Command::SwapPolicy(policy, done)) => {
                            let swapped = context.swap_policy(policy);
                            let _ = done.send(swapped.map(|ended| ended + udp.policy_changed()));
                        }
                        Some(Command::SwapSecrets(secrets, done)) => {
                            context.swap_secrets(secrets);
                            let _ = done.send(());
                        }
                        Some(Command::SwapShaping(shaping, done)) => {
                            context.swap_shaping(&shaping);
                            let _ = done.send(());
                        }
                        Some(Command::Publish(publication, done)) => {
                            let _ = done.send(publisher.publish(publication));
                        }
                        Some(Command::Withdraw(id, done)) => {
                            let _ = done.send(publisher.withdraw(id));
                        }
                        // What must end in any case is not stopped by whoever comes first.
                        Some(Command::Stop) | None => {
                            break context.fatal_violation().map(violated);
                        }
                    },
                }
            };
            stack.with(Gateway::abort_all);
            stack.wake_driver();
            let _ = tokio::time::timeout(FAREWELL, driver).await;
            ended
        })
        .await;
    // The sessions' tasks, sockets and timers go before anybody is told that they have gone.
    drop(sessions);
    if let (Some(hook), Some(why)) = (on_termination, ended) {
        hook.call(why);
    }
}

fn violated(report: ViolationReport) -> Termination {
    Termination::Violation(Box::new(report))
}

struct CloseOnDrop(EventQueue);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Each worker joins its thread as it is dropped.
        self.workers.clear();
    }
}

/// One attached guest. Dropping it stops the guest without waiting.
pub struct Guest {
    commands: mpsc::Sender<Command>,
    events: EventQueue,
    addresses: GuestAddresses,
}

impl Guest {
    /// The addresses on its link: what its interface is to be given.
    pub fn addresses(&self) -> &GuestAddresses {
        &self.addresses
    }

    /// The next event; `None` once the guest has stopped and every event was taken.
    pub async fn next_event(&self) -> Option<Event> {
        self.events.next().await
    }

    /// Events that were lost because nobody took them in time.
    pub fn lost_events(&self) -> u64 {
        self.events.lost()
    }

    /// What went over the link so far; `None` once the guest has stopped.
    pub async fn counters(&self) -> Option<Counters> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Counters(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Replaces the policy. Flows that the new one denies, by their address or by the name they or a
    /// running request of theirs show, are reset before this returns; how many those were.
    ///
    /// # Errors
    /// `NeedsNewAuthority`; the policy is what it was.
    pub async fn swap_policy(&self, policy: Policy) -> Result<usize, SwapError> {
        let (done, wait) = oneshot::channel();
        // A guest that stops meanwhile needs no policy.
        if self.commands.send(Command::SwapPolicy(policy, done)).await.is_err() {
            return Ok(0);
        }
        wait.await.unwrap_or(Ok(0))
    }

    /// Replaces the secrets; live connections use the new ones from their next request on. Where there
    /// were none, connections that are carried as bytes for that reason are reset before this returns.
    /// Values that were replaced are turned into placeholders where they come back for
    /// [`Limits::retired_secret_timeout`](net_core::Limits::retired_secret_timeout), as far as they are of
    /// the last eight swaps.
    pub async fn swap_secrets(&self, secrets: SecretSet) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::SwapSecrets(secrets, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Replaces the bounds on what the guest may send and receive; running flows go on under the new ones. What
    /// rules bound is changed with [them](Self::swap_policy).
    pub async fn swap_shaping(&self, shaping: Shaping) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::SwapShaping(shaping, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Serves a port of the guest's to others, until it is withdrawn or the guest stops.
    ///
    /// # Errors
    /// Those of the system; `BrokenPipe` where the guest has stopped.
    pub async fn publish(&self, publication: Publication) -> io::Result<PublicationId> {
        let (done, wait) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.commands.send(Command::Publish(publication, done)).await.map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?
    }

    /// Closes a published port; what is connected by it goes on. Whether it was served.
    pub async fn withdraw(&self, id: PublicationId) -> bool {
        let (done, wait) = oneshot::channel();
        self.commands.send(Command::Withdraw(id, done)).await.is_ok() && wait.await.unwrap_or(false)
    }

    /// Ends the guest's network: its flows are reset, its tasks, sockets and link are gone when
    /// this returns.
    pub async fn stop(self) {
        // A guest whose link has closed has stopped already.
        let _ = self.commands.send(Command::Stop).await;
        while self.events.next().await.is_some() {}
    }
}

#[allow(clippy::disallowed_methods, reason = "the engine is part of the shell, which owns the clock")]
fn now() -> Instant {
    Instant::now()
}
