//! A list of steps: all of them run, then what failed is listed.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What a step that did not fail has to say in the last lines.
pub(crate) type Remarks = Vec<String>;

/// Steps in the order they run.
#[derive(Default)]
pub(crate) struct Steps<'a> {
    steps: Vec<Step<'a>>,
}

struct Step<'a> {
    name: &'static str,
    run: Box<dyn FnOnce() -> Result<Remarks> + 'a>,
}

impl<'a> Steps<'a> {
    /// Adds a step.
    pub(crate) fn add(&mut self, name: &'static str, run: impl FnOnce() -> Result<()> + 'a) {
        self.add_with_remarks(name, move || run().map(|()| Remarks::new()));
    }

    /// Adds a step that may have something to say even if it does not fail.
    pub(crate) fn add_with_remarks(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> Result<Remarks> + 'a,
    ) {
        self.steps.push(Step { name, run: Box::new(run) });
    }

    /// Runs every step, the ones after a failure too.
    ///
    /// # Errors
    /// When any step failed; they are named in the message.
    pub(crate) fn run(self) -> Result<()> {
        let (count, began) = (self.steps.len(), Instant::now());
        let mut remarks = Remarks::new();
        let mut failed = Vec::new();
        for (index, step) in self.steps.into_iter().enumerate() {
            let label = format!("[{:2}/{count}] {}", index + 1, step.name);
            eprintln!("{label} …");
            let step_began = Instant::now();
            let outcome = (step.run)();
            let took = elapsed(step_began.elapsed());
            match outcome {
                Ok(said) => {
                    eprintln!("{label}: ok, {took}");
                    remarks.extend(said);
                }
                Err(error) => {
                    eprintln!("{label}: FAILED, {took}");
                    failed.push(format!("{}: {error:#}", step.name));
                }
            }
        }
        eprintln!();
        for remark in &remarks {
            eprintln!("note: {remark}");
        }
        let total = elapsed(began.elapsed());
        if !failed.is_empty() {
            bail!("{} of {count} steps failed in {total}:\n  {}", failed.len(), failed.join("\n  "));
        }
        eprintln!("{count} steps passed in {total}");
        Ok(())
    }
}

/// A duration for people: `0.4 s`, `3 min 20 s`.
pub(crate) fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    format!("{} min {} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn steps_after_a_failure_still_run_and_every_failure_is_named() {
        let ran = Cell::new(0);
        let mut steps = Steps::default();
        steps.add("first", || bail!("broken pipe"));
        steps.add("second", || {
            ran.set(ran.get() + 1);
            Ok(())
        });
        steps.add("third", || bail!("no route"));
        let error = steps.run().expect_err("two steps failed").to_string();
        assert_eq!(ran.get(), 1);
        assert!(error.starts_with("2 of 3 steps failed"), "{error}");
        assert!(error.contains("first: broken pipe") && error.contains("third: no route"), "{error}");
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(elapsed(Duration::from_millis(440)), "0.4 s");
        assert_eq!(elapsed(Duration::from_secs(200)), "3 min 20 s");
    }
}
