//! A system that runs, and the agent that is its guest.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench_engine::launch::{Joined, Launch};
use crate::bench_engine::mitmproxy;
use crate::bench_engine::network::{
    CONGESTION_CONTROL, HOST, LOAD, LOOPBACK, Network, SERVERS, Served, TCP_SETTINGS,
};
use crate::bench_engine::usage::{self, Usage};
use crate::load::{Answer, Flood, Order};
use crate::process;
use crate::space::Space;

/// How the kernel calls the agent's process.
const AGENT: &str = "load";

/// How long a system may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer that takes longer than its order by this much does not come.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

/// What very many names or connections take depends on who bears them.
const FLOOD_PATIENCE: Duration = Duration::from_secs(600);

/// Lines kept of what a system says, for when it fails.
const MAX_REMARKS: usize = 8;

/// One system with servers behind it and an agent in front of it, all of them fresh.
pub(crate) struct Running {
    children: Vec<Child>,
    /// The process that is the guest's command.
    agent: Option<u32>,
    /// The process of the system itself; the direct way has none.
    process: Option<u32>,
    orders: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
    remarks: Arc<Mutex<VecDeque<String>>>,
    /// Those that do not end with the agent, and what undoes what was set up for them.
    outliving: Vec<u32>,
    undo: Option<Command>,
    _served: Served,
}

impl Running {
    /// Starts it, and waits until its guest reaches a server.
    pub(crate) fn start(network: &Network, served: Served, launch: &Launch) -> Result<Self> {
        Self::start_in(&network.host, network, served, launch, &SERVERS)
    }

    /// A client outside, of the ports that a system publishes.
    pub(crate) fn outside(network: &Network) -> Result<Self> {
        let launch = Launch::new(["env"], Joined::Not);
        Self::start_in(&network.upstream, network, Served::nobody(), &launch, &[HOST])
    }

    /// A client on the host itself, of the same ports.
    pub(crate) fn beside(network: &Network) -> Result<Self> {
        let launch = Launch::new(["env"], Joined::Not);
        Self::start_in(&network.host, network, Served::nobody(), &launch, &[LOOPBACK])
    }

    fn start_in(
        space: &Space,
        network: &Network,
        served: Served,
        launch: &Launch,
        servers: &[&str],
    ) -> Result<Self> {
        let mut agent = space.command(&launch.words[0]);
        agent.args(&launch.words[1..]).args([LOAD, "load", "agent"]).args(servers);
        agent.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        let mut child = agent
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", process::line(&agent)))?;
        let remarks = Arc::new(Mutex::new(VecDeque::new()));
        let orders = child.stdin.take();
        let answers = lines(child.stdout.take().context("stdout is piped")?);
        remember(child.stderr.take().context("stderr is piped")?, &remarks);
        let own = child.id();
        let mut running = Self {
            children: vec![child],
            agent: None,
            process: matches!(launch.joined, Joined::ByItsRunner).then_some(own),
            orders,
            answers,
            remarks,
            outliving: Vec::new(),
            undo: None,
            _served: served,
        };
        running.connect(network, own, &launch.joined).with_context(|| running.said())?;
        Ok(running)
    }

    fn connect(&mut self, network: &Network, own: u32, joined: &Joined) -> Result<()> {
        let agent = self.wait_for_agent(own)?;
        self.agent = Some(agent);
        match joined {
            Joined::ByItsRunner | Joined::Not => {}
            Joined::BySlirp { mtu } => {
                let mut command = network.host.command("slirp4netns");
                command.args(["--configure", "--mtu", &mtu.to_string(), &agent.to_string(), "tap0"]);
                self.serve_by(command)?;
            }
            Joined::ByMitmproxy { library } => {
                mitmproxy::join(network, agent)?;
                self.undo = Some(mitmproxy::undo(network));
                self.serve_by(mitmproxy::command(network, library))?;
            }
        }
        self.reach()?;
        if !matches!(joined, Joined::Not) {
            let mut command = network.host.command("nsenter");
            command.args(["--net", "--target", &agent.to_string(), "sh", "-euc", TCP_SETTINGS]);
            process::run(&mut command).context("cannot set up TCP in the guest")?;
        }
        let found = self.reach()?;
        if found != CONGESTION_CONTROL {
            bail!("congestion control is {found}, not {CONGESTION_CONTROL}");
        }
        Ok(())
    }

    /// Starts the system beside its agent.
    fn serve_by(&mut self, mut command: Command) -> Result<()> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start `{}`", process::line(&command)))?;
        remember(child.stderr.take().context("stderr is piped")?, &self.remarks);
        self.process = Some(child.id());
        self.outliving.push(child.id());
        self.children.push(child);
        Ok(())
    }

    /// Waits until a server answers; the congestion control towards it.
    fn reach(&mut self) -> Result<String> {
        let answer = self.ask(Order::Reach)?;
        let Answer::Reached { congestion_control } = answer else { bail!("{answer:?}") };
        Ok(congestion_control)
    }

    fn wait_for_agent(&mut self, own: u32) -> Result<u32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(agent) = usage::find(own, AGENT)? {
                return Ok(agent);
            }
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("it ended while starting ({status})");
                }
            }
            if Instant::now() > deadline {
                bail!("no command runs in it after {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Has the agent carry out an order.
    ///
    /// # Errors
    /// When it could not, or there is no agent any more.
    pub(crate) fn ask(&mut self, order: Order) -> Result<Answer> {
        let orders = self.orders.as_mut().context("there is no agent any more")?;
        writeln!(orders, "{order}").with_context(|| format!("the agent has ended before `{order}`"))?;
        let is_long = matches!(order, Order::TlsFlood { .. } | Order::Churn { .. });
        let patience = if is_long { FLOOD_PATIENCE } else { ANSWER_PATIENCE };
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.answers.recv_timeout(left) else {
                // An answer that came later would be taken for that to the next order.
                self.orders = None;
                bail!("no answer to `{order}`");
            };
            match serde_json::from_str(&line) {
                Ok(Answer::Failed { reason }) => bail!("`{order}` failed: {reason}"),
                Ok(answer) => return Ok(answer),
                // A system may talk on the standard output it shares with its command.
                Err(_) => self.remark(line),
            }
        }
    }

    /// Starts a flood from the guest's namespace; it ends by itself after so many seconds.
    pub(crate) fn flood(&self, network: &Network, kind: Flood, seconds: f64) -> Result<Flooding> {
        let agent = self.agent.context("there is no agent")?;
        let mut command = network.host.command("nsenter");
        command.args(["--net", "--target", &agent.to_string(), LOAD, "load", "flood", kind.name()]);
        command.args([SERVERS[0], &seconds.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Ok(Flooding(Some(child.context("cannot start a flood")?)))
    }

    /// The CPU time the system has used so far.
    pub(crate) fn cpu_time(&self) -> Result<Option<Duration>> {
        self.process.map(|pid| usage::cpu_time(pid, AGENT)).transpose()
    }

    /// What the system's process holds.
    pub(crate) fn usage(&self) -> Result<Option<Usage>> {
        self.process.map(usage::of).transpose()
    }

    fn remark(&self, line: String) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        push(&mut remarks, line);
    }

    /// The last things the system said.
    pub(crate) fn said(&self) -> String {
        let remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if remarks.is_empty() {
            return "it said nothing".to_owned();
        }
        format!("it said: {}", remarks.iter().map(String::as_str).collect::<Vec<_>>().join(" | "))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The agent ends with its input, and a system with its command, if it has one.
        drop(self.orders.take());
        let deadline = Instant::now() + PATIENCE;
        for child in self.children.iter_mut().rev() {
            if self.outliving.contains(&child.id()) {
                let _ = child.kill();
            }
            while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(undo) = &mut self.undo {
            let _ = undo.status();
        }
    }
}

/// A flood that goes on; it ends when this is dropped.
pub(crate) struct Flooding(Option<Child>);

impl Flooding {
    /// Waits for its end; how many packets a second it has sent.
    pub(crate) fn end(mut self) -> Result<f64> {
        let output = self.0.take().context("it ends once")?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let per_s = said.trim().parse();
        per_s.with_context(|| format!("a flood failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The lines of a pipe, read as they come.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Keeps the last lines of a pipe.
fn remember(pipe: impl Read + Send + 'static, remarks: &Arc<Mutex<VecDeque<String>>>) {
    let remarks = Arc::clone(remarks);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            push(&mut remarks.lock().unwrap_or_else(PoisonError::into_inner), line);
        }
    });
}

fn push(remarks: &mut VecDeque<String>, line: String) {
    if remarks.len() == MAX_REMARKS {
        remarks.pop_front();
    }
    remarks.push_back(line);
}
