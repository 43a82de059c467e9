//! Which rules match all that another matches, and which may match something of it.

use ipnet::IpNet;
use net_core::{Direction, HostPattern, Protocol};

use crate::destination::judges_own_bits;
use crate::rule::has_ports;
use crate::{Action, Destination, Rule};

/// Whether a rule matches every flow that another matches, for as long as that one lives.
pub(crate) fn covers(rule: &Rule, other: &Rule) -> bool {
    let lives_as_long = match (rule.expires, other.expires) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(own), Some(other)) => other <= own,
    };
    let both_ways = [Direction::Egress, Direction::Ingress];
    lives_as_long
        && both_ways.iter().all(|way| rule.direction.covers(*way) || !other.direction.covers(*way))
        && Protocol::ALL.iter().all(|it| rule.covers_protocol(*it) || !other.covers_protocol(*it))
        && rule.ports.contains_all(&other.ports)
        && covers_requests(rule, other)
        && contains_place(rule, other)
}

fn covers_requests(rule: &Rule, other: &Rule) -> bool {
    match (&rule.http, &other.http) {
        (None, _) => true,
        (Some(_), None) => false,
        // Whether a flow may go on before its requests are known depends on the action.
        (Some(one), Some(two)) => rule.action == other.action && one.contains(two),
    }
}

fn contains_place(rule: &Rule, other: &Rule) -> bool {
    match (&rule.destination, &other.destination) {
        (Destination::Any, _) => true,
        (Destination::Group(one), Destination::Group(two)) => one == two,
        (Destination::Cidr(one), Destination::Cidr(two)) => {
            let own_bits = |rule: &Rule, prefix| judges_own_bits(prefix, rule.action);
            one.contains(two) && (own_bits(rule, one) || !own_bits(other, two) || two.addr().is_ipv4())
        }
        (Destination::Domain(one), Destination::Domain(two)) => {
            // A rule that allows a name does not match where the address is not pinned to it.
            let matches_as_often = rule.action == Action::Deny || other.action == Action::Allow;
            matches_as_often && contains_names(one, two)
        }
        (Destination::Group(_) | Destination::Cidr(_) | Destination::Domain(_), _) => false,
    }
}

/// Whether every name of `other` is one of `pattern`.
fn contains_names(pattern: &HostPattern, other: &HostPattern) -> bool {
    match (pattern, other) {
        (_, HostPattern::Exact(name)) => pattern.matches(name),
        (HostPattern::Exact(_), _) => false,
        (HostPattern::Subdomains(one), HostPattern::Subdomains(other))
        | (HostPattern::Suffix(one), HostPattern::Suffix(other) | HostPattern::Subdomains(other)) => {
            one == other || other.is_subdomain_of(one)
        }
        (HostPattern::Subdomains(one), HostPattern::Suffix(other)) => other.is_subdomain_of(one),
    }
}

/// Whether some flow may match both rules. It errs towards yes: their expiries, their conditions on requests,
/// the addresses of groups and those that names lead to are not looked at.
pub(crate) fn overlaps(rule: &Rule, other: &Rule) -> bool {
    let both_ways = [Direction::Egress, Direction::Ingress];
    let shared = |it: &&Protocol| rule.protocols.contains(**it) && other.protocols.contains(**it);
    both_ways.iter().any(|way| rule.direction.covers(*way) && other.direction.covers(*way))
        && Protocol::ALL
            .iter()
            .filter(shared)
            .any(|protocol| !has_ports(*protocol) || rule.ports.overlaps(&other.ports))
        && places_overlap(rule, other)
}

fn places_overlap(rule: &Rule, other: &Rule) -> bool {
    match (&rule.destination, &other.destination) {
        (Destination::Group(one), Destination::Group(two)) => one == two,
        (Destination::Domain(one), Destination::Domain(two)) => one.overlaps(two),
        (Destination::Cidr(one), Destination::Cidr(two)) => {
            // An address with an IPv4 one inside meets rules for both, those for IPv6 by its own bits.
            let meets_both =
                |rule: &Rule, prefix| matches!(prefix, &IpNet::V6(_)) && judges_own_bits(prefix, rule.action);
            if one.addr().is_ipv4() == two.addr().is_ipv4() {
                one.contains(two) || two.contains(one)
            } else {
                meets_both(rule, one) || meets_both(other, two)
            }
        }
        (Destination::Any | Destination::Group(_) | Destination::Cidr(_) | Destination::Domain(_), _) => true,
    }
}
