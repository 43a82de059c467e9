//! What taking samples of one system in one round has in common, whatever is measured.

use anyhow::Result;

use crate::bench_engine::network::Network;
use crate::bench_engine::quiet;
use crate::bench_engine::running::Running;
use crate::bench_engine::samples::{Measure, Samples, Unit};

/// A running system and where its samples go.
pub(crate) struct Session<'s, S> {
    pub(super) network: &'s Network,
    pub(super) system: S,
    pub(super) running: Running,
    pub(super) samples: &'s mut Samples<S>,
    /// For people: the round and the system.
    pub(super) label: String,
    /// How long a sample of throughput takes.
    pub(super) seconds: f64,
}

impl<S: Copy + PartialEq> Session<'_, S> {
    /// Takes a sample; a failure is remarked, and the next one may be tried.
    pub(super) fn attempt(&mut self, what: &str, sample: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = sample(self) {
            self.remark(what, &error);
        }
    }

    pub(super) fn remark(&mut self, what: &str, error: &anyhow::Error) {
        let remark = format!("{} {what}: {error:#}; {}", self.label, self.running.said());
        eprintln!("{remark}");
        self.samples.remarks.push(remark);
    }

    /// Waits for a machine that does nothing else, and counts where it does not come to that.
    pub(super) fn wait_for_quiet(&mut self) -> Result<()> {
        if !quiet::wait()? {
            self.samples.disturbed += 1;
        }
        Ok(())
    }

    /// `name` is for people.
    pub(super) fn add(&mut self, measure: Measure, name: &str, unit: Unit, value: f64) {
        eprintln!("{}  {name} {value:.3} {}", self.label, unit.label());
        self.samples.add(measure, self.system, unit, value);
    }
}
