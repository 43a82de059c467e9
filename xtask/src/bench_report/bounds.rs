//! What should hold, and whether it does.

use std::fmt;

use crate::bench_engine::number;
use crate::bench_report::table::{OURS, Table};

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Beside {
    /// Nothing: it is a bound by itself.
    Nothing,
    /// Another's figure of the same measure; what is bound is how far ahead we are.
    Peer(&'static str),
    /// Another figure of ours; what is bound is how many times that it is.
    Own(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// One line of what should hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    id: &'static str,
    beside: Beside,
    limit: Limit,
}

/// What became of a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Unmeasured,
    /// The other did nothing, so that we are ahead of it without bound.
    Incomparable,
    /// By the median; `certain` if by the worst and the best sample alike.
    Holds {
        value: f64,
        certain: bool,
    },
    Fails {
        value: f64,
        certain: bool,
    },
}

const fn ahead(id: &'static str, peer: &'static str, times: f64) -> Bound {
    Bound { id, beside: Beside::Peer(peer), limit: Limit::AtLeast(times) }
}

const fn times(id: &'static str, own: &'static str, limit: Limit) -> Bound {
    Bound { id, beside: Beside::Own(own), limit }
}

const fn plain(id: &'static str, limit: Limit) -> Bound {
    Bound { id, beside: Beside::Nothing, limit }
}

const BEST: &str = "best_peer";

/// Every bound, in the order they are reported.
pub(super) const BOUNDS: &[Bound] = &[
    ahead("tcp/up/1/1500", BEST, 5.0),
    // pasta leads the others here with several uploads.
    ahead("tcp/up/4/1500", BEST, 1.6),
    ahead("tcp/up/64/1500", BEST, 1.6),
    ahead("tcp/down/1/1500", BEST, 5.0),
    ahead("tcp/down/4/1500", BEST, 5.0),
    ahead("tcp/down/64/1500", BEST, 5.0),
    ahead("tcp/up/1/1500", "reference", 4.0),
    ahead("tcp/up/4/1500", "reference", 4.0),
    ahead("tcp/up/64/1500", "reference", 4.0),
    ahead("tcp/down/1/1500", "reference", 4.0),
    ahead("tcp/down/4/1500", "reference", 4.0),
    ahead("tcp/down/64/1500", "reference", 4.0),
    ahead("tcp/up/1/65520", BEST, 0.9),
    ahead("tcp/up/4/65520", BEST, 0.9),
    ahead("tcp/up/64/65520", BEST, 0.9),
    ahead("tcp/down/1/65520", BEST, 0.9),
    ahead("tcp/down/4/65520", BEST, 0.9),
    ahead("tcp/down/64/65520", BEST, 0.9),
    ahead("tcp/up/1/1500", "direct", 0.3),
    ahead("tcp/up/4/1500", "direct", 0.3),
    ahead("tcp/up/64/1500", "direct", 0.3),
    ahead("tcp/down/1/1500", "direct", 0.4),
    ahead("tcp/down/4/1500", "direct", 0.4),
    ahead("tcp/down/64/1500", "direct", 0.4),
    ahead("cpu/up/1500", BEST, 2.5),
    ahead("cpu/down/1500", BEST, 2.5),
    ahead("cpu/up/65520", BEST, 0.83),
    ahead("cpu/down/65520", BEST, 0.83),
    ahead("rtt/1500", BEST, 0.83),
    ahead("rtt/65520", BEST, 0.83),
    ahead("connect/1/1500", BEST, 0.85),
    ahead("connect/8/1500", BEST, 1.1),
    ahead("connect/64/1500", BEST, 1.1),
    ahead("udp/up/64/1500", BEST, 1.5),
    ahead("udp/up/1400/1500", BEST, 1.5),
    ahead("udp/down/64/1500", BEST, 1.5),
    ahead("udp/down/1400/1500", BEST, 1.5),
    ahead("udp_rtt/1500", BEST, 1.0),
    ahead("udp_rtt_p99/1500", BEST, 1.0),
    ahead("publish/connect/1/1500", "pasta", 1.2),
    ahead("publish/connect/8/1500", "pasta", 1.2),
    ahead("publish/connect/64/1500", "pasta", 1.2),
    ahead("publish/in/1500", "pasta", 1.2),
    ahead("publish/out/1500", "pasta", 1.2),
    ahead("tls/handshake/8", "direct", 0.3),
    ahead("tls/handshake/8", "reference", 1.2),
    ahead("tls/handshake/1", "reference", 6.0),
    ahead("tls/handshake/8", "mitmproxy", 10.0),
    ahead("tls/handshake/1", "mitmproxy", 10.0),
    plain("tls/added/p50", Limit::AtMost(300.0)),
    ahead("tls/bulk/up", "splice", 0.5),
    ahead("tls/bulk/down", "splice", 0.5),
    ahead("tls/bulk/up", "direct", 0.25),
    ahead("tls/bulk/down", "direct", 0.25),
    ahead("tls/bulk/up", "reference", 3.0),
    ahead("tls/bulk/down", "reference", 3.0),
    ahead("tls/bulk/up_secrets", "ours-http", 0.8),
    // Where it may put a secret into a body it takes bodies in chunks alone.
    ahead("tls/bulk/up_chunked_secrets", "reference-body-secret", 20.0),
    plain("tls/h2/100", Limit::AtLeast(20_000.0)),
    plain("tls/flood/100000/others_p99_over_idle", Limit::AtMost(3.0)),
    times("idle/10000/cpu", "idle/10/cpu", Limit::AtMost(1.15)),
    times("churn/down_after", "churn/down_before", Limit::AtLeast(0.95)),
    plain("churn/errors", Limit::AtMost(0.0)),
    plain("paced/1", Limit::AtLeast(0.95)),
    plain("paced/5", Limit::AtLeast(0.95)),
    plain("paced/20", Limit::AtLeast(0.95)),
    plain("paced/50", Limit::AtLeast(0.95)),
    plain("paced/200", Limit::AtLeast(0.95)),
    plain("gap/1", Limit::AtMost(20.0)),
    plain("gap/5", Limit::AtMost(20.0)),
    plain("gap/20", Limit::AtMost(20.0)),
    plain("gap/50", Limit::AtMost(20.0)),
    plain("gap/200", Limit::AtMost(20.0)),
    plain("fin/20", Limit::AtMost(5.0)),
    plain("fin/100", Limit::AtMost(5.0)),
    plain("fin/1000", Limit::AtMost(5.0)),
    plain("flood/udp/p99/1500", Limit::AtMost(5.0)),
    plain("flood/echo/p99/1500", Limit::AtMost(5.0)),
    plain("flood/syn/p99/1500", Limit::AtMost(5.0)),
    plain("flood/fragments/p99/1500", Limit::AtMost(5.0)),
    plain("guests/1/start", Limit::AtMost(5_000.0)),
    plain("guests/100/start", Limit::AtMost(5_000.0)),
    plain("guests/100/memory", Limit::AtMost(524_288.0)),
    plain("guests/100/wakeups", Limit::AtMost(0.0)),
    plain("mint/leaf/new", Limit::AtMost(60_000.0)),
    plain("leaf_cache/known/1000", Limit::AtMost(100.0)),
    // Of 1 MiB: 2 GiB/s, 0.4 where placeholders are the user's, 1 with hits.
    plain("rewrite_body/no_hit/10secrets/streamed", Limit::AtMost(488_000.0)),
    plain("rewrite_body/no_hit/100secrets/streamed", Limit::AtMost(488_000.0)),
    plain("rewrite_body/no_hit/10user_secrets/streamed", Limit::AtMost(2_440_000.0)),
    plain("rewrite_body/hit_every_4KiB/10secrets/streamed", Limit::AtMost(976_000.0)),
    plain("rewrite_body/hit_every_4KiB/100secrets/streamed", Limit::AtMost(976_000.0)),
    ahead("rewrite_body/no_hit/10secrets/streamed", "reference", 20.0),
    plain("substitute_header/block_clean/20headers/10secrets", Limit::AtMost(1_500.0)),
    plain("substitute_header/block_token/20headers/10secrets", Limit::AtMost(1_500.0)),
];

impl Limit {
    fn admits(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl Bound {
    pub(super) fn verdict(&self, table: &Table<'_>) -> Verdict {
        let Some((value, ends)) = self.value(table) else { return Verdict::Unmeasured };
        if !value.is_finite() {
            return Verdict::Incomparable;
        }
        let holds = self.limit.admits(value);
        let certain = ends.into_iter().all(|end| self.limit.admits(end) == holds);
        if holds { Verdict::Holds { value, certain } } else { Verdict::Fails { value, certain } }
    }

    /// What is bound, and what it would be by our worst and our best sample.
    fn value(&self, table: &Table<'_>) -> Option<(f64, [f64; 2])> {
        let own = table.row(self.id)?.of(OURS)?;
        let (min, max) = (own.min, own.max);
        let (value, scale) = match self.beside {
            Beside::Nothing => (own.median, 1.0),
            Beside::Own(other) => {
                let other = table.row(other)?.of(OURS)?.median;
                (own.median / other, other)
            }
            Beside::Peer(peer) => {
                let ratio = table.ratio(self.id, peer)?;
                // Ahead may be more or less of the unit: what our samples make of the ratio tells which.
                let ends = if self.less_is_better(table, peer, ratio)? {
                    [min, max].map(|end| ratio * own.median / end)
                } else {
                    [min, max].map(|end| ratio * end / own.median)
                };
                return Some((ratio, ends));
            }
        };
        Some((value, [min / scale, max / scale]))
    }

    /// Whether `ratio` is theirs over ours; of the best peer, which any of them may be, by all of them.
    fn less_is_better(&self, table: &Table<'_>, peer: &str, ratio: f64) -> Option<bool> {
        let row = table.row(self.id)?;
        let own = row.of(OURS)?.median;
        let near = |theirs: f64| (theirs / own - ratio).abs() <= ratio * 1e-6;
        let others = row.cells.iter().filter(|(name, _)| *name == peer || peer == BEST);
        Some(others.map(|(_, figure)| figure.median).any(near))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.beside {
            Beside::Nothing => write!(f, "`{}`", self.id),
            Beside::Peer(peer) => write!(f, "`{}` beside {peer}", self.id),
            Beside::Own(other) => write!(f, "`{}` of `{other}`", self.id),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {}", number(*least)),
            Self::AtMost(most) => write!(f, "≤ {}", number(*most)),
        }
    }
}

impl Bound {
    /// The cells of its line: what, how much, what was found, and whether it holds.
    pub(super) fn line(&self, table: &Table<'_>) -> [String; 4] {
        let (found, verdict) = match self.verdict(table) {
            Verdict::Unmeasured => ("–".to_owned(), "not measured"),
            Verdict::Incomparable => ("–".to_owned(), "not to be compared: the other did nothing at all"),
            Verdict::Holds { value, certain: true } => (number(value), "holds"),
            Verdict::Holds { value, certain: false } => (number(value), "holds; samples straddle it"),
            Verdict::Fails { value, certain: true } => (number(value), "**does not hold**"),
            Verdict::Fails { value, certain: false } => {
                (number(value), "**does not hold**; samples straddle it")
            }
        };
        [self.to_string(), self.limit.to_string(), found, verdict.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::sections::SECTIONS;
    use crate::bench_report::table::findings;

    #[test]
    fn a_bound_is_held_by_the_median_and_says_where_samples_straddle_it() {
        let runs = [findings(
            &[
                ("up", &[9.0, 10.0, 11.0]),
                ("up/peer:pasta", &[2.0]),
                ("up/peer:stalled", &[0.0]),
                ("time", &[40.0, 50.0, 60.0]),
                ("time/peer:pasta", &[55.0]),
                ("after", &[4.0]),
            ],
            &[
                ("up", "pasta", 5.0),
                ("up", "best_peer", 5.0),
                ("time", "pasta", 1.1),
                ("up", "stalled", f64::INFINITY),
            ],
        )];
        let table = Table::of(&runs);
        let cases = [
            (ahead("up", "pasta", 4.0), Verdict::Holds { value: 5.0, certain: true }),
            (ahead("up", BEST, 4.8), Verdict::Holds { value: 5.0, certain: false }),
            (ahead("up", "pasta", 5.2), Verdict::Fails { value: 5.0, certain: false }),
            (ahead("up", "pasta", 9.0), Verdict::Fails { value: 5.0, certain: true }),
            // 55 over 60 is 0.92.
            (ahead("time", "pasta", 1.0), Verdict::Holds { value: 1.1, certain: false }),
            (ahead("time", "pasta", 0.9), Verdict::Holds { value: 1.1, certain: true }),
            (ahead("up", "stalled", 4.0), Verdict::Incomparable),
            (plain("time", Limit::AtMost(45.0)), Verdict::Fails { value: 50.0, certain: false }),
            (times("after", "up", Limit::AtLeast(0.3)), Verdict::Holds { value: 0.4, certain: true }),
            (ahead("up", "slirp4netns", 1.0), Verdict::Unmeasured),
            (plain("absent", Limit::AtMost(1.0)), Verdict::Unmeasured),
        ];
        for (bound, expected) in cases {
            assert_eq!(bound.verdict(&table), expected, "{bound}");
        }
    }

    #[test]
    fn every_bound_is_of_a_figure_some_section_shows() {
        for bound in BOUNDS {
            assert!(SECTIONS.iter().any(|section| section.has(bound.id)), "{bound}");
        }
    }
}
