//! What the engine refuses to start with: one line, exit status 2, COMMAND never runs.

use crate::e2e::row::Expect::Rejected;
use crate::e2e::row::{Only, Row, rejected};

pub(crate) const ROWS: &[Row] = &[
    rejected("no_such_config_file", &["--config", "{dir}/none.toml"], &[Rejected(&["none.toml"])]),
    rejected(
        "unknown_config_key",
        &["--config", "{dir}/unknown-key.toml"],
        &[Rejected(&["unknown-key.toml", "alow"])],
    ),
    rejected("malformed_config", &["--config", "{dir}/malformed.toml"], &[Rejected(&["malformed.toml"])]),
    rejected(
        "bad_pattern_in_a_file",
        &["--config", "{dir}/bad-pattern.toml"],
        &[Rejected(&["bad-pattern.toml line 2: deny", "we*b.test", "as in `*.example.com`"])],
    ),
    rejected(
        "port_0_in_a_file",
        &["--config", "{dir}/port-0.toml"],
        &[Rejected(&["intercept: 0 is no port"])],
    ),
    rejected(
        "virtual_ip_without_a_name",
        &["--config", "{dir}/virtual-group.toml"],
        &[Rejected(&["virtual-group.toml line 1: rules[0]", "virtual_ip", "a name"])],
    ),
    rejected("bad_cidr", &["--allow", "10.0.0.0/33"], &[Rejected(&["--allow", "10.0.0.0/33"])]),
    rejected("bad_pattern", &["--allow", "we*b.test"], &[Rejected(&["--allow", "we*b.test"])]),
    rejected("bad_deny_pattern", &["--deny", "a..b"], &[Rejected(&["--deny", "a..b"])]),
    rejected("bad_port", &["--allow", "web.test:66000"], &[Rejected(&["--allow", "66000"])]),
    rejected("bad_intercept_port", &["--intercept", "https"], &[Rejected(&["--intercept", "https"])]),
    rejected("bad_bypass_pattern", &["--bypass", "*"], &[Rejected(&["--bypass"])]),
    rejected("unknown_limit", &["--limit", "max_flows=1"], &[Rejected(&["--limit", "max_flows"])]),
    rejected(
        "limit_out_of_bounds",
        &["--limit", "max_header_bytes=1 KiB"],
        &[Rejected(&["--limit", "max_header_bytes", "1024 is not between 8192 and 16777216"])],
    ),
    rejected("bad_nameserver", &["--nameserver", "not an address"], &[Rejected(&["--nameserver"])]),
    rejected(
        "secret_without_a_host",
        &["--secret", "TOKEN=env:SECRET_SOURCE"],
        &[Rejected(&["--secret", "TOKEN"])],
    ),
    rejected(
        "secret_of_unknown_source",
        &["--secret", "TOKEN=vault:x@web.test"],
        &[Rejected(&["--secret", "TOKEN"])],
    ),
    rejected(
        "secret_variable_not_set",
        &["--secret", "TOKEN=env:NO_SUCH_VARIABLE@web.test"],
        &[Rejected(&["TOKEN", "NO_SUCH_VARIABLE"])],
    ),
    rejected(
        "secret_file_unreadable",
        &["--secret", "TOKEN=file:{dir}/none@web.test"],
        &[Rejected(&["TOKEN", "{dir}/none"])],
    ),
    rejected("secret_command_fails", &["--secret", "TOKEN=cmd:false@web.test"], &[Rejected(&["TOKEN"])]),
    rejected(
        "missing_ca_file",
        &["--upstream-ca", "{dir}/none.pem"],
        &[Rejected(&["--upstream-ca", "none.pem"])],
    ),
    rejected(
        "ca_file_without_a_certificate",
        &["--upstream-ca", "{dir}/allow-web.toml"],
        &[Rejected(&["--upstream-ca", "allow-web.toml"])],
    ),
    rejected("no_permission_for_the_interface", &["--link", "tap"], &[Rejected(&["/dev/net/tun"])])
        .only(Only::ClosedTun),
    // A user namespace whose own limits forbid another one: what a hardened kernel does to all.
    rejected("no_permission_for_namespaces", &["--link", "packet"], &[Rejected(&["namespace"])]).wrapped(&[
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        "for kind in user net mnt pid; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec \"$@\"",
        "sh",
    ]),
];
