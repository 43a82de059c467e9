//! Proxies on the way to upstream: what they are told, what goes by them, and what becomes of what they answer.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use net_engine::{DialError, Event, Proxy, ProxyError, ProxyUrl};
use net_policy::{Action, Policy, Rule, parse_target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::proxy_server::{Asked, PASSWORD, ProxyServer, USER, credentials};
use crate::server::{Identity, http_recorder, one_connection, say_ok};
use crate::wire::{read_responses, read_until, statuses};
use crate::world::{ALIAS, HOST_A, HOST_B, PATIENCE, Setup, World, run, trust};

const V6: Ipv6Addr = Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9);

/// Asks for `/` in plain HTTP or over TLS that is opened; the status.
async fn get(world: &World, host: (&str, Ipv4Addr), port: u16) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host.0);
    let response = if port == 443 {
        let mut stream = world.tls(host, host.0, "http/1.1").await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_responses(&mut stream, 1).await
    } else {
        let mut stream = world.connect(host, port).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_responses(&mut stream, 1).await
    };
    statuses(&response).first().map_or_else(String::new, ToString::to_string)
}

#[test]
fn a_proxy_is_told_the_name_where_the_verdict_is_the_name_s_alone() {
    run(async {
        // The scheme, what is denied and allowed, and what the proxy is told.
        const CASES: &[(&str, &[&str], &[&str], &str)] = &[
            ("socks5h", &[], &["a.example:80,443"], "a.example"),
            ("http", &[], &["*.example", "a.example"], "a.example"),
            ("http", &["b.example", "any:25"], &["a.example"], "a.example"),
            // Its scheme says that it is told none.
            ("socks5", &[], &["a.example:80,443"], "9.9.9.1"),
            // The address has a part in the verdict.
            ("socks5h", &["10.0.0.0/8"], &["a.example"], "9.9.9.1"),
            ("http", &["metadata:1-1000"], &["a.example"], "9.9.9.1"),
            // The verdict is the address's.
            ("http", &[], &["public"], "9.9.9.1"),
            ("socks5h", &[], &["9.9.9.1", "a.example"], "9.9.9.1"),
        ];
        for (scheme, deny, allow, told) in CASES {
            let identity = Identity::new();
            let (plain, seen_plain) = http_recorder().await;
            let (tls, seen_tls) = identity.recorder("a.example", say_ok).await;
            let leads = [(&*format!("{told}:80"), plain), (&*format!("{told}:443"), tls)];
            let (proxy, asked) = ProxyServer::new(&leads).start(scheme, None).await;
            let world = World::new(Setup {
                allow,
                deny,
                trusts: Some(identity.pem()),
                proxies: vec![proxy],
                ..Setup::default()
            });
            let world = world.await;
            for port in [80, 443] {
                assert_eq!(get(&world, HOST_A, port).await, "200", "{scheme} {deny:?} {allow:?}");
            }
            let expected = [80, 443].map(|port| format!("{told}:{port}"));
            assert_eq!(*asked.borrow(), expected, "{scheme} {deny:?} {allow:?}");
            assert_eq!((seen_plain.borrow().len(), seen_tls.borrow().len()), (1, 1));
        }
    });
}

#[test]
fn a_proxy_may_be_told_addresses_alone_and_those_of_ipv6() {
    run(async {
        for scheme in ["socks5h", "http"] {
            let (server, _) = http_recorder().await;
            let leads = [("9.9.9.1:80", server), (&*format!("[{V6}]:80"), server)];
            let (proxy, asked) = ProxyServer::new(&leads).start(scheme, None).await;
            let (allow, proxies) = (&["a.example", "2620:fe::9"][..], vec![proxy.by_address()]);
            let world = World::new(Setup { allow, proxies, ..Setup::default() }).await;
            assert_eq!(get(&world, HOST_A, 80).await, "200");
            let mut stream = world.guest.connect(SocketAddr::new(V6.into(), 80)).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: [2620:fe::9]\r\n\r\n").await.unwrap();
            assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
            assert_eq!(*asked.borrow(), ["9.9.9.1:80".to_owned(), format!("[{V6}]:80")], "{scheme}");
        }
    });
}

#[test]
fn of_names_that_share_an_address_the_one_that_is_shown_says_how_it_goes() {
    run(async {
        let identity = Identity::new();
        let (alias, _) = identity.recorder("alias.example", say_ok).await;
        let (proxy, asked) = ProxyServer::new(&[("alias.example:443", alias)]).start("http", None).await;
        let world = World::new(Setup {
            allow: &["*.example"],
            trusts: Some(identity.pem()),
            proxies: vec![proxy.for_hosts(vec![parse_target("alias.example").unwrap()])],
            ..Setup::default()
        });
        let world = world.await;
        // Both are pinned to the address before either is connected to.
        world.resolve(HOST_A.0).await;
        assert_eq!(get(&world, ALIAS, 443).await, "200");
        assert_eq!(*asked.borrow(), ["alias.example:443"]);
        // On a port that shows no name nobody goes past the proxy, which is told the address.
        let refused = world.guest.connect(SocketAddr::new(HOST_A.1.into(), 7)).await;
        assert!(refused.is_err());
        assert_eq!(asked.borrow()[1..], ["9.9.9.1:7"]);
    });
}

#[test]
fn what_is_excepted_led_elsewhere_or_for_the_host_goes_directly() {
    run(async {
        let (proxy, asked) = ProxyServer::new(&[]).start("http", None).await;
        let (server, _) = http_recorder().await;
        let world = World::new(Setup {
            allow: &["public", "host"],
            redirects: vec![((HOST_A.1, 80), server)],
            proxies: vec![proxy.except(vec![parse_target("b.example:80").unwrap()])],
            ..Setup::default()
        });
        let world = world.await;
        assert_eq!(get(&world, HOST_A, 80).await, "200");
        let gateway = world.handle.addresses().ipv4.unwrap().gateway;
        let mut stream = world.connect_to(gateway, server.port()).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: host.internal\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
        assert_eq!(*asked.borrow(), [""; 0]);
        // What is not among them does not.
        world.resolve(HOST_B.0).await;
        let _ = world.guest.connect(SocketAddr::new(HOST_B.1.into(), 81)).await;
        assert_eq!(*asked.borrow(), ["9.9.9.2:81"]);
    });
}

#[test]
fn a_rule_chooses_its_proxy_and_one_that_is_missing_lets_nothing_pass() {
    run(async {
        let (server, _) = http_recorder().await;
        let (first, asked_first) = ProxyServer::new(&[("9.9.9.1:80", server)]).start("socks5", None).await;
        let (second, asked_second) = ProxyServer::new(&[("9.9.9.1:80", server)]).start("http", None).await;
        let proxies = vec![first, second.named("second".to_owned()).for_hosts(Vec::new())];
        let world = World::new(Setup { allow: &["public"], proxies, ..Setup::default() }).await;
        assert_eq!(get(&world, HOST_A, 80).await, "200");
        let rule = |proxy: &str| -> Rule {
            let rule = parse_target("public").unwrap().into_rule(Action::Allow);
            rule.by_proxy(proxy.to_owned()).unwrap()
        };
        world.handle.swap_policy(Policy::new(vec![rule("second")])).await.unwrap();
        assert_eq!(get(&world, HOST_A, 80).await, "200");
        assert_eq!((asked_first.borrow().len(), asked_second.borrow().len()), (1, 1));
        world.handle.swap_policy(Policy::new(vec![rule("third")])).await.unwrap();
        assert!(world.guest.connect(SocketAddr::new(HOST_A.1.into(), 80)).await.is_err());
        // What the policies have found still standing was ended, and told before.
        let mut failed = world.event().await;
        while matches!(failed, Event::Denied { .. }) {
            failed = world.event().await;
        }
        let expected = DialError::Proxy(ProxyError::Unknown);
        assert!(matches!(failed, Event::DialFailed { error, .. } if error == expected), "{failed}");
        assert_eq!((asked_first.borrow().len(), asked_second.borrow().len()), (1, 1));
    });
}

#[test]
fn a_proxy_that_says_no_is_an_event_that_names_it_and_its_answer() {
    run(async {
        use ProxyError::{CredentialsRefused, CredentialsWanted, Http, Malformed, Socks};
        type Case = (&'static str, &'static [u8], Option<&'static str>, ProxyError, &'static str);
        const CASES: &[Case] = &[
            ("socks5", b"\x05\x05\0\x01\0\0\0\0\0\0", Some(PASSWORD), Socks(5), "connection refused"),
            ("socks5h", b"\x05\x02\0\x01\0\0\0\0\0\0", Some(PASSWORD), Socks(2), "do not allow"),
            ("socks5", b"", Some("wrong-w0rd"), CredentialsRefused, "check username and password"),
            ("socks5", b"", None, CredentialsWanted, "set username and password"),
            ("http", b"", Some("wrong-w0rd"), CredentialsRefused, "check username and password"),
            ("http", b"", None, CredentialsWanted, "set username and password"),
            ("http", b"HTTP/1.1 503 No\r\n\r\n", Some(PASSWORD), Http(503), "503: service unavailable"),
            ("http", b"SSH-2.0-x\r\n", Some(PASSWORD), Malformed, "check the scheme"),
        ];
        for (scheme, answer, password, expected, text) in CASES {
            let server = ProxyServer { answer, wants_password: true, ..ProxyServer::new(&[]) };
            let (mut proxy, _) = server.start(scheme, None).await;
            if let Some(password) = password {
                proxy = proxy.with_credentials(credentials(password));
            }
            let proxies = vec![proxy.named("corp".to_owned())];
            let world = World::new(Setup { allow: &["public"], proxies, ..Setup::default() }).await;
            let guest = world.guest.clone();
            let connecting = tokio::task::spawn_local(async move {
                guest.connect(SocketAddr::new(HOST_A.1.into(), 7)).await.map(drop)
            });
            let failed = world.event().await;
            let shown = failed.to_string();
            assert!(matches!(failed, Event::ProxyFailed { error, .. } if error == *expected), "{shown}");
            assert!(shown.contains(text) && shown.contains("9.9.9.1:7"), "{shown}");
            assert!(shown.contains(&format!("corp ({scheme}://proxy.example:")), "{shown}");
            assert!(!shown.contains("w0rd") && !shown.contains(USER), "{shown}");
            if *expected == Socks(5) {
                // As if upstream itself had said so.
                let refused = timeout(PATIENCE, connecting).await.expect("an answer").unwrap();
                assert_eq!(refused.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionRefused));
            }
        }
        assert_eq!(
            Err(net_engine::ProxyUrlError::Credentials),
            "http://me:x@proxy.example:1".parse::<ProxyUrl>()
        );
    });
}

#[test]
fn whoever_is_known_is_let_through_and_who_speaks_first_is_heard() {
    run(async {
        for scheme in ["socks5", "http"] {
            let (upstream, accepted) = one_connection().await;
            let leads = [("9.9.9.1:7", upstream)];
            let server =
                ProxyServer { wants_password: true, early: b"220 ready\r\n", ..ProxyServer::new(&leads) };
            let (proxy, _) = server.start(scheme, None).await;
            let proxies = vec![proxy.with_credentials(credentials(PASSWORD))];
            let world = World::new(Setup { allow: &["public"], proxies, ..Setup::default() }).await;
            let mut stream = world.connect_to(HOST_A.1, 7).await;
            read_until(&mut stream, "220 ready\r\n").await;
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut upstream = timeout(PATIENCE, accepted).await.expect("a connection");
            let mut heard = Vec::new();
            timeout(PATIENCE, upstream.read_to_end(&mut heard)).await.expect("an end").unwrap();
            assert_eq!(heard, b"hello");
            upstream.write_all(b"bye").await.unwrap();
            drop(upstream);
            let mut rest = Vec::new();
            timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end").unwrap();
            assert_eq!(rest, b"bye", "{scheme}");
        }
    });
}

#[test]
fn a_proxy_behind_tls_is_verified_and_tls_inside_of_it_is_opened() {
    run(async {
        let (identity, corp) = (Identity::new(), Identity::new());
        let (tls, seen) = identity.recorder("a.example", say_ok).await;
        let (plain, _) = http_recorder().await;
        let (banner, accepted) = one_connection().await;
        let leads = [("a.example:443", tls), ("a.example:80", plain), ("a.example:7", banner)];
        let (proxy, asked) = ProxyServer::new(&leads).start("https", Some(&corp)).await;
        let setup = |proxy: Proxy| Setup {
            allow: &["a.example"],
            trusts: Some(identity.pem()),
            proxies: vec![proxy],
            ..Setup::default()
        };
        let trusted = proxy.clone().trusting(&trust(Some(&corp.pem())));
        let world = World::new(setup(trusted)).await;
        for port in [443, 80] {
            assert_eq!(get(&world, HOST_A, port).await, "200", "{port}");
        }
        assert_eq!(seen.borrow().len(), 1);
        // Who speaks first is heard, and much goes both ways.
        let mut stream = world.connect_to(HOST_A.1, 7).await;
        let mut upstream = timeout(PATIENCE, accepted).await.expect("a connection");
        upstream.write_all(b"220 ready\r\n").await.unwrap();
        read_until(&mut stream, "220 ready\r\n").await;
        let much = vec![7; 3 << 20];
        let (sent, received) = (much.clone(), much.len());
        tokio::task::spawn_local(async move {
            let mut heard = vec![0; received];
            upstream.read_exact(&mut heard).await.unwrap();
            upstream.write_all(&heard).await.unwrap();
            upstream.shutdown().await.unwrap();
        });
        let (mut read, mut write) = tokio::io::split(stream);
        let writing = tokio::task::spawn_local(async move { write.write_all(&sent).await });
        let mut back = vec![0; much.len()];
        timeout(PATIENCE, read.read_exact(&mut back)).await.expect("all of it").unwrap();
        assert!(back == much);
        writing.await.unwrap().unwrap();
        assert_eq!(*asked.borrow(), ["a.example:443", "a.example:80", "a.example:7"]);
        // One that nobody vouches for is told nothing.
        let world = World::new(setup(proxy.with_credentials(credentials(PASSWORD)))).await;
        world.resolve(HOST_A.0).await;
        let guest = world.guest.clone();
        tokio::task::spawn_local(async move {
            guest.connect(SocketAddr::new(HOST_A.1.into(), 7)).await.map(drop)
        });
        let failed = world.event().await;
        assert!(matches!(failed, Event::ProxyFailed { error: ProxyError::Tls(_), .. }), "{failed}");
        assert_eq!(asked.borrow().len(), 3);
    });
}

#[test]
fn what_a_proxy_does_not_carry_does_not_go_past_it_unless_it_may() {
    run(async {
        for lets_pass in [false, true] {
            let (mut proxy, _) = ProxyServer::new(&[]).start("socks5h", None).await;
            if lets_pass {
                proxy = proxy.letting_others_pass();
            }
            let world =
                World::new(Setup { allow: &["public"], proxies: vec![proxy], ..Setup::default() }).await;
            let guest = world.guest.datagrams();
            guest.send(SocketAddr::new(HOST_A.1.into(), 7), b"hello");
            if lets_pass {
                let mapped = async {
                    while world.handle.counters().await.unwrap().udp.mappings == 0 {
                        tokio::task::yield_now().await;
                    }
                };
                timeout(PATIENCE, mapped).await.expect("a mapping");
                continue;
            }
            assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 3));
            let denied = world.event().await.to_string();
            assert!(denied.contains("denied udp 9.9.9.1:7") && denied.contains("past its proxy"), "{denied}");
            assert_eq!(world.handle.counters().await.unwrap().udp.mappings, 0);
        }
    });
}

#[test]
fn a_name_is_as_denied_behind_a_proxy_as_without_one() {
    run(async {
        let identity = Identity::new();
        let (tls, seen) = identity.recorder("a.example", say_ok).await;
        let (proxy, asked) = ProxyServer::new(&[("a.example:443", tls)]).start("http", None).await;
        let world = World::new(Setup {
            allow: &["a.example"],
            trusts: Some(identity.pem()),
            proxies: vec![proxy],
            ..Setup::default()
        });
        let world = world.await;
        world.resolve(HOST_A.0).await;
        // Another name on the stream: the proxy has perhaps connected, and nothing was said.
        assert!(world.tls_to(HOST_A.1, 443, "b.example", "http/1.1").await.is_err());
        assert!(seen.borrow().is_empty());
        // Another address: not even that.
        let before = asked.borrow().len();
        let refused = world.guest.connect(SocketAddr::new(HOST_B.1.into(), 443)).await;
        assert!(refused.is_err());
        assert_eq!(asked.borrow().len(), before);
        // One whose certificate proves another name is shown to the guest as what it is.
        let (other, seen) = identity.recorder("b.example", say_ok).await;
        let (proxy, _) = ProxyServer::new(&[("a.example:443", other)]).start("socks5h", None).await;
        let world = World::new(Setup {
            allow: &["a.example"],
            trusts: Some(identity.pem()),
            proxies: vec![proxy],
            ..Setup::default()
        });
        let world = world.await;
        let refused =
            world.tls(HOST_A, HOST_A.0, "http/1.1").await.map(drop).expect_err("a certificate of another");
        assert!(refused.to_string().contains("not valid for name"), "{refused}");
        assert!(seen.borrow().is_empty());
    });
}

/// A proxy for the alias alone, then one for everybody else; what each is asked for.
async fn two_proxies(
    scheme: &'static str,
    for_alias: &[(&str, SocketAddr)],
    for_others: &[(&str, SocketAddr)],
) -> (Vec<Proxy>, Asked, Asked) {
    let (second, asked_second) = ProxyServer::new(for_alias).start(scheme, None).await;
    let (first, asked_first) = ProxyServer::new(for_others).start(scheme, None).await;
    let proxies = vec![second.for_hosts(vec![parse_target(ALIAS.0).unwrap()]), first];
    (proxies, asked_second, asked_first)
}

fn request_for(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn requests_of_one_connection_each_go_by_the_way_of_their_host() {
    run(async {
        // Whether the alias is known before the connection is made, and whether it has a proxy of its own.
        for (is_known, has_own) in [(true, false), (false, false), (true, true), (false, true)] {
            let ((server, seen), (alias, seen_alias)) = (http_recorder().await, http_recorder().await);
            let (to_a, to_alias) = (("a.example:80", server), ("alias.example:80", alias));
            let proxies = if has_own {
                two_proxies("http", &[to_alias], &[to_a]).await.0
            } else {
                vec![ProxyServer::new(&[to_a, to_alias]).start("http", None).await.0]
            };
            let allow = &["a.example", "alias.example"];
            let world = World::new(Setup { allow, proxies, ..Setup::default() }).await;
            if is_known {
                world.resolve(ALIAS.0).await;
            }
            let mut stream = world.connect(HOST_A, 80).await;
            world.resolve(ALIAS.0).await;
            for host in [HOST_A.0, ALIAS.0, ALIAS.0, HOST_A.0] {
                stream.write_all(request_for(host).as_bytes()).await.unwrap();
                let response = read_responses(&mut stream, 1).await;
                assert_eq!(statuses(&response), ["200"], "{host} {is_known} {has_own}");
            }
            for (seen, host) in [(seen, HOST_A.0), (seen_alias, ALIAS.0)] {
                let seen = seen.borrow();
                let own = format!("Host: {host}\r\n");
                assert!(seen.iter().all(|message| message.contains(&own)), "{is_known} {has_own}: {seen:?}");
                assert_eq!(seen.len(), 2, "{is_known} {has_own}");
            }
        }
    });
}

#[test]
fn over_http2_a_request_for_a_host_of_another_way_is_misdirected() {
    run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert_eq!(request.uri().host(), Some(HOST_A.0));
                respond.send_response(::http::Response::new(()), true).unwrap();
            }
        });
        let (proxy, asked) = ProxyServer::new(&[("a.example:80", server)]).start("http", None).await;
        let allow = &["a.example", "alias.example"];
        let world = World::new(Setup { allow, proxies: vec![proxy], ..Setup::default() }).await;
        let stream = world.connect(HOST_A, 80).await;
        world.resolve(ALIAS.0).await;
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        for (host, expected) in [(HOST_A.0, 200), (ALIAS.0, 421), (HOST_A.0, 200)] {
            let request = ::http::Request::get(format!("http://{host}/")).body(()).unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            let response = timeout(PATIENCE, response).await.expect("a response").unwrap();
            assert_eq!(response.status().as_u16(), expected, "{host}");
        }
        assert_eq!(*asked.borrow(), ["a.example:80"]);
    });
}

#[test]
fn a_name_that_leads_another_way_has_what_was_dialled_before_it_left() {
    run(async {
        let identity = Identity::new();
        let (tls, seen_tls) = identity.recorder("a.example", say_ok).await;
        let (alias_tls, seen_alias_tls) = identity.recorder("alias.example", say_ok).await;
        let ((plain, seen), (alias, seen_alias)) = (http_recorder().await, http_recorder().await);
        // By a name, which proxies are told, and by the address.
        for (allow, told, told_alias) in [
            (&["a.example", "alias.example"][..], "a.example", "alias.example"),
            (&["public"][..], "9.9.9.1", "9.9.9.1"),
        ] {
            let at = |host: &str, port| format!("{host}:{port}");
            let (to_80, to_443) = (at(told, 80), at(told, 443));
            let (alias_80, alias_443) = (at(told_alias, 80), at(told_alias, 443));
            let for_alias = [(&*alias_80, alias), (&*alias_443, alias_tls)];
            let for_others = [(&*to_80, plain), (&*to_443, tls)];
            let (proxies, asked_alias, asked) = two_proxies("socks5h", &for_alias, &for_others).await;
            let trusts = Some(identity.pem());
            let world = World::new(Setup { allow, trusts, proxies, ..Setup::default() }).await;
            let mut stream = world.connect(HOST_A, 80).await;
            let other = world.connect(HOST_A, 80).await;
            let tls_stream = world.connect(HOST_A, 443).await;
            assert_eq!(*asked.borrow(), [&*to_80, &*to_80, &*to_443]);
            world.resolve(ALIAS.0).await;
            stream.write_all(request_for(ALIAS.0).as_bytes()).await.unwrap();
            assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"], "{allow:?}");
            let shown = ALIAS.0.try_into().unwrap();
            let connector = tokio_rustls::TlsConnector::from(world.client(&["http/1.1"]));
            let mut tls_stream = connector.connect(shown, tls_stream).await.unwrap();
            tls_stream.write_all(request_for(ALIAS.0).as_bytes()).await.unwrap();
            assert_eq!(statuses(&read_responses(&mut tls_stream, 1).await), ["200"], "{allow:?}");
            assert_eq!(*asked_alias.borrow(), [&*alias_80, &*alias_443], "{allow:?}");
            assert_eq!((seen.borrow().len(), seen_tls.borrow().len()), (0, 0), "{allow:?}");
            drop(other);
        }
        assert_eq!((seen_alias.borrow().len(), seen_alias_tls.borrow().len()), (2, 2));
    });
}

#[test]
fn of_many_names_of_an_address_the_one_that_goes_by_a_proxy_is_found() {
    run(async {
        let (proxy, asked) = ProxyServer::new(&[]).start("http", None).await;
        let proxies = vec![proxy.for_hosts(vec![parse_target(ALIAS.0).unwrap()])];
        let more_names: Vec<String> = (0..200).map(|n| format!("n{n}.example")).collect();
        let allow = &["*.example"];
        let names = more_names.clone();
        let world = World::new(Setup { allow, proxies, more_names, ..Setup::default() }).await;
        world.resolve(ALIAS.0).await;
        for name in &names {
            world.resolve(name).await;
        }
        let proxied = world.guest.connect(SocketAddr::new(HOST_A.1.into(), 7)).await;
        assert!(proxied.is_err());
        assert_eq!(*asked.borrow(), ["9.9.9.1:7"]);
    });
}

#[test]
fn a_new_policy_ends_what_it_has_go_another_way() {
    run(async {
        let (server, _) = http_recorder().await;
        let leads = [("9.9.9.1:80", server), ("9.9.9.1:7", server)];
        let (first, asked_first) = ProxyServer::new(&leads).start("socks5", None).await;
        let (second, asked_second) = ProxyServer::new(&leads).start("http", None).await;
        let proxies = vec![first, second.named("second".to_owned()).for_hosts(Vec::new())];
        let world = World::new(Setup { allow: &["public"], proxies, ..Setup::default() }).await;
        let mut streams = [world.connect(HOST_A, 80).await, world.connect(HOST_A, 7).await];
        for stream in &mut streams {
            stream.write_all(request_for(HOST_A.0).as_bytes()).await.unwrap();
            assert_eq!(statuses(&read_responses(stream, 1).await), ["200"]);
        }
        let rule = |rule: Rule| Policy::new(vec![rule]);
        let public = || parse_target("public").unwrap().into_rule(Action::Allow);
        // The same again changes nothing.
        assert_eq!(world.handle.swap_policy(rule(public())).await.unwrap(), 0);
        let by_second = public().by_proxy("second".to_owned()).unwrap();
        assert_eq!(world.handle.swap_policy(rule(by_second)).await.unwrap(), 2);
        for stream in &mut streams {
            let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("an end");
            assert!(matches!(read, Ok(0) | Err(_)));
            let denied = world.event().await.to_string();
            assert!(denied.contains("another proxy"), "{denied}");
        }
        assert_eq!(get(&world, HOST_A, 80).await, "200");
        assert_eq!((asked_first.borrow().len(), asked_second.borrow().len()), (2, 1));
    });
}
