//! Ports of the command that others connect to: from the namespace the engine runs in.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, NotOut, Out, Rejected};
use crate::e2e::row::{Only, Row, rejected, row};

/// Serves two requests on port 8080, over both families, and says from whom they came; then waits for
/// what the other side has heard.
const SERVE: &str = "python3 -c '
import http.server, socket
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, \"from\", self.client_address[0].removeprefix(\"::ffff:\"), flush=True)
        self.send_response(200); self.end_headers(); self.wfile.write(b\"served\\n\")
    def log_message(self, *args): pass
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6
server = Server((\"::\", 8080), Answer)
server.handle_request(); server.handle_request()
' && for i in $(seq 100); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; cat {dir}/started/{id}.heard";

/// Answers two datagrams at port 8080, over both families, and says from whom they came; then waits for what the
/// other side has heard.
const ANSWER: &str = "python3 -c '
import socket
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind((\"::\", 8080))
heard = set()
while len(heard) < 2:
    bytes, peer = server.recvfrom(70000)
    print(bytes[:4].decode(), len(bytes), \"from\", peer[0].removeprefix(\"::ffff:\"), flush=True)
    server.sendto(b\"answered \" + bytes[::-1], peer)
    heard.add(bytes[:4])
' && for i in $(seq 100); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; cat {dir}/started/{id}.heard";

/// Answers four datagrams at port 8080 once it has all, the last one first; then waits for what the other side has heard.
const ANSWER_TOGETHER: &str = "python3 -c '
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((\"\", 8080))
heard = {}
while len(heard) < 4:
    bytes, peer = server.recvfrom(100)
    heard.setdefault(bytes, peer)
for bytes, peer in reversed(heard.items()):
    server.sendto(bytes, peer)
' && for i in $(seq 100); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; cat {dir}/started/{id}.heard";

/// Runs the engine beside whoever connects, again and again until it is heard, or once the command has made `{id}.up`.
macro_rules! beside {
    ($connect:literal) => {
        &[
            "sh",
            "-c",
            concat!(
                "(umask 000; hear() { for i in $(seq 100); do \"$@\" && return; sleep 0.1; done; }; ",
                "started() { for i in $(seq 300); do test -e {dir}/started/{id}.up && return; sleep 0.1; done; }; ",
                $connect,
                "; touch {dir}/started/{id}.done) > {dir}/started/{id}.heard 2>&1 & exec \"$@\""
            ),
            "sh",
        ]
    };
}

pub(crate) const ROWS: &[Row] = &[
    row(
        "published_port_leads_to_the_command",
        &["--publish", "18080:8080", "--publish", "[::1]:18080:8080"],
        SERVE,
        &[Exit(0), Out("/v4 from 172.16.0.1"), Out("/v6 from fd6e:6574::1"), Out("served\nserved\n")],
    )
    .wrapped(beside!(
        "hear curl -sS -m 5 http://127.0.0.1:18080/v4; hear curl -sS -m 5 'http://[::1]:18080/v6'"
    )),
    row(
        "published_unix_socket_leads_to_the_command",
        &["--publish", "unix:{dir}/started/{id}.sock:8080"],
        SERVE,
        &[Exit(0), Out("/one from 172.16.0.1"), Out("/two from 172.16.0.1"), Out("served\nserved\n")],
    )
    .wrapped(beside!(
        "hear curl -sS -m 5 --unix-socket {dir}/started/{id}.sock http://x/one; \
         hear curl -sS -m 5 --unix-socket {dir}/started/{id}.sock http://x/two"
    )),
    row(
        "published_unix_socket_is_gone_at_the_end",
        &["--publish", "unix:{dir}/started/{id}.sock:8080"],
        "test -S {dir}/started/{id}.sock && echo was there",
        &[Exit(0), Out("was there"), NotOut("is left")],
    )
    .judged()
    .only(Only::OncePerUser)
    .wrapped(&["sh", "-c", "umask 000; \"$@\"; code=$?; test -e {dir}/started/{id}.sock && echo is left; exit $code", "sh"]),
    row(
        "published_port_is_decided_by_the_rules_for_ingress",
        &["--config", "{dir}/no-ingress.toml", "--publish", "18082:8080"],
        "touch {dir}/started/{id}.up; python3 -m http.server 8080 > /dev/null 2>&1 & for i in $(seq 100); do \
         test -e {dir}/started/{id}.done && break; sleep 0.1; done; cat {dir}/started/{id}.heard; kill $!",
        &[Out("curl: ("), NotOut("<title>"), Err(&[DENIED, "127.0.0.1", "to port 8080"])],
    )
    .judged()
    .wrapped(beside!("started; curl -sS -m 5 http://127.0.0.1:18082/")),
    row(
        "published_port_where_nobody_listens_is_reset",
        &["--publish", "18083:8080"],
        "touch {dir}/started/{id}.up; for i in $(seq 100); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; \
         cat {dir}/started/{id}.heard",
        &[Exit(0), Out("curl: ("), NotOut("timed out"), Err(&["port 8080", "refused"])],
    )
    .judged()
    .wrapped(beside!("started; curl -sS -m 5 http://127.0.0.1:18083/")),
    row(
        "published_port_of_the_system_s_choice_is_told",
        &["--publish", "0:8080"],
        "true",
        &[Exit(0), Err(&["port 8080 is published at 127.0.0.1:"])],
    )
    .judged(),
    row(
        "published_port_of_udp_leads_to_the_command_and_back",
        &["--publish", "18086:8080/udp", "--publish", "[::1]:18086:8080/udp"],
        ANSWER,
        &[
            Exit(0),
            Out("four 24 from 172.16.0.1"),
            Out("six. 9004 from fd6e:6574::1"),
            Out("answered aaaaa\nanswered aaaaa\n"),
        ],
    )
    .wrapped(beside!(
        "python3 {dir}/ask-datagram.py 127.0.0.1 18086 four 20; python3 {dir}/ask-datagram.py ::1 18086 six. 9000"
    )),
    row(
        "answers_leave_from_the_published_port_of_udp_that_was_asked",
        &["--publish", "18093:8080/udp", "--publish", "18094:8080/udp"],
        ANSWER_TOGETHER,
        &[
            Exit(0),
            Out("both at 18093 from 18093\nboth at 18094 from 18094\nfirst at 18093 from 18093\nsecond at 18094 from 18094\n"),
        ],
    )
    .wrapped(beside!("python3 {dir}/ask-two-ports.py 127.0.0.1 18093 18094")),
    // Where the command is root's it may become nobody else: servers are told not to try.
    row(
        "published_port_of_udp_serves_names",
        &["--publish", "18087:5300/udp"],
        "touch {dir}/started/{id}.up; dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --port=5300 --pid-file \
         --user= --group= --address=/published.test/192.0.2.7 & for i in $(seq 100); do test -e {dir}/started/{id}.done && break; \
         sleep 0.1; done; kill $!; cat {dir}/started/{id}.heard",
        &[Out("192.0.2.7")],
    )
    .only(Only::Once)
    .wrapped(beside!("started; dig +short +tries=5 +time=2 -p 18087 @127.0.0.1 published.test A")),
    row(
        "published_port_of_udp_serves_http3",
        &["--publish", "18092:8443/udp", "--publish", "[::1]:18092:8443/udp"],
        // The key of the other servers is not everybody's.
        "cd {dir} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a \
         -addext subjectAltName=DNS:web.test -keyout started/{id}.key -out started/{id}.pem 2> /dev/null && touch started/{id}.ready; \
         python3 http3-server.py started/{id}.asked started/{id}.pem started/{id}.key {dir}/aioquic ::/8443 > /dev/null & \
         for i in $(seq 600); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; kill $!; \
         cat {dir}/started/{id}.heard {dir}/started/{id}.asked; \
         part=$(head -c 8000000 {dir}/www/blob | sha256sum | cut -d' ' -f1); \
         echo whole: $(grep -c \"^200 8000000 bytes sha256 $part\" {dir}/started/{id}.heard)",
        &[
            Out("200 hello over http3 200017\n200 8000000 bytes sha256"),
            Out("http3 web.test /hello?v4\nhttp3 web.test /part\nhttp3 web.test /hello?v6\nhttp3 web.test /part\n"),
            Out("whole: 2"),
        ],
    )
    .over_quic()
    .only(Only::Once)
    .patient()
    .wrapped(beside!(
        "for i in $(seq 100); do test -e {dir}/started/{id}.ready && break; sleep 0.1; done; \
         get() { python3 {dir}/http3.py {dir}/aioquic {dir}/started/{id}.pem \"$@\"; }; \
         get 127.0.0.1/18092 /hello?v4 web.test v4; get 127.0.0.1/18092 /part web.test v4; \
         get ::1/18092 /hello?v6 web.test v6; get ::1/18092 /part web.test v6"
    )),
    row(
        "published_port_of_udp_is_decided_by_the_rules_for_ingress",
        &["--config", "{dir}/no-ingress.toml", "--publish", "18088:8080/udp"],
        "touch {dir}/started/{id}.up; for i in $(seq 100); do test -e {dir}/started/{id}.done && break; sleep 0.1; done",
        &[Exit(0), Err(&[DENIED, "127.0.0.1", "to port 8080"])],
    )
    .judged()
    .only(Only::OncePerUser)
    .wrapped(beside!("started; python3 {dir}/ask-datagram.py 127.0.0.1 18088 none 20")),
    row(
        "nginx_is_told_who_connects",
        &["--publish", "18091:8080/proxy-v1", "--publish", "[::1]:18091:8080/proxy-v2"],
        "d={dir}/started/{id}.nginx; mkdir -p $d; printf '%s' \
         \"daemon off; master_process off; user root; pid $d/pid; error_log $d/error.log; events {} http { access_log off; \
         client_body_temp_path $d/a; proxy_temp_path $d/b; fastcgi_temp_path $d/c; uwsgi_temp_path $d/d; \
         scgi_temp_path $d/e; server { listen 8080 proxy_protocol; listen [::]:8080 proxy_protocol; location / { \
         return 200 told:\\$proxy_protocol_addr:\\$proxy_protocol_server_port; } } }\" > $d/conf; \
         nginx -p $d -c $d/conf -e $d/error.log & for i in $(seq 100); do test -e {dir}/started/{id}.done && break; \
         sleep 0.1; done; kill $!; cat {dir}/started/{id}.heard",
        &[Out("told:127.0.0.1:18091"), Out("told:::1:18091")],
    )
    .judged()
    .only(Only::Once)
    .wrapped(beside!(
        "hear curl -sS -m 5 http://127.0.0.1:18091/; hear curl -sS -m 5 'http://[::1]:18091/'"
    )),
    row(
        "published_port_outlives_a_want_of_descriptors",
        &["--publish", "18090:8080"],
        "python3 -c '
import socketserver
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        if self.rfile.readline(): self.wfile.write(b\"served\")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads, request_queue_size = True, 200
Server((\"0.0.0.0\", 8080), Answer).serve_forever()
' 2> /dev/null & for i in $(seq 200); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; kill $!; \
         cat {dir}/started/{id}.heard",
        &[Out("before: served"), Out("after: served"), Err(&["port 8080", "could not accept a connection"])],
    )
    .judged()
    .only(Only::OncePerUser)
    .wrapped(&[
        "sh",
        "-c",
        "(umask 000; python3 {dir}/hold-connections.py 127.0.0.1 18090 100 > {dir}/started/{id}.heard 2>&1; \
         touch {dir}/started/{id}.done) & ulimit -n 64; exec \"$@\"",
        "sh",
    ]),
    rejected(
        "publish_a_port_of_udp_twice",
        &["--publish", "18089:80/udp", "--publish", "18089:81/udp"],
        &[Rejected(&["--publish \"18089:81/udp\"", "127.0.0.1:18089", "cannot be listened on", "in use"])],
    ),
    rejected(
        "publish_a_port_twice",
        &["--publish", "18084:80", "--publish", "18084:81"],
        &[Rejected(&["--publish \"18084:81\"", "127.0.0.1:18084", "cannot be listened on", "in use"])],
    ),
    rejected(
        "publish_no_port",
        &["--publish", "18085"],
        &[Rejected(&["--publish \"18085\"", "[ADDR:]PORT:COMMAND_PORT"])],
    ),
];
