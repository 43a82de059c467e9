//! `check`: a configuration file, without starting anything.

use std::process::ExitCode;

use anyhow::Result;
use net_policy::Action;

use super::args::{CheckArgs, PolicyArgs};
use super::config::Config;
use super::host_ports;
use super::plan::{self, Settings};
use super::secret_settings::SecretSettings;
use super::upstreams::UpstreamSettings;

/// Prints the rules in the order they are tried, and what their owner may not have meant.
pub(super) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let (config, _) = Config::read(args.file())?;
    let Settings { policy, upstreams, secrets, terminate_after, shaping, host_ports, .. } =
        Settings::new(&PolicyArgs::default(), &config)?;
    for (index, rule) in policy.rules().iter().enumerate() {
        let comment = rule.comment.as_ref();
        // On one line, whatever is in it.
        let comment = comment.map_or_else(String::new, |text| format!("  # {}", text.escape_debug()));
        println!("{:>3}  {rule}{comment}", index + 1);
    }
    let defaults = policy.defaults();
    if (defaults.egress, defaults.ingress) == (Action::Deny, Action::Deny) {
        println!("  -  deny everything else");
    } else {
        println!("  -  {} everything else, {} it ingress", defaults.egress, defaults.ingress);
    }
    if !shaping.is_unbounded() {
        println!("  -  in all at most {shaping}");
    }
    for line in host_ports::lines(&host_ports) {
        println!("{line}");
    }
    for secret in &secrets {
        println!("{secret}");
    }
    if let Some(count) = terminate_after {
        println!("violation {count} ends the command");
    }
    for warning in policy.warnings(plan::now().into()) {
        println!("warning: {warning}");
    }
    for warning in secrets.iter().flat_map(SecretSettings::warnings) {
        println!("warning: {warning}");
    }
    for warning in upstreams.iter().filter_map(UpstreamSettings::warning) {
        println!("warning: {warning}");
    }
    for warning in host_ports::warnings(&host_ports, policy.may_reach_host()) {
        println!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}
