//! Policies of any size: every second rule is for a name, the others are for prefixes, and no two are
//! for the same place.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part")]

use std::net::IpAddr;

use net_core::HostName;
use net_policy::{Action, Rule, parse_target};

/// The number of rules: a small policy, a large one, and one that nobody writes by hand.
pub const SIZES: [u32; 3] = [10, 1_000, 100_000];

/// More rules than this are beyond a set of regular expressions.
pub const MOST_FOR_REGEX: u32 = 1_000;

pub fn rules(count: u32) -> Vec<Rule> {
    (0..count).map(|index| parse_target(&target(index)).expect("a target").into_rule(Action::Allow)).collect()
}

/// What the rule at `index` is for: a name where it is even, exact, below an apex or both; a prefix of
/// one of three lengths where it is odd.
pub fn target(index: u32) -> String {
    if index.is_multiple_of(2) {
        return format!("{}{}", ["", "*.", "."][kind(index)], apex(index));
    }
    format!("{}/{}", network(index), [24, 28, 32][kind(index)])
}

/// A name that no rule but the one at `index` is for.
pub fn name(index: u32) -> HostName {
    let label = ["", "www.", "www."][kind(index)];
    HostName::parse(&format!("{label}{}", apex(index))).expect("a name")
}

/// An address that no rule but the one at `index` is for.
pub fn address(index: u32) -> IpAddr {
    network(index).parse().expect("an address")
}

/// A set of regular expressions that match the names of these rules.
pub fn expressions(count: u32) -> regex::RegexSet {
    let expression = |index: u32| {
        let label = ["", "(.*\\.)", "(.*\\.)?"][kind(index)];
        format!("^{label}{}$", regex::escape(&apex(index)))
    };
    let set = regex::RegexSetBuilder::new((0..count).step_by(2).map(expression)).size_limit(1 << 30).build();
    set.expect("regular expressions")
}

fn kind(index: u32) -> usize {
    (index / 2 % 3) as usize
}

/// Ten names share a domain.
fn apex(index: u32) -> String {
    format!("h{index}.domain{}.example.org", index / 20)
}

fn network(index: u32) -> String {
    let [.., high, low] = (index / 2).to_be_bytes();
    format!("{}.{high}.{low}.0", [16, 48, 80][kind(index)])
}
