//! Every server upstream, and what they saw.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::e2e::library::{AIOQUIC, CLIENTS, HTTPBIN};
use crate::e2e::need::{Need, Needs};
use crate::e2e::packages;
use crate::e2e::scratch::Scratch;
use crate::e2e::world::{DNS, DNSMASQ, GRPC, HTTP2, PEER, PRIVATE, WEB, WEBSOCKET, World};
use crate::process;
use crate::space::{Space, clean};

/// How long servers have to start listening.
const START: Duration = Duration::from_secs(20);

/// Where httpbin is, behind nginx.
const HTTPBIN_PORT: &str = "9080";

/// The running servers; they end when this is dropped.
pub(crate) struct Servers {
    running: Vec<(String, Child)>,
}

impl Servers {
    /// Starts every server and waits until each listens.
    pub(crate) fn start(world: &World, scratch: &Scratch, needs: &Needs) -> Result<Self> {
        for (name, text) in [
            ("dns.py", include_str!("upstream/dns.py")),
            ("streams.py", include_str!("upstream/streams.py")),
            ("recorder.py", include_str!("upstream/recorder.py")),
            ("datagrams.py", include_str!("upstream/datagrams.py")),
            ("http3-server.py", include_str!("upstream/http3.py")),
            ("http3.py", include_str!("guest/http3.py")),
            ("ask-datagram.py", include_str!("upstream/ask_datagram.py")),
            ("ask-two-ports.py", include_str!("upstream/ask_two_ports.py")),
            ("hold-connections.py", include_str!("upstream/hold_connections.py")),
            ("guest.py", include_str!("guest/guest.py")),
            ("attempt.py", include_str!("guest/attempt.py")),
            ("beside.py", include_str!("guest/beside.py")),
            ("core_dump.py", include_str!("guest/core_dump.py")),
            ("packages.py", include_str!("upstream/packages.py")),
            ("httpbin_server.py", include_str!("upstream/httpbin_server.py")),
            ("grpc_server.py", include_str!("upstream/grpc_server.py")),
            ("websocket_server.py", include_str!("upstream/websocket_server.py")),
            ("key_exchange.py", include_str!("upstream/key_exchange.py")),
            ("clients.py", include_str!("guest/clients.py")),
            ("with_secrets.py", include_str!("guest/with_secrets.py")),
            ("echoed.py", include_str!("guest/echoed.py")),
            ("fetch_token.mjs", include_str!("guest/fetch_token.mjs")),
            ("chromium.sh", include_str!("guest/chromium.sh")),
            ("fetch.mjs", include_str!("guest/fetch.mjs")),
            ("www/fallback.html", include_str!("guest/fallback.html")),
            ("early_hints.mjs", include_str!("guest/early_hints.mjs")),
            ("early_hints_server.mjs", include_str!("upstream/early_hints.mjs")),
            ("Fetch.java", include_str!("guest/Fetch.java")),
            ("dnsmasq.conf", include_str!("upstream/dnsmasq.conf")),
        ] {
            scratch.write(name, text.as_bytes())?;
        }
        packages::make(scratch, needs)?;
        let dir = scratch.dir();
        scratch.write("nginx.conf", nginx_conf(&dir, &packages::git_location(&dir, needs)?).as_bytes())?;
        let mut servers = Self { running: Vec::new() };
        let mut start = |space: &Space, name: &str, words: &[&str]| {
            // Entering a mount namespace may forget the directory a command was started in.
            let mut command = space.command("env");
            servers.start_one(command.args(["--chdir", &dir]).args(words), name, scratch)
        };
        let python = |script, rest: &[&'static str]| [&["python3", script, "upstream.log"], rest].concat();
        start(&world.upstream, "dns", &python("dns.py", &DNS))?;
        let listen = DNSMASQ.map(|address| format!("--listen-address={address}"));
        let log = format!("--log-facility={dir}/upstream.log");
        // It may not be able to become anybody else.
        let user = ["--user=root", "--group=root", "--pid-file"];
        let dnsmasq =
            ["dnsmasq", "--keep-in-foreground", "--conf-file=dnsmasq.conf", &listen[0], &listen[1], &log];
        start(&world.upstream, "dnsmasq", &[&dnsmasq[..], &user].concat())?;
        start(&world.upstream, "streams", &python("streams.py", &["www/blob"]))?;
        let everywhere = [WEB, PEER].concat();
        start(&world.upstream, "datagrams", &python("datagrams.py", &everywhere))?;
        start(&world.host, "host-datagrams", &python("datagrams.py", &["127.0.0.1", "::1"]))?;
        for (need, name, script, library, addresses) in [
            (Need::Quic, "http3", "http3-server.py", AIOQUIC, &WEB),
            (Need::Clients, "grpc", "grpc_server.py", CLIENTS, &GRPC),
            (Need::Clients, "key_exchange", "key_exchange.py", CLIENTS, &WEB),
            (Need::Clients, "websocket", "websocket_server.py", CLIENTS, &WEBSOCKET),
        ] {
            if needs.has(need) {
                let rest = [&["good.pem", "good.key", library.directory][..], addresses].concat();
                start(&world.upstream, name, &python(script, &rest))?;
            }
        }
        if needs.has(Need::Iperf) {
            // One for each family: a server of this kind serves one client after the other.
            for (name, address) in [("iperf3-v4", PEER[0]), ("iperf3-v6", PEER[1])] {
                start(&world.upstream, name, &["iperf3", "--server", "--bind", address])?;
            }
        }
        if needs.has(Need::Coturn) {
            // Two of each family, or it has nothing to discover behaviour by (RFC 5780, section 6).
            let listen = [WEB, PEER].concat();
            let listen: Vec<_> = listen.iter().flat_map(|address| ["-L", *address]).collect();
            let stun = ["turnserver", "-n", "--stun-only", "--no-auth", "--no-cli", "--no-tls", "--no-dtls"];
            let files = ["--no-tcp", "--log-file", "stdout", "--pidfile", "nginx/turnserver.pid"];
            start(&world.upstream, "coturn", &[&stun[..], &files, &listen].concat())?;
        }
        if needs.has(Need::Node) {
            let node = ["node", "early_hints_server.mjs", "upstream.log", "good.pem", "good.key"];
            start(&world.upstream, "early_hints", &[&node[..], &PEER].concat())?;
        }
        if needs.has(Need::Proxies) {
            for (name, port, known) in [("socks", "1080", ""), ("socks-known", "1081", "-u m1ck -P pa55w0rd")]
            {
                let serve = format!("exec microsocks -i :: -p {port} {known} 2>> upstream.log");
                start(&world.upstream, name, &["sh", "-c", &serve])?;
            }
            for (name, port, known) in
                [("tinyproxy", 3128, ""), ("tinyproxy-known", 3129, "BasicAuth m1ck pa55w0rd\n")]
            {
                let file = format!("{name}.conf");
                scratch.write(&file, tinyproxy_conf(&dir, port, known).as_bytes())?;
                start(&world.upstream, name, &["tinyproxy", "-d", "-c", &file])?;
            }
            for (space, name, address, port) in
                [(&world.upstream, "stunnel", WEB[0], 3130), (&world.host, "stunnel-host", "127.0.0.1", 3131)]
            {
                let file = format!("{name}.conf");
                scratch.write(&file, stunnel_conf(&dir, &format!("{address}:{port}")).as_bytes())?;
                start(space, name, &["stunnel4", &format!("{dir}/{file}")])?;
            }
        }
        if needs.has(Need::Squid) {
            let password = process::output(clean("openssl").args(["passwd", "-apr1", "pa55w0rd"]))?;
            scratch.write("squid-users", format!("m1ck:{password}").as_bytes())?;
            scratch.write("squid.conf", squid_conf(&dir).as_bytes())?;
            // It refuses to be root, and in this namespace there may be nobody else: within one more it is nobody.
            start(&world.upstream, "squid", &["unshare", "--user", "squid", "-N", "-f", "squid.conf"])?;
        }
        if needs.has(Need::Dante) {
            let password = process::output(clean("openssl").args(["passwd", "-6", "pa55w0rd"]))?;
            scratch.write("dante-passwd", b"root:x:0:0::/:/bin/sh\nm1ck:x:0:0::/:/bin/sh\n")?;
            scratch.write("dante-shadow", format!("m1ck:{}:1::::::\n", password.trim()).as_bytes())?;
            scratch.write("dante.conf", dante_conf(&dir).as_bytes())?;
            // It knows users of the system alone.
            let users = "mount --bind dante-passwd /etc/passwd && mount --bind dante-shadow /etc/shadow && \
                         exec danted -f dante.conf";
            start(&world.upstream, "dante", &["unshare", "--mount", "sh", "-c", users])?;
        }
        if needs.has(Need::Httpbin) {
            let words = ["python3", "httpbin_server.py", HTTPBIN.directory, HTTPBIN_PORT];
            start(&world.upstream, "httpbin", &words)?;
        }
        if needs.has(Need::Git) {
            let socket = format!("unix:{dir}/nginx/git.sock");
            start(&world.upstream, "fcgiwrap", &["fcgiwrap", "-s", &socket])?;
        }
        start(&world.host, "host", &["python3", "streams.py", "upstream.log", "www/blob"])?;
        let recorder = [&["good.pem", "good.key"][..], &PEER].concat();
        start(&world.upstream, "recorder", &python("recorder.py", &recorder))?;
        start(&world.upstream, "nginx", &["nginx", "-p", &dir, "-c", "nginx.conf"])?;
        for (port, version) in [("4433", "-tls1_2"), ("4434", "-tls1_3")] {
            let name = format!("s_server{version}");
            let listen = ["openssl", "s_server", "-accept", port, "-www", version];
            let (certificate, key) = (format!("{dir}/good.pem"), format!("{dir}/good.key"));
            let words = [&listen[..], &["-cert", &certificate, "-key", &key]].concat();
            start(&world.upstream, &name, &words)?;
        }
        servers.wait_until_listening(&world.upstream, &upstream_listeners(needs))?;
        if needs.has(Need::Httpbin) {
            let own = format!("127.0.0.1:{HTTPBIN_PORT}").parse()?;
            servers.wait_until_listening(&world.upstream, &[own])?;
        }
        let own = [7000, 7006].map(|port| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port));
        servers.wait_until_listening(&world.host, &own)?;
        Ok(servers)
    }

    fn start_one(&mut self, command: &mut Command, name: &str, scratch: &Scratch) -> Result<()> {
        let log = fs::File::create(scratch.path(&format!("{name}.out")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// Connects to each address from inside `space` until it answers.
    fn wait_until_listening(&mut self, space: &Space, addresses: &[SocketAddr]) -> Result<()> {
        let deadline = Instant::now() + START;
        for address in addresses {
            let probe = format!(": < /dev/tcp/{}/{}", address.ip(), address.port());
            let mut probe_now = space.command("bash");
            probe_now.args(["-c", &probe]).stderr(Stdio::null());
            while !probe_now.status()?.success() {
                for (name, child) in &mut self.running {
                    if let Some(status) = child.try_wait()? {
                        bail!("{name} ended while starting ({status}); `--keep` keeps its output");
                    }
                }
                if Instant::now() > deadline {
                    bail!("nothing listens on {address} after {} s", START.as_secs());
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What all servers wrote down.
pub(crate) fn seen(scratch: &Scratch) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(scratch.path("upstream.log"))?).into_owned())
}

fn upstream_listeners(needs: &Needs) -> Vec<SocketAddr> {
    let both = |addresses: [&str; 2], ports: &[u16]| -> Vec<SocketAddr> {
        let addresses = addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
        addresses.flat_map(|ip| ports.iter().map(move |port| SocketAddr::new(ip, *port))).collect()
    };
    let web = both(WEB, &[80, 443, 8443, 8444, 4433, 4434]);
    let peer = both(PEER, &[80, 443, 7000, 7001, 7002, 7003, 7004, 7005]);
    let datagrams = both(WEB, &[7006]).into_iter().chain(both(PEER, &[7006])).collect();
    let mut proxies = Vec::new();
    if needs.has(Need::Proxies) {
        proxies = both(WEB, &[1080, 1081, 3128, 3129]);
        proxies.extend(WEB[0].parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 3130)));
    }
    if needs.has(Need::Squid) {
        proxies.extend(both(WEB, &[3132]));
    }
    if needs.has(Need::Dante) {
        proxies.extend(both(WEB, &[1082]));
    }
    let http3 = if needs.has(Need::Quic) { both(WEB, &[7007]) } else { Vec::new() };
    let talk = if needs.has(Need::Clients) {
        [both(GRPC, &[443]), both(WEBSOCKET, &[443]), both(WEB, &[8445])].concat()
    } else {
        Vec::new()
    };
    let hints = if needs.has(Need::Node) { both(PEER, &[8443, 8444]) } else { Vec::new() };
    [
        datagrams,
        hints,
        http3,
        proxies,
        talk,
        both(HTTP2, &[443]),
        web,
        peer,
        both(DNS, &[53]),
        both(DNSMASQ, &[53]),
        both(PRIVATE, &[80]),
    ]
    .concat()
}

/// A proxy of HTTP, which notes what it is asked for.
fn tinyproxy_conf(dir: &str, port: u16, known: &str) -> String {
    format!(
        "Port {port}\nTimeout 60\nMaxClients 100\nLogLevel Connect\nLogFile \"{dir}/upstream.log\"\n{known}\
         ConnectPort 443\nConnectPort 80\nConnectPort 7000\nConnectPort 7005\n"
    )
}

/// A proxy of HTTP that wants to know who asks, and says whom it has let pass.
fn squid_conf(dir: &str) -> String {
    let listen: String = WEB
        .map(|address| {
            let ip = address
                .parse()
                .map_or_else(|_| address.to_owned(), |ip| SocketAddr::new(ip, 3132).to_string());
            format!("http_port {ip}\n")
        })
        .concat();
    format!(
        "{listen}pid_filename none\ncache deny all\ncache_store_log none\nnetdb_filename none\n\
         pinger_enable off\nshutdown_lifetime 0 seconds\nvisible_hostname squid.test\n\
         cache_log {dir}/nginx/squid.log\ncoredump_dir {dir}/nginx\n\
         logformat seen squid %>st %rm %ru %un %>Hs\naccess_log stdio:{dir}/upstream.log seen\n\
         auth_param basic program /usr/lib/squid/basic_ncsa_auth {dir}/squid-users\n\
         auth_param basic children 1\nauth_param basic realm tests\n\
         acl known proxy_auth REQUIRED\nhttp_access allow CONNECT known\nhttp_access deny all\n"
    )
}

/// A server of SOCKS that wants to know who asks, and says whom it has let pass.
fn dante_conf(dir: &str) -> String {
    let listen = WEB.map(|address| format!("internal: {address} port = 1082\n")).concat();
    format!(
        "logoutput: {dir}/upstream.log\n{listen}external: up0\nexternal: lo\nclientmethod: none\n\
         socksmethod: username\nuser.privileged: root\nuser.unprivileged: root\n\
         client pass {{\nfrom: 0/0 to: 0/0\n}}\n\
         socks pass {{\nfrom: 0/0 to: 0/0\ncommand: connect\nlog: connect\n}}\n"
    )
}

/// TLS before the proxy of HTTP.
fn stunnel_conf(dir: &str, accept: &str) -> String {
    format!(
        "foreground = yes\npid =\n[proxy]\naccept = {accept}\nconnect = {}:3128\ncert = {dir}/good.pem\n\
         key = {dir}/good.key\n",
        WEB[0]
    )
}

/// One process in the foreground; everything it writes stays below `dir`.
fn nginx_conf(dir: &str, git: &str) -> String {
    let listen = |[v4, v6]: [&str; 2], port: u16, options: &str| {
        format!("listen {v4}:{port}{options}; listen [{v6}]:{port}{options};")
    };
    let hello = r#"location /hello { default_type text/plain; return 200 "hello from nginx\n"; }"#;
    // Uploads, to where they are counted.
    let sink = format!(
        "location /sink/ {{ proxy_pass http://{}:80/; proxy_request_buffering off; proxy_http_version 1.1; }}",
        PEER[0]
    );
    // Each request on a connection of its own; and HTTP/3 on offer, which browsers try first from then on.
    let alone = r#"location /alone { keepalive_timeout 0; add_header Access-Control-Allow-Origin *;
        default_type text/plain; return 200 "alone\n"; }
        location /offered { keepalive_timeout 0; add_header Access-Control-Allow-Origin *;
        add_header Alt-Svc 'h3=":443"; ma=3600'; default_type text/plain; return 200 "offered\n"; }"#;
    // Package managers ask for paths of their own making; what stands before them says which row it is.
    let packages = format!("rewrite ^/row/[^/]+(/.*)$ $1; location /tiny.git {{ {git} }}");
    let tls = |name: &str, certificate: &str, listen: &str| {
        format!(
            "server {{ server_name {name}; {listen} {hello} {alone} {sink} {packages}
                ssl_certificate {dir}/{certificate}.pem; ssl_certificate_key {dir}/{certificate}.key; }}"
        )
    };
    let plain = [listen(WEB, 80, ""), listen(PRIVATE, 80, "")].concat();
    let web = [listen(WEB, 443, " ssl default_server"), listen(WEB, 8443, " ssl")].concat();
    let web_http2 =
        [listen(WEB, 8444, " ssl http2"), listen(HTTP2, 443, " ssl http2 default_server")].concat();
    let http2 = listen(HTTP2, 443, " ssl http2");
    let echo = format!(
        "server {{ server_name echo.test; {http2}
            location / {{ proxy_pass http://127.0.0.1:{HTTPBIN_PORT}; proxy_set_header Host $host;
                access_log {dir}/upstream.log seen; access_log {dir}/upstream.log sent; }}
            ssl_certificate {dir}/good.pem; ssl_certificate_key {dir}/good.key; }}"
    );
    let servers = [
        echo,
        format!("server {{ server_name _; {plain} {hello} }}"),
        tls("web.test", "good", &web),
        tls("expired.test", "expired", &listen(HTTP2, 443, " ssl http2")),
        tls("selfsigned.test", "selfsigned", &listen(WEB, 443, " ssl")),
        tls("web.test", "good", &web_http2),
    ]
    .join("\n");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {dir}/nginx/{kind};\n"))
        .collect();
    format!(
        "daemon off; master_process off; pid {dir}/nginx/pid; error_log {dir}/nginx/error.log;
        events {{ worker_connections 512; }}
        http {{
            log_format seen escape=json 'nginx $server_addr:$server_port \"$request\" '
                'host=\"$http_host\" authorization=\"$http_authorization\" token=\"$http_x_token\" $status';
            log_format sent escape=json 'nginx body of \"$request\": $request_body';
            access_log {dir}/upstream.log seen;
            {temporary}
            root {dir}/www; sendfile on; client_max_body_size 0;
            ssl_protocols TLSv1.2 TLSv1.3;
            {servers}
        }}"
    )
}
