//! What COMMAND finds inside: its interface, its processes, its trust store, and its exit status.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, Out};
use crate::e2e::row::{Row, row};

pub(crate) const ROWS: &[Row] = &[
    row("exit_status_passes_through", &[], "exit 7", &[Exit(7)]),
    row("output_passes_through", &[], "echo out; echo err >&2", &[Exit(0), Out("out\n"), Err(&["err"])]),
    row(
        "signal_passes_through",
        &[],
        "trap 'echo terminated; exit 9' TERM; sleep 30 & wait $!",
        &[Exit(9), Out("terminated")],
    )
    .wrapped(&["timeout", "--foreground", "--preserve-status", "-s", "TERM", "6"])
    .patient(),
    row(
        "one_interface_is_the_only_way_out",
        &[],
        "ip -o link | wc -l; ip -4 route show default | wc -l; ip -6 route show default | wc -l",
        &[Exit(0), Out("2\n1\n1\n")],
    )
    .judged(),
    row(
        "no_foreign_process_is_visible",
        &[],
        "test $(ls -d /proc/[0-9]* | wc -l) -le 5 && echo few",
        &[Exit(0), Out("few")],
    )
    .judged(),
    row("loopback_is_the_guest_s_own", &[], "curl -sS -m 5 http://127.0.0.1:7000/ 2>&1", &[Exit(7)]).judged(),
    row(
        "system_bundle_trusts_the_authority",
        &["--allow", "web.test"],
        "env -u SSL_CERT_FILE -u CURL_CA_BUNDLE curl -sS https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx")],
    )
    .judged(),
    row(
        "variables_name_the_bundle",
        &["--allow", "web.test"],
        "for name in SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO \
         AWS_CA_BUNDLE CARGO_HTTP_CAINFO PIP_CERT NIX_SSL_CERT_FILE DENO_CERT GRPC_DEFAULT_SSL_ROOTS_FILE_PATH \
         NET_ENGINE_CA_CERT; \
         do eval \"file=\\$$name\"; grep -q 'BEGIN CERTIFICATE' \"$file\" || echo \"$name: $file\"; done; \
         openssl pkcs12 -in $(expr \"$JAVA_TOOL_OPTIONS\" : '.*trustStore=\\([^ ]*\\)') -passin pass:changeit -nokeys \
         | grep -c 'subject=.*net-engine sandbox authority'; echo checked",
        &[Exit(0), NotOut(": "), Out("1\nchecked\n")],
    )
    .judged(),
    row(
        "host_alias_reaches_the_host_s_loopback",
        &["--allow", "host"],
        "python3 {dir}/guest.py banner host.internal 7000",
        &[Exit(0), Out("220 peer.test ready | hello | at once")],
    )
    .judged(),
    row(
        "host_port_leads_to_another_one_of_the_host_s_loopback",
        &["--allow", "host:5432", "--host-port", "5432:7000"],
        "for family in -4 -6; do python3 {dir}/guest.py banner \
         $(ip $family route show default | cut -d' ' -f3) 5432; done; \
         python3 {dir}/guest.py banner host.internal 7000",
        &[
            Fails,
            Out("220 peer.test ready | hello | at once\n220 peer.test ready | hello | at once\n"),
            Err(&[DENIED, "7000"]),
        ],
    )
    .judged(),
    row(
        "gateway_address_reaches_the_host_s_loopback",
        &["--allow", "host"],
        "python3 {dir}/guest.py banner $(ip -4 route show default | cut -d' ' -f3) 7000",
        &[Exit(0), Out("220 peer.test ready | hello | at once")],
    )
    .judged(),
    row(
        "host_is_not_public",
        &["--allow", "public", "--allow", "private"],
        "curl -sS -m 5 http://$(ip -4 route show default | cut -d' ' -f3):7000/",
        &[Fails, Err(&[DENIED, "7000"])],
    )
    .judged(),
];
