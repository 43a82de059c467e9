//! Who signs what COMMAND is shown: an authority of one run, of a directory, and one's own.

use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, Out, Rejected};
use crate::e2e::row::{Only, Row, rejected, row};

/// Makes an authority, `{dir}/started/{id}.d/ca.pem` and `ca.key`, and the key of another.
const WITH_AUTHORITY: &[&str] = &[
    "sh",
    "-c",
    "umask 077; mkdir {dir}/started/{id}.d && cd {dir}/started/{id}.d && openssl req -x509 -newkey ec \
     -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=own-{id} -addext keyUsage=critical,keyCertSign \
     -keyout ca.key -out ca.pem 2>/dev/null && openssl genpkey -algorithm EC -pkeyopt \
     ec_paramgen_curve:P-256 -out other.key 2>/dev/null; install -m 644 ca.key open.key; exec \"$@\"",
    "sh",
];

const CERTIFICATE: &str = "{dir}/started/{id}.d/ca.pem";

pub(crate) const ROWS: &[Row] = &[
    row(
        "own_authority_signs_and_its_key_is_covered",
        &["--allow", "web.test", "--ca-cert", CERTIFICATE, "--ca-key", "{dir}/started/{id}.d/ca.key"],
        "curl -sS https://web.test/hello?{id}; cat {dir}/started/{id}.d/ca.key; echo | openssl s_client \
         -verify_return_error -connect web.test:443 -servername web.test 2>/dev/null | grep issuer",
        &[Exit(0), Out("hello from nginx"), Out("own-{id}"), NotOut("PRIVATE KEY")],
    )
    .wrapped(WITH_AUTHORITY)
    .judged()
    .only(Only::OncePerUser),
    row(
        "kept_authority_is_the_same_again_and_is_covered",
        &["--allow", "web.test", "--ca-dir", "{dir}/started/{id}.kept"],
        "curl -sS https://web.test/hello?{id}; ls -A {dir}/started/{id}.kept | wc -l; \
         touch {dir}/started/{id}.kept/new || echo closed",
        &[Exit(0), Out("hello from nginx\n0\nclosed"), Out("authority.pem: OK")],
    )
    .wrapped(&[
        "sh",
        "-c",
        "cd {dir}/started && \"$@\" > /dev/null 2>&1; sha256sum {id}.kept/authority.pem > {id}.sum; \
         \"$@\" && sha256sum -c {id}.sum",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    row(
        "authority_of_names_alone_signs_for_no_other",
        &["--allow", "web.case.test"],
        "kdig +tls +retry=0 +tls-host=dns.quad9.net +tls-ca=$SSL_CERT_FILE @9.9.9.9 web.case.test",
        &[Fails, Err(&["9.9.9.9:853", "NeedsNewAuthority", "not permitted to sign"])],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "tls_keys_of_both_sides_go_to_a_file_that_is_covered",
        &["--allow", "web.test", "--dangerous-tls-keylog", "{dir}/started/{id}.keys"],
        "curl -sS https://web.test/hello?{id}; test -s {dir}/started/{id}.keys || echo covered",
        &[
            Exit(0),
            Out("hello from nginx\ncovered\n600\n2 sessions"),
            Err(&["--dangerous-tls-keylog", "whoever reads this file"]),
        ],
    )
    .wrapped(&[
        "sh",
        "-c",
        "cd {dir}/started && \"$@\" && stat -c %a {id}.keys && echo $(grep ^CLIENT_TRAFFIC_SECRET_0 {id}.keys \
         | cut -d' ' -f2 | sort -u | wc -l) sessions",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    rejected("ca_cert_without_a_key", &["--ca-cert", "{dir}/ca.pem"], &[Rejected(&["--ca-key"])]),
    rejected(
        "ca_dir_and_ca_cert",
        &["--ca-dir", "{dir}/started", "--ca-cert", "{dir}/ca.pem", "--ca-key", "{dir}/ca.key"],
        &[Rejected(&["--ca-dir", "cannot be used with"])],
    ),
    rejected(
        "ca_key_of_another_certificate",
        &["--ca-cert", CERTIFICATE, "--ca-key", "{dir}/started/{id}.d/other.key"],
        &[Rejected(&["--ca-cert", "--ca-key", "does not belong"])],
    )
    .wrapped(WITH_AUTHORITY),
    rejected(
        "ca_key_that_others_read",
        &["--ca-cert", CERTIFICATE, "--ca-key", "{dir}/started/{id}.d/open.key"],
        &[Rejected(&["--ca-key", "open.key", "chmod 600"])],
    )
    .wrapped(WITH_AUTHORITY),
    rejected(
        "ca_cert_of_no_authority",
        &["--ca-cert", "{dir}/good.pem", "--ca-key", "{dir}/started/{id}.d/ca.key"],
        &[Rejected(&["--ca-cert", "good.pem", "CA:TRUE"])],
    )
    .wrapped(WITH_AUTHORITY),
    rejected(
        "ca_dir_of_something_else",
        &["--ca-dir", "{dir}/started/{id}.d"],
        &[Rejected(&["--ca-dir", "a directory of its own"])],
    )
    .wrapped(WITH_AUTHORITY),
    rejected(
        "ca_dir_in_a_file_with_ca_key",
        &["--config", "{dir}/two-authorities.toml"],
        &[Rejected(&["two-authorities.toml line 1: ca_dir", "ca_cert"])],
    ),
    rejected(
        "tls_keys_to_no_file",
        &["--dangerous-tls-keylog", "{dir}"],
        &[Rejected(&["--dangerous-tls-keylog"])],
    ),
];
