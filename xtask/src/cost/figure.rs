use std::fmt;

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Up,
    Down,
    Flows,
    Packets,
    Datagrams,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] = [Self::Up, Self::Down, Self::Flows, Self::Packets, Self::Datagrams];

    /// Its name, to the program and in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Flows => "flows",
            Self::Packets => "packets",
            Self::Datagrams => "datagrams",
        }
    }

    /// What it is counted in.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Up | Self::Down => "MiB",
            Self::Flows => "flow",
            Self::Packets => "packet",
            Self::Datagrams => "datagram",
        }
    }

    /// The two counts it runs at: far enough apart that a call more or less (a timer, a table that
    /// grows) does not show.
    pub(crate) fn counts(self) -> (u32, u32) {
        match self {
            Self::Up | Self::Down => (4, 36),
            Self::Flows => (20, 220),
            Self::Packets | Self::Datagrams => (20, 420),
        }
    }

    /// What one unit more costs, by the totals of both runs.
    pub(crate) fn per_unit(self, few: u64, many: u64) -> f64 {
        let (from, to) = self.counts();
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (few, many) = (few as f64, many as f64);
        (many - few) / f64::from(to - from)
    }

    pub(crate) fn figure(self, measure: Measure, few: u64, many: u64) -> Figure {
        Figure { scenario: self, measure, value: self.per_unit(few, many) }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Instructions,
    Allocations,
    Syscalls,
}

impl Measure {
    /// Its name in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Allocations => "allocations",
            Self::Syscalls => "syscalls",
        }
    }

    /// A figure's value to the digits that mean something.
    pub(crate) fn show(self, value: f64) -> String {
        let decimals = self.decimals();
        // No minus where nothing is left of it.
        format!("{:.decimals$}", self.round(value) + 0.0)
    }

    pub(crate) fn round(self, value: f64) -> f64 {
        let scale = if self.decimals() == 0 { 1.0 } else { 100.0 };
        (value * scale).round() / scale
    }

    fn decimals(self) -> usize {
        match self {
            Self::Instructions => 0,
            Self::Allocations | Self::Syscalls => 2,
        }
    }
}

/// What one unit of a scenario costs the worker thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) scenario: Scenario,
    pub(crate) measure: Measure,
    pub(crate) value: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scenario, measure) = (self.scenario.name(), self.measure.name());
        let value = self.measure.show(self.value);
        // A count is the same each time: its least and its most are one.
        write!(f, "figure cost/{scenario}/{measure} {value} /{} {value}..{value}", self.scenario.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_runs_have_in_common_cancels() {
        let figure = Scenario::Packets.figure(Measure::Syscalls, 1_050, 2_650);
        assert_eq!(figure.to_string(), "figure cost/packets/syscalls 4.00 /packet 4.00..4.00");
        let figure = Scenario::Packets.figure(Measure::Instructions, 1_000, 8_301_234);
        assert_eq!(figure.to_string(), "figure cost/packets/instructions 20751 /packet 20751..20751");
    }
}
