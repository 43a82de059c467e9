//! How streams begin and end: half-close, refusals as upstream gave them, who speaks first.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, NotOut, NotUpstream, Out, Rejected, Upstream};
use crate::e2e::row::{Row, row};

/// Replaces the rules once the guest is ready, and writes down when. The rules are in a directory of their own,
/// which the guest does not see.
const CHANGING_RULES: &[&str] = &[
    "sh",
    "-c",
    "f={dir}/started/{id}
     mkdir $f.d
     echo 'allow = [\"192.31.196.3\"]' > $f.d/rules.toml
     ( until [ -e $f.mark ]; do sleep 0.05; done
       echo 'allow = [\"192.31.196.3:7000\"]' > $f.d/new
       date +%s.%N > $f.mark.new
       mv $f.d/new $f.d/rules.toml
       mv $f.mark.new $f.mark.changed ) &
     exec \"$@\"",
    "sh",
];

/// Makes the rules wrong once the guest is ready.
const BREAKING_RULES: &[&str] = &[
    "sh",
    "-c",
    "f={dir}/started/{id}
     mkdir $f.d
     echo 'allow = [\"192.31.196.2\"]' > $f.d/rules.toml
     ( until [ -e $f.mark ]; do sleep 0.05; done
       echo 'alow = []' >> $f.d/rules.toml
       touch $f.changed ) &
     exec \"$@\"",
    "sh",
];

/// Rules that stay.
const RULES: &[&str] = &[
    "sh",
    "-c",
    "mkdir {dir}/started/{id}.d; echo 'deny = [\"any\"]' > {dir}/started/{id}.d/rules.toml; exec \"$@\"",
    "sh",
];

pub(crate) const ROWS: &[Row] = &[
    row(
        "guest_ends_its_half_first",
        &["--allow", "peer.test:7002"],
        "python3 {dir}/guest.py ends_first peer.test 7002 {id}",
        &[Exit(0), Out("bytes sha256")],
    ),
    row(
        "upstream_ends_its_half_first",
        &["--allow", "peer.test:7003"],
        "python3 {dir}/guest.py ends_last peer.test 7003 {id}",
        &[Exit(0), Out("bye then end"), Upstream(&["after-end {id}"])],
    ),
    row(
        "upstream_refuses",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 192.31.196.2 9 10",
        &[Exit(0), Out("ECONNREFUSED fast")],
    ),
    row(
        "upstream_refuses_v6",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 2001:4:112::2 9 10",
        &[Exit(0), Out("ECONNREFUSED fast")],
    ),
    row(
        "upstream_refuses_on_an_intercepted_port",
        &["--allow", "public", "--intercept", "443,9"],
        "python3 {dir}/guest.py dial 192.31.196.2 9 10",
        &[Exit(0), Out("ECONNREFUSED fast")],
    ),
    row(
        "upstream_is_unreachable",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 192.52.193.1 80 10",
        &[Exit(0), Out("EHOSTUNREACH fast")],
    ),
    row(
        "upstream_is_unreachable_v6",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 2001:3::1 80 10",
        &[Exit(0), Out("ENETUNREACH fast")],
    ),
    row(
        "upstream_is_silent",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 192.175.48.1 80 4; curl -sS -m 4 'http://[2620:4f:8000::1]/'",
        &[Exit(28), Out("no answer slow")],
    )
    .patient(),
    row(
        "rules_that_change_end_what_they_deny_and_nothing_else",
        &["--config", "{dir}/started/{id}.d/rules.toml", "--watch"],
        "python3 {dir}/guest.py carry_on 192.31.196.3 7000 7001 1000 {dir}/started/{id}.mark",
        &[
            Exit(0),
            Out("ended by reset while 1000 carry on"),
            Out("figure reload/1000"),
            Err(&["1 rules taken over", "1 connections ended"]),
            Err(&[DENIED, "192.31.196.3:7001"]),
        ],
    )
    .wrapped(CHANGING_RULES)
    .judged(),
    row(
        "rules_that_are_wrong_change_nothing",
        &["--config", "{dir}/started/{id}.d/rules.toml", "--watch"],
        "touch {dir}/started/{id}.mark; until [ -e {dir}/started/{id}.changed ]; do sleep 0.05; done; sleep 0.3; \
         curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Err(&["line 2", "alow", "the rules stay as they were"])],
    )
    .wrapped(BREAKING_RULES)
    .judged(),
    row(
        "nobody_writes_its_own_rules",
        &["--config", "{dir}/started/{id}.d/rules.toml", "--watch"],
        "cd {dir}/started/{id}.d; ls -A; echo 'allow = [\"any\"]' > rules.toml; mv ../{id}.d ../{id}.away; \
         mkdir -p ../{id}.d; echo 'allow = [\"any\"]' > ../{id}.d/rules.toml; sleep 0.5; \
         curl -sS -m 5 http://192.31.196.2/hello?{id}",
        &[Exit(7), NotOut("rules.toml"), Err(&[DENIED, "192.31.196.2"]), NotUpstream("{id}")],
    )
    .wrapped(RULES)
    .judged(),
    row(
        "rules_beside_the_command_are_not_watched",
        &["--config", "{dir}/ordered.toml", "--watch"],
        "true",
        &[Rejected(&["--watch", "directory of its own"])],
    )
    .wrapped(&["env", "--chdir={dir}"]),
    row(
        "server_first_by_address",
        &["--allow", "192.31.196.3"],
        "python3 {dir}/guest.py banner 192.31.196.3 7000",
        &[Exit(0), Out("220 peer.test ready | hello | at once")],
    ),
    row(
        "server_first_by_name",
        &["--allow", "peer.test"],
        "python3 {dir}/guest.py banner peer.test 7000",
        &[Exit(0), Out("220 peer.test ready | hello | at once")],
    ),
];
