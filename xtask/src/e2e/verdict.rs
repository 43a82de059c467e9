//! Comparing what was seen with what a row expects.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::e2e::row::Expect;
use crate::e2e::run::Finished;
use crate::e2e::scratch::Scratch;
use crate::e2e::servers;

/// How long a server may take to write down what it has seen.
const SETTLE: Duration = Duration::from_millis(300);
/// How long we wait for something that a server must have seen.
const ARRIVE: Duration = Duration::from_secs(3);

/// What stands for `{id}`, `{dir}` and `{sha}` in a row.
pub(crate) struct Words<'a> {
    pub(crate) id: &'a str,
    pub(crate) scratch: &'a Scratch,
    pub(crate) sha: &'a str,
}

impl Words<'_> {
    /// `text` with every word filled in.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{id}", self.id).replace("{dir}", &self.scratch.dir()).replace("{sha}", self.sha)
    }

    /// Whether some line of `text` holds all of `needles`.
    fn in_one_line(&self, text: &str, needles: &[&str]) -> bool {
        let needles: Vec<_> = needles.iter().map(|needle| self.fill(needle)).collect();
        text.lines().any(|line| needles.iter().all(|needle| line.contains(needle)))
    }
}

/// Everything that did not come out as expected; empty is a pass.
pub(crate) fn judge(expect: &[Expect], words: &Words<'_>, finished: &Finished) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    if finished.timed_out {
        failures.push(format!("did not end within {} s", finished.took.as_secs()));
    }
    for expected in expect {
        if !holds(expected, words, finished)? {
            failures.push(words.fill(&format!("expected {expected:?}")));
        }
    }
    Ok(failures)
}

fn holds(expected: &Expect, words: &Words<'_>, finished: &Finished) -> Result<bool> {
    Ok(match expected {
        Expect::Exit(code) => finished.code == Some(*code),
        Expect::Fails => finished.code.is_some_and(|code| code != 0),
        Expect::Out(text) => finished.stdout.contains(&words.fill(text)),
        Expect::NotOut(text) => !finished.stdout.contains(&words.fill(text)),
        Expect::Err(needles) => words.in_one_line(&finished.stderr, needles),
        Expect::NotErr(text) => !finished.stderr.contains(&words.fill(text)),
        Expect::Upstream(needles) => {
            let deadline = Instant::now() + ARRIVE;
            loop {
                if words.in_one_line(&servers::seen(words.scratch)?, needles) {
                    return Ok(true);
                }
                if Instant::now() > deadline {
                    return Ok(false);
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Expect::NotUpstream(text) => {
            thread::sleep(SETTLE);
            !servers::seen(words.scratch)?.contains(&words.fill(text))
        }
        Expect::GrowsBelow(mib) => finished.growth_kib.is_some_and(|kib| kib < mib << 10),
        Expect::Rejected(needles) => {
            let started = words.scratch.path("started").join(words.id).exists();
            let lines = finished.stderr.lines().filter(|line| !line.trim().is_empty()).count();
            finished.code == Some(2) && !started && lines == 1 && words.in_one_line(&finished.stderr, needles)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_can_fail_and_hold() {
        let scratch = Scratch::new(false).expect("a scratch directory");
        scratch.write("upstream.log", b"nginx GET /one?row-1\n").expect("a log");
        std::fs::write(scratch.path("started").join("row-2"), "").expect("a mark");
        let finished = |code, stdout: &str, stderr: &str| Finished {
            code: Some(code),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            took: Duration::ZERO,
            timed_out: false,
            growth_kib: None,
        };
        let quiet = finished(0, "", "");
        let loud = finished(2, "hello row-1", "error: bad flag --allow\n");
        let grown = Finished { growth_kib: Some(8 << 10), ..finished(0, "", "") };
        let two_lines = finished(2, "", "error: bad\nflag --allow\n");
        let cases: &[(Expect, &Finished, &str, bool)] = &[
            (Expect::Exit(2), &loud, "row-1", true),
            (Expect::Exit(2), &quiet, "row-1", false),
            (Expect::Fails, &loud, "row-1", true),
            (Expect::Fails, &quiet, "row-1", false),
            (Expect::Out("hello {id}"), &loud, "row-1", true),
            (Expect::Out("hello {id}"), &loud, "row-3", false),
            (Expect::NotOut("hello"), &quiet, "row-1", true),
            (Expect::NotOut("hello"), &loud, "row-1", false),
            (Expect::Err(&["bad", "--allow"]), &loud, "row-1", true),
            (Expect::Err(&["bad", "--allow"]), &two_lines, "row-1", false),
            (Expect::NotErr("bad"), &quiet, "row-1", true),
            (Expect::NotErr("bad"), &loud, "row-1", false),
            (Expect::Upstream(&["nginx", "{id}"]), &quiet, "row-1", true),
            (Expect::Upstream(&["nginx", "{id}"]), &quiet, "row-3", false),
            (Expect::NotUpstream("{id}"), &quiet, "row-3", true),
            (Expect::NotUpstream("{id}"), &quiet, "row-1", false),
            (Expect::GrowsBelow(9), &grown, "row-1", true),
            (Expect::GrowsBelow(8), &grown, "row-1", false),
            (Expect::GrowsBelow(8), &quiet, "row-1", false),
            (Expect::Rejected(&["--allow"]), &loud, "row-1", true),
            (Expect::Rejected(&["--deny"]), &loud, "row-1", false),
            (Expect::Rejected(&["--allow"]), &loud, "row-2", false),
            (Expect::Rejected(&["--allow"]), &two_lines, "row-1", false),
            (Expect::Rejected(&[]), &quiet, "row-1", false),
        ];
        for (expect, finished, id, expected) in cases {
            let words = Words { id, scratch: &scratch, sha: "" };
            let failures = judge(&[*expect], &words, finished).expect("a readable log");
            assert_eq!(failures.is_empty(), *expected, "{expect:?} for {id}: {failures:?}");
        }
    }
}
