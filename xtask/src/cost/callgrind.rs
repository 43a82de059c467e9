//! What callgrind has written of one thread.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};

/// The C library's functions that Rust's allocator calls for memory.
const ALLOCATORS: &[&str] = &["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// The counts of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) instructions: u64,
    /// Calls that asked for memory.
    pub(crate) allocations: u64,
}

impl Counts {
    /// Reads a profile in callgrind's format, version 1: `totals:`, and `calls=` after the `cfn=` that
    /// says who is called. A name is written out once, `(id) name`; from there on its id stands for it.
    ///
    /// # Errors
    /// When there is no total, or no call of an allocator, which every thread has.
    pub(crate) fn parse(profile: &str) -> Result<Self> {
        let mut names: HashMap<&str, &str> = HashMap::new();
        let mut called = "";
        let (mut instructions, mut allocations) = (None, 0);
        for line in profile.lines() {
            if let Some(name) = line.strip_prefix("cfn=") {
                called = resolve(&mut names, name)?;
            } else if let Some(name) = line.strip_prefix("fn=") {
                resolve(&mut names, name)?;
            } else if let Some(call) = line.strip_prefix("calls=") {
                if is_allocator(called) {
                    allocations += first_number(call).with_context(|| format!("no count in `{line}`"))?;
                }
            } else if let Some(totals) = line.strip_prefix("totals:") {
                instructions = first_number(totals);
            }
        }
        let instructions = instructions.context("the profile has no total")?;
        if allocations == 0 {
            bail!("the profile has no call of the allocator");
        }
        Ok(Self { instructions, allocations })
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// `(id) name` or `(id)`.
fn resolve<'p>(names: &mut HashMap<&'p str, &'p str>, text: &'p str) -> Result<&'p str> {
    let (id, name) = text.split_once(')').with_context(|| format!("no id in `{text}`"))?;
    let name = name.trim();
    if name.is_empty() {
        return names.get(id).copied().with_context(|| format!("nothing is called `{id})`"));
    }
    names.insert(id, name);
    Ok(name)
}

fn is_allocator(name: &str) -> bool {
    // A recursion's depth comes after an apostrophe.
    let name = name.split('\'').next().unwrap_or(name);
    ALLOCATORS.contains(&name.strip_prefix("__libc_").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
# callgrind format
version: 1
thread: 2
events: Ir
fn=(1) main
16 400
cfi=(2) libc.so
cfn=(7) malloc
calls=3 0
16 120
cfn=(8) free
calls=9 0
16 90
fn=(7)
0 120
fn=(9) grow
cfn=(10) realloc'2
calls=2 +3
5 60
cfn=(7)
calls=4 0
5 70
totals: 900 0
";

    #[test]
    fn calls_are_counted_by_whom_they_call() {
        assert_eq!(Counts::parse(PROFILE).unwrap(), Counts { instructions: 900, allocations: 9 });
    }

    #[test]
    fn a_profile_that_cannot_be_one_is_refused() {
        for (case, profile) in [
            ("no total", PROFILE.replace("totals:", "summary:")),
            ("nothing allocated", PROFILE.replace("malloc", "main").replace("realloc", "main")),
            ("unknown id", PROFILE.replace("cfn=(7)\n", "cfn=(99)\n")),
            ("no count", PROFILE.replace("calls=3", "calls=x")),
        ] {
            assert!(Counts::parse(&profile).is_err(), "{case}");
        }
    }
}
