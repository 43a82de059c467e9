//! Requests of HTTP/2, by h2load: one connection, many streams at a time.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{HTTP2_PORT, NAME};
use crate::load::answer::Answer;
use crate::load::servers::Servers;

/// Client: as many requests as go for some seconds.
pub(in crate::load) fn run(servers: &Servers, streams: usize, seconds: f64) -> Result<Answer> {
    let mut command = Command::new("h2load");
    command.args(["--clients=1", "--threads=1", &format!("--max-concurrent-streams={streams}")]);
    command.arg(format!("--duration={}", seconds.ceil())).arg("--warm-up-time=1");
    command.arg(format!("--connect-to={}:{HTTP2_PORT}", servers.first()?));
    command.arg(format!("https://{NAME}:{HTTP2_PORT}/"));
    let output = command.stdin(Stdio::null()).output().context("cannot start h2load")?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// What h2load says of requests a second, and of those that failed.
fn parse(said: &str) -> Result<Answer> {
    let line = |label: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(label));
        line.with_context(|| format!("h2load does not say `{label}`: {said}"))
    };
    if line("Application protocol:")?.trim() != "h2" {
        bail!("it is not HTTP/2 that was chosen");
    }
    // `2.00s, 1234.50 req/s, 1.1MB/s`
    let per_s = before(line("finished in")?, "req/s").context("no rate")?;
    let status = line("status codes:")?;
    let done: f64 = before(line("requests:")?, "done").context("no count")?;
    // `9 2xx, 0 3xx, 1 4xx, 0 5xx`
    let good: f64 = before(status, "2xx").context("no status")?;
    Ok(Answer::Requests { per_s, errors: (done - good).max(0.0) as usize })
}

/// The number that stands before `word`.
fn before(line: &str, word: &str) -> Option<f64> {
    line.split(',').find_map(|part| part.trim().strip_suffix(word))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "TLS Protocol: TLSv1.3\nApplication protocol: h2\n\n\
        finished in 2.00s, 1234.50 req/s, 1.10MB/s\n\
        requests: 2469 total, 2569 started, 2469 done, 2468 succeeded, 1 failed, 1 errored, 0 timeout\n\
        status codes: 2467 2xx, 0 3xx, 2 4xx, 0 5xx\n";

    #[test]
    fn what_h2load_says_is_understood() {
        assert_eq!(parse(SAID).expect("it says all"), Answer::Requests { per_s: 1234.5, errors: 2 });
        assert!(parse(&SAID.replace("protocol: h2", "protocol: http/1.1")).is_err());
        assert!(parse("").is_err());
    }
}
