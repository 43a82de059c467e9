//! `run`: a command whose only way out is the engine.

use std::ffi::CString;
use std::fs;
use std::io::IsTerminal as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::args::RunArgs;
use super::confine::confine;
use super::environment::{self, TrustPaths};
use super::held_secrets::HeldSecrets;
use super::plan::{Plan, UNLOCKED};
use super::publish;
use super::renewal::{Renewal, Renewals};
use super::report::Reporter;
use super::sandbox::{self, LinkKind, Sandbox, SandboxPlan};
use super::trust::TrustFiles;
use super::watch::{Watch, Watching};
use super::wiped_variables;
use crate::core::GuestAddresses;
use crate::link::{Link, PacketLink, TapLink};
use crate::{
    Engine, Guest, GuestConfig, Publication, RawEchoSockets, Termination, TerminationHook, WipingAllocator,
};

/// The exit status where a violation has ended the command.
const VIOLATED: u8 = 86;

/// Checks everything, prepares the sandbox, starts the engine, then lets the command run.
pub(super) fn run(args: Box<RunArgs>) -> Result<ExitCode> {
    // Nobody of the same user reads the secrets out of this process, the command least of all.
    nix::sys::prctl::set_dumpable(false).context("the process cannot be protected")?;
    // Made before any secret is read; what is wrong with the flags is said first.
    let user_namespace = sandbox::make_user_namespace();
    let mut plan = Plan::new(&args)?;
    if plan.held.is_empty() && plan.removed_variables.is_empty() && plan.covers.is_empty() {
        // Nothing was read that is a secret.
        WipingAllocator::stop();
    }
    let user_namespace = user_namespace.map_err(|error| anyhow!("{error}"))?;
    let RunArgs { command, policy, verbose, .. } = *args;
    let command: Vec<CString> = command
        .into_iter()
        .map(|argument| CString::new(argument.into_vec()))
        .collect::<Result<_, _>>()
        .context("COMMAND: an argument holds a NUL byte")?;
    for warning in &plan.warnings {
        eprintln!("net-engine: warning: {warning}");
    }
    let files = Files::write(&plan).context("a directory for the command's files")?;
    if let Some(place) =
        plan.watched.as_ref().filter(|place| files.directory.path().starts_with(&place.directory))
    {
        bail!(
            "--watch: {} is hidden from the command, and holds its temporary files: keep the file in a directory \
             of its own",
            place.directory.display()
        );
    }
    let environment = environment::of_command(&plan, files.trust.as_ref());
    let sandbox_plan = SandboxPlan {
        link: plan.link,
        addresses: GuestAddresses::default(),
        is_configured: plan.is_configured,
        mtu: plan.mtu,
        has_terminal: fs::File::open("/dev/tty").is_ok(),
        command,
        environment,
        resolv_conf: files.resolv_conf.clone(),
        ca_bundle: files.trust.as_ref().map(|trust| trust.bundle.clone()),
        covers: plan.covers,
        empty: files.empty.clone(),
        empty_directory: files.empty_directory.clone(),
    };
    let (sandbox, descriptor, kind) =
        sandbox::spawn(&sandbox_plan, &user_namespace).map_err(|error| anyhow!("{error}"))?;
    drop(user_namespace);
    // While there is one thread, and before the engine gives up what this needs.
    let renewals = match plan.refresher {
        refresher if refresher.is_empty() => None,
        mut refresher => {
            refresher.open();
            let kept = refresher.descriptors();
            let channel = sandbox::spawn_aside(kept, |channel| refresher.work(channel));
            Some(channel.map_err(|error| anyhow!("{error}"))?)
        }
    };
    // What reads sources again may need them, and has its own.
    wiped_variables::wipe(&plan.removed_variables);
    // After the sandbox was split off, which has no part in it.
    let rules = plan.guest.policy.clone();
    let watch = plan.watched.map(|place| Watch::new(place, policy, rules, &plan.config)).transpose()?;
    // By the capabilities this process still has; the sandbox has no part in it.
    let publications = publish::bind(&plan.publish)?;
    let sockets: Vec<_> = publications.iter().filter_map(Publication::socket_directory).collect();
    plan.guest.raw_echoes = RawEchoSockets::where_needed();
    let confinement = confine(files.directory.path(), watch.as_ref().map(Watch::directory), &sockets);
    if verbose > 0 {
        eprintln!("net-engine: link {kind:?}, mtu {}", plan.mtu);
        eprintln!("net-engine: {confinement}");
    }
    // After the sandbox was split off: its command keeps the limits it was given.
    raise_descriptor_limit();
    let link: Box<dyn Link> = match (kind, plan.offload) {
        (LinkKind::Tap, true) => Box::new(TapLink::from_descriptor(descriptor, plan.mtu)),
        (LinkKind::Tap, false) => {
            let link = TapLink::from_descriptor(descriptor, plan.mtu).without_offload();
            Box::new(link.context("the TAP device keeps its offloads")?)
        }
        (LinkKind::Packet, true) => Box::new(PacketLink::from_descriptor(descriptor, plan.mtu)),
        (LinkKind::Packet, false) => {
            Box::new(PacketLink::from_descriptor(descriptor, plan.mtu).without_offload())
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    let outside = Outside { publications, is_verbose: verbose > 0 };
    let may_say_unlocked = plan.held.are_locked();
    let secrets = Secrets { held: plan.held, renewals, may_say_unlocked };
    let status = runtime.block_on(carry(plan.guest, link, &sandbox, watch, outside, secrets))?;
    drop(files);
    Ok(ExitCode::from(status))
}

/// Takes all the descriptors the system allows: each connection of the guest has one upstream.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it is refused the engine has fewer, and refuses connections beyond.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The ports of the command that others may connect to.
struct Outside {
    publications: Vec<Publication>,
    is_verbose: bool,
}

impl Outside {
    /// Serves them from now on, and says where those are whose place the system has chosen.
    async fn publish(self, guest: &Guest) -> Result<()> {
        for publication in self.publications {
            let (address, port) = (publication.local_address(), publication.guest_port());
            let was_chosen = publication.is_of_the_system_s_choice();
            let protocol = if publication.is_udp() { "/udp" } else { "" };
            guest.publish(publication).await.with_context(|| format!("port {port} cannot be published"))?;
            if let Some(address) = address
                && (was_chosen || self.is_verbose)
            {
                eprintln!("net-engine: port {port}{protocol} is published at {address}");
            }
        }
        Ok(())
    }
}

/// The secrets, and where their changes arrive.
struct Secrets {
    held: HeldSecrets,
    renewals: Option<OwnedFd>,
    /// Nothing was said yet of values that are not locked: said once.
    may_say_unlocked: bool,
}

impl Secrets {
    /// Has the guest live by what has become of a secret, and says so.
    async fn renew(&mut self, guest: &Guest, number: u32, renewal: Renewal) {
        let (set, told) = self.held.renew(number, renewal);
        if let Some(set) = set {
            guest.swap_secrets(set).await;
        }
        if let Some(told) = told {
            eprintln!("net-engine: {told}");
        }
        if self.may_say_unlocked && !self.held.are_locked() {
            eprintln!("net-engine: warning: {UNLOCKED}");
            self.may_say_unlocked = false;
        }
    }
}

/// Carries the command's network until it ends; its exit status.
async fn carry(
    mut config: GuestConfig,
    link: Box<dyn Link>,
    sandbox: &Sandbox,
    watch: Option<Watch>,
    outside: Outside,
    mut secrets: Secrets,
) -> Result<u8> {
    let (told, mut ended_by) = oneshot::channel();
    config.on_termination = Some(TerminationHook::new(move |why| {
        // Nobody listens any more where the command has ended.
        let _ = told.send(why);
    }));
    let engine = Engine::builder().build()?;
    let guest = engine.attach(0, link, config).await?;
    outside.publish(&guest).await?;
    let mut reporter = Reporter::default();
    let mut child_ended = signal(SignalKind::child())?;
    let mut signals = Signals::listen()?;
    let mut renewals = secrets.renewals.take().map(Renewals::new).transpose()?;
    let mut watching = watch.map(Watching::new).transpose()?;
    if let Some(watching) = &mut watching {
        // It may have changed since it was read.
        watching.take_over(&guest).await;
    }
    sandbox.start().context("the sandbox ended before its command could start")?;
    let mut violation = None;
    let status = loop {
        tokio::select! {
            Some(event) = guest.next_event() => reporter.report(&event),
            () = reporter.due() => reporter.tell_due(&guest),
            Ok(why) = &mut ended_by, if violation.is_none() => if let Termination::Violation(report) = why {
                // Process 1 goes with it, and with that whatever runs inside.
                let _ = kill(sandbox.keeper, Signal::SIGKILL);
                violation = Some(report);
            },
            signal = signals.next() => {
                // A command that has ended needs no signal; its status is collected next.
                let _ = kill(sandbox.keeper, signal);
            }
            Ok(()) = changed(watching.as_ref()) => if let Some(watching) = &mut watching {
                watching.take_over(&guest).await;
            },
            renewal = next(renewals.as_ref()) => match renewal {
                Some((number, renewal)) => secrets.renew(&guest, number, renewal).await,
                None => {
                    eprintln!("net-engine: secrets are not read again any more: the process for it has ended");
                    renewals = None;
                }
            },
            _ = child_ended.recv() => if let Some(status) = exit_status(sandbox.keeper) { break status },
        }
    };
    finish(guest, &mut reporter).await;
    if let (None, Ok(Termination::Violation(report))) = (&violation, ended_by.try_recv()) {
        // The command has seen its network end, and ended before it was told to.
        violation = Some(report);
    }
    drop(engine);
    let Some(report) = violation else { return Ok(status) };
    eprintln!("net-engine: the command was ended: {report}");
    Ok(VIOLATED)
}

/// Waits for a change of a secret, or for ever.
async fn next(renewals: Option<&Renewals>) -> Option<(u32, Renewal)> {
    match renewals {
        Some(renewals) => renewals.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the file that is watched, or for ever.
async fn changed(watching: Option<&Watching>) -> std::io::Result<()> {
    match watching {
        Some(watching) => watching.changed().await,
        None => std::future::pending().await,
    }
}

/// Stops the guest and prints what it still had to say.
async fn finish(guest: Guest, reporter: &mut Reporter) {
    while let Ok(Some(event)) = tokio::time::timeout(std::time::Duration::ZERO, guest.next_event()).await {
        reporter.report(&event);
    }
    reporter.finish(&guest);
    guest.stop().await;
}

fn exit_status(keeper: Pid) -> Option<u8> {
    match waitpid(keeper, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, status)) => Some(u8::try_from(status & 0xff).unwrap_or(u8::MAX)),
        Ok(WaitStatus::Signaled(_, signal, _)) => u8::try_from(128 + signal as i32).ok(),
        Ok(_) => None,
        Err(_) => Some(u8::MAX),
    }
}

/// The signals that are passed on.
struct Signals {
    streams: Vec<(Signal, tokio::signal::unix::Signal)>,
    /// The terminal signals the command itself.
    has_terminal: bool,
}

impl Signals {
    fn listen() -> Result<Self> {
        let kinds = [
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGWINCH,
        ];
        let listen = |kind: Signal| Ok((kind, signal(SignalKind::from_raw(kind as i32))?));
        let streams = kinds.into_iter().map(listen).collect::<Result<_>>()?;
        Ok(Self { streams, has_terminal: std::io::stdin().is_terminal() })
    }

    /// The next signal to pass on.
    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                while let std::task::Poll::Ready(Some(())) = stream.poll_recv(context) {
                    let by_terminal = matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGWINCH);
                    if !(by_terminal && self.has_terminal) {
                        return std::task::Poll::Ready(*signal);
                    }
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Files the command reads; gone when it has ended.
struct Files {
    directory: TempDir,
    resolv_conf: PathBuf,
    trust: Option<TrustPaths>,
    /// Nothing, to stand in place of what the command must not read.
    empty: PathBuf,
    empty_directory: PathBuf,
}

impl Files {
    fn write(plan: &Plan) -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("net-engine-").tempdir()?;
        // The command may run as another user than the one who reads its own directory.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let resolv_conf = directory.path().join("resolv.conf");
        let lines: Vec<String> =
            GuestAddresses::default().gateways().map(|gateway| format!("nameserver {gateway}\n")).collect();
        write(&resolv_conf, lines.concat().as_bytes())?;
        let trust = match &plan.trust {
            Some(TrustFiles { bundle, key_store, authority }) => {
                let paths = TrustPaths {
                    bundle: directory.path().join("ca-bundle.pem"),
                    key_store: directory.path().join("ca-bundle.p12"),
                    authority: directory.path().join("authority.pem"),
                };
                write(&paths.bundle, bundle.as_bytes())?;
                write(&paths.key_store, key_store)?;
                write(&paths.authority, authority.as_bytes())?;
                Some(paths)
            }
            None => None,
        };
        let empty = directory.path().join("empty");
        write(&empty, b"")?;
        let empty_directory = directory.path().join("empty.d");
        fs::create_dir(&empty_directory)?;
        fs::set_permissions(&empty_directory, fs::Permissions::from_mode(0o755))?;
        Ok(Self { directory, resolv_conf, trust, empty, empty_directory })
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
