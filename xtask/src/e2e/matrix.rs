//! Every row in every cell: patient ones beside the others, a line for each.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::e2e::cell::{Cell, Link, Skip, User, become_user, tun_is_closed};
use crate::e2e::need::Needs;
use crate::e2e::row::{Only, Pace, Row};
use crate::e2e::scratch::Scratch;
use crate::e2e::servers::Servers;
use crate::e2e::verdict::{Words, judge};
use crate::e2e::world::World;
use crate::e2e::{capture, certificates, rows, run};
use crate::process;
use crate::programs;
use crate::space::{Owner, clean};
use crate::steps::elapsed;
use crate::workspace::Workspace;

/// A row that has not ended by then has failed; the longest waits 95 s on purpose.
const DEADLINE: Duration = Duration::from_secs(150);

/// Which part of the matrix runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// Only rows whose name contains this, or whose table it is.
    pub(crate) filter: Option<String>,
    pub(crate) link: Option<Link>,
    pub(crate) user: Option<User>,
    /// Capture every row and judge the captures.
    pub(crate) captures: bool,
    /// Keep the scratch directory.
    pub(crate) keep: bool,
    /// A cell that cannot run for want of something is a failure.
    pub(crate) require_all: bool,
}

impl Choice {
    /// The rows that were asked for, in whatever cell.
    fn rows(&self) -> Vec<&'static Row> {
        let is_wanted = |subject: &str, row: &Row| {
            self.filter.as_deref().is_none_or(|filter| filter == subject || row.name.contains(filter))
        };
        rows::all().filter(|(subject, row)| is_wanted(subject, row)).map(|(_, row)| row).collect()
    }
}

/// Runs the matrix; what was skipped and why.
pub(crate) fn play(workspace: &Workspace, choice: &Choice) -> Result<Vec<String>> {
    let absent = programs::ensure(programs::E2E)?;
    if !absent.is_empty() {
        let names: Vec<_> =
            absent.iter().map(|(program, package)| format!("{program} ({package})")).collect();
        let why = format!("end-to-end tests did NOT run: missing {}", names.join(", "));
        if choice.require_all {
            bail!("{why}");
        }
        return Ok(vec![why]);
    }
    if choice.captures {
        capture::require()?;
    }
    process::run(workspace.cargo().args(["build", "--quiet", "-p", "net-engine"]))?;
    let is_root = process::output(std::process::Command::new("id").arg("-u"))?.trim() == "0";
    let scratch = Scratch::new(choice.keep)?;
    scratch.copy_program(&workspace.target.join("debug/net-engine"), "net-engine")?;
    prepare(&scratch)?;
    let sha = scratch.blob()?;
    scratch.giant()?;
    let world = match World::new(if is_root { Owner::Root } else { Owner::User }, &scratch) {
        Ok(world) => world,
        Err(error) if choice.require_all => return Err(error),
        Err(error) => return Ok(vec![format!("end-to-end tests did NOT run: {error:#}")]),
    };
    let needs = Needs::provide(&choice.rows(), workspace, &scratch, choice.require_all)?;
    let servers = Servers::start(&world, &scratch, &needs)?;
    let tally = Mutex::default();
    let matrix = Matrix {
        world: &world,
        scratch: &scratch,
        sha: &sha,
        is_root,
        needs: &needs,
        captures: choice.captures,
        tally,
    };
    let mut remarks = matrix.play(choice)?;
    remarks.extend(needs.remarks(&choice.rows()));
    drop(servers);
    Ok(remarks)
}

/// Certificates, and the files that rows name.
fn prepare(scratch: &Scratch) -> Result<()> {
    certificates::make(scratch)?;
    scratch.write("secret", b"real-from-file\n")?;
    scratch.write("allow-web.toml", b"allow = [\"web.test:80\"]\n")?;
    scratch.write(
        "ordered.toml",
        b"[[rules]]\naction = \"allow\"\nto = \"web.test:80\"\n\n\
          [[rules]]\nname = \"nothing else\"\naction = \"deny\"\nto = \"any:8080\"\n",
    )?;
    scratch.write(
        "requests.toml",
        b"[[rules]]\naction = \"allow\"\nto = \"web.test\"\nmethods = [\"GET\"]\npaths = [\"/hello\"]\n",
    )?;
    let virtually = ["peer.test:7000", "twin.test:7001", "web.test", "v4.test"];
    let virtually =
        virtually.map(|to| format!("[[rules]]\naction = \"allow\"\nto = \"{to}\"\nvirtual_ip = true\n\n"));
    scratch.write("virtual.toml", virtually.concat().as_bytes())?;
    scratch.write(
        "virtual-group.toml",
        b"[[rules]]\naction = \"allow\"\nto = \"public\"\nvirtual_ip = true\n",
    )?;
    scratch
        .write("echo.toml", b"[[rules]]\naction = \"allow\"\nto = \"public\"\nprotocols = [\"icmpv4\"]\n")?;
    scratch
        .write("no-ingress.toml", b"[[rules]]\naction = \"deny\"\nto = \"any\"\ndirection = \"ingress\"\n")?;
    proxies(scratch)?;
    secrets(scratch)?;
    scratch.write("unknown-key.toml", b"alow = [\"web.test:80\"]\n")?;
    scratch.write("bad-pattern.toml", b"allow = [\"web.test\"]\ndeny = [\"we*b.test\"]\n")?;
    scratch.write("port-0.toml", b"intercept = [0]\n")?;
    scratch.write("two-authorities.toml", b"ca_dir = \"a\"\nca_key = \"b\"\n")?;
    scratch.write("malformed.toml", b"allow = [\n")?;
    scratch.copy_setuid_program("id", "setuid-id")
}

/// Files that name proxies which want to know who asks.
fn proxies(scratch: &Scratch) -> Result<()> {
    scratch.write("proxy-password", b"pa55w0rd\n")?;
    let password = format!("file:{}/proxy-password", scratch.dir());
    for (file, url, password) in [
        ("proxy-socks.toml", "socks5h://192.31.196.2:1081", &*password),
        ("proxy-socks-wrong.toml", "socks5h://192.31.196.2:1081", "dangerous-value:another"),
        ("proxy-http.toml", "http://192.31.196.2:3129", &password),
        ("proxy-squid.toml", "http://192.31.196.2:3132", &password),
        ("proxy-squid-v6.toml", "http://[2001:4:112::2]:3132", &password),
        ("proxy-squid-wrong.toml", "http://192.31.196.2:3132", "dangerous-value:another"),
        ("proxy-dante.toml", "socks5h://192.31.196.2:1082", &password),
        ("proxy-dante-v6.toml", "socks5://[2001:4:112::2]:1082", &password),
        ("proxy-dante-wrong.toml", "socks5h://192.31.196.2:1082", "dangerous-value:another"),
    ] {
        let text = format!(
            "[[proxy]]\nname = \"corp\"\nurl = \"{url}\"\nusername = \"dangerous-value:m1ck\"\n\
             password = \"{password}\"\n"
        );
        scratch.write(file, text.as_bytes())?;
    }
    scratch.write("proxy-other-name.toml", b"[[proxy]]\nurl = \"https://localhost:3131\"\n")
}

/// Files with secrets in places that flags cannot name.
fn secrets(scratch: &Scratch) -> Result<()> {
    const EVERYWHERE: &str = r#""headers", "basic_auth", "query", "path", "body", "websocket", "trailers""#;
    for (file, hosts, places) in [
        ("secret-in-a-body.toml", r#""echo.test""#, r#""body""#),
        ("secret-in-a-path.toml", r#""echo.test""#, r#""path", "basic_auth""#),
        ("secret-in-a-query.toml", r#""echo.test""#, r#""query", "headers""#),
        ("secret-in-a-websocket.toml", r#""ws.test""#, r#""websocket""#),
        ("secret-everywhere.toml", r#""*.test""#, EVERYWHERE),
    ] {
        let text = format!(
            "allow = [\"*.test\"]\n\n[[secrets]]\nenv = \"TOKEN\"\nsource = \"env:SECRET_SOURCE\"\n\
             hosts = [{hosts}]\nusage = {{ places = [{places}] }}\n"
        );
        scratch.write(file, text.as_bytes())?;
    }
    let ten = (0..10).map(|number| {
        format!(
            "[[secrets]]\nenv = \"KEY_{number}\"\nsource = \"dangerous-value:the-real-value-{number}\"\n\
             hosts = [\"*.test\"]\nusage = {{ places = [\"headers\", \"body\"] }}\n\n"
        )
    });
    scratch.write("ten-secrets.toml", ten.collect::<String>().as_bytes())
}

struct Matrix<'m> {
    world: &'m World,
    scratch: &'m Scratch,
    sha: &'m str,
    is_root: bool,
    needs: &'m Needs,
    captures: bool,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    /// How many rows were captured, and the frames of all of them.
    captured: (usize, u64),
    failed: Vec<String>,
}

impl Matrix<'_> {
    fn play(&self, choice: &Choice) -> Result<Vec<String>> {
        let (mut cells, mut remarks) = (Vec::new(), Vec::new());
        for cell in Cell::all(choice.link, choice.user) {
            match cell.obstacle(self.world, self.is_root)? {
                None => cells.push(cell),
                Some(Skip::Closed(why)) => {
                    remarks.push(format!("end-to-end tests over {} skipped: {why}", cell.label()));
                }
                Some(Skip::Missing(why)) if choice.require_all && self.is_root => {
                    bail!("{} cannot run: {why}", cell.label())
                }
                Some(Skip::Missing(why)) => {
                    remarks.push(format!("end-to-end tests over {} skipped: {why}", cell.label()));
                }
            }
        }
        let mut work = Vec::new();
        for cell in &cells {
            for row in self.rows_of(*cell, &cells, choice)? {
                work.push((*cell, row));
            }
        }
        if work.is_empty() {
            remarks.extend(self.needs.remarks(&choice.rows()));
            bail!("no end-to-end test was chosen that can run here; {}", remarks.join("; "));
        }
        thread::scope(|scope| {
            let at = |pace| work.iter().filter(move |(_, row)| row.setting.pace == pace);
            for (cell, row) in at(Pace::Patient) {
                scope.spawn(|| self.run_row(*cell, row));
            }
            for (cell, row) in at(Pace::InTurn) {
                self.run_row(*cell, row);
            }
            let paired = Arc::new(Mutex::new(at(Pace::Paired)));
            for _ in 0..2 {
                let paired = Arc::clone(&paired);
                scope.spawn(move || {
                    while let Some((cell, row)) = next_of(&paired) {
                        self.run_row(*cell, row);
                    }
                });
            }
        });
        let tally = self.tally.lock().map_err(|_| anyhow::anyhow!("a test's thread has panicked"))?;
        eprintln!("{} passed, {} failed", tally.passed, tally.failed.len());
        if !tally.failed.is_empty() {
            bail!(
                "{} of {} end-to-end tests failed: {}",
                tally.failed.len(),
                work.len(),
                tally.failed.join(", ")
            );
        }
        remarks.push(format!("{} end-to-end tests passed", tally.passed));
        if self.captures {
            let (rows, frames) = tally.captured;
            remarks.push(format!("tshark has judged {frames} frames of {rows} of {} tests", work.len()));
        }
        Ok(remarks)
    }

    fn rows_of(&self, cell: Cell, cells: &[Cell], choice: &Choice) -> Result<Vec<&'static Row>> {
        let is_first_of_user = cells.iter().find(|other| other.user == cell.user) == Some(&cell);
        let mut chosen = Vec::new();
        for row in choice.rows() {
            let fits = match row.setting.only {
                Only::Any => true,
                Only::OncePerUser => is_first_of_user,
                Only::Once => cells.last() == Some(&cell),
                Only::OrdinaryUser => is_first_of_user && cell.user == User::Nobody,
                Only::Root => is_first_of_user && cell.user == User::Root,
                Only::ClosedTun => is_first_of_user && tun_is_closed(self.world, cell.user, self.is_root)?,
            };
            if fits && self.needs.suffice(row) {
                chosen.push(row);
            }
        }
        Ok(chosen)
    }

    fn run_row(&self, cell: Cell, row: &Row) {
        let label = format!("{} {}", cell.label(), row.name);
        let line = match self.outcome(cell, row) {
            Ok((took, failures, figures)) if failures.is_empty() => {
                self.count(|tally| tally.passed += 1);
                format!("pass  {label} ({}){figures}", elapsed(took))
            }
            Ok((took, failures, _)) => {
                self.count(|tally| tally.failed.push(label.clone()));
                format!("FAIL  {label} ({})\n      {}", elapsed(took), failures.join("\n      "))
            }
            Err(error) => {
                self.count(|tally| tally.failed.push(label.clone()));
                format!("FAIL  {label}: {error:#}")
            }
        };
        eprintln!("{line}");
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How long it took, what did not hold, and the figures it printed.
    fn outcome(&self, cell: Cell, row: &Row) -> Result<(Duration, Vec<String>, String)> {
        let id = format!("{}-{}", row.name.replace('_', "-"), cell.label().replace('/', "-"));
        let words = Words { id: &id, scratch: self.scratch, sha: self.sha };
        let entry = self.world.host.entry();
        let (program, rest) = entry.split_first().context("a namespace is entered by some command")?;
        let mut command = clean(program);
        command.args(rest).args(become_user(cell.user, self.is_root));
        let is_captured = self.captures && !row.setting.bare;
        if is_captured {
            command.args(capture::wrapper(&words));
        }
        command.args(row.setting.wrapper.iter().map(|word| words.fill(word)));
        command.arg(self.scratch.path("net-engine")).arg("run");
        if !row.setting.bare {
            command.args(["--link", cell.link_name()]);
            command.arg("--upstream-ca").arg(self.scratch.path("ca.pem"));
        }
        command.args(row.flags.iter().map(|flag| words.fill(flag)));
        let mut script = words.fill(row.command);
        if is_captured {
            if !row.flags.contains(&capture::FLAG) {
                command.arg(capture::FLAG);
            }
            script = capture::command(&words, &script);
        }
        command.args(["--", "sh", "-c", &script]);
        command.env("SECRET_SOURCE", format!("real-{id}"));
        // An engine that is killed leaves its temporary directory behind.
        command.env("TMPDIR", self.scratch.path("started"));
        let log = self.scratch.path(&format!("{id}.log"));
        let mark = self.scratch.path(&format!("started/{id}.mark"));
        let finished = run::to_the_end(&mut command, &log, DEADLINE, &mark)?;
        let mut failures = judge(row.expect, &words, &finished)?;
        let judged = if is_captured { capture::judge(&words)? } else { None };
        let is_missed = is_captured && judged.is_none();
        if let Some(judged) = judged {
            failures.extend(judged.findings);
            self.count(|tally| {
                tally.captured.0 += 1;
                tally.captured.1 += judged.frames;
            });
        }
        if !failures.is_empty() {
            failures.push(format!("exit status {:?}", finished.code));
            failures.push(format!("stdout: {}", brief(&finished.stdout)));
            failures.push(format!("stderr: {}", brief(&finished.stderr)));
        }
        let figures = finished.stdout.lines().filter(|line| line.starts_with("figure "));
        let mut figures: String = figures.map(|line| format!("\n      {line}")).collect();
        if is_missed {
            // The engine has not begun, say, or not for long enough.
            figures += "\n      was not captured";
        }
        if let Some(kib) = finished.growth_kib {
            figures += &format!("\n      figure growth/{} {kib} KiB", row.name);
        }
        Ok((finished.took, failures, figures))
    }
}

/// The next of what several threads share.
fn next_of<I: Iterator>(shared: &Mutex<I>) -> Option<I::Item> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// The end of what a command printed, on indented lines.
fn brief(text: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n              ")
}
