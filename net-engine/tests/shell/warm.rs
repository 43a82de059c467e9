//! TLS that is opened, to a name whose upstream was met before: what is remembered of it, and what must not
//! rest on that.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use net_engine::{Event, InterceptError};
use net_tls::{
    Alpn, Authority, AuthorityParams, FaultMirror, LeafCache, LeafSubject, UpstreamFault, guest_config,
    system_clock,
};
use rustls::{AlertDescription, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;

use crate::guest::Stream;
use crate::server::asked;
use crate::wire::{read_responses, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, World, run};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Longer than anything on one machine takes that does not wait for something.
const A_WHILE: Duration = Duration::from_millis(500);

/// A server whose every connection is played by the test.
struct Upstream {
    listener: TcpListener,
    leaves: LeafCache,
}

impl Upstream {
    async fn new() -> Self {
        let authority = Authority::generate(&AuthorityParams::named("the internet"), SystemTime::now());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self { listener, leaves: LeafCache::new(authority.unwrap(), 8) }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("a connection").unwrap().0
    }

    /// Who it is when all is well; it takes sessions up again.
    fn acceptor(&self, alpn: Alpn) -> TlsAcceptor {
        let subject = LeafSubject::Name("a.example".parse().unwrap());
        self.leaves.get_or_mint_config(&subject, alpn, &system_clock(), SystemTime::now()).unwrap().into()
    }

    /// Who it is when its certificate has this fault.
    fn faulty(&self, fault: UpstreamFault) -> TlsAcceptor {
        let subject = LeafSubject::Name("a.example".parse().unwrap());
        let mirror = FaultMirror::generate(SystemTime::now()).unwrap();
        let leaf = mirror.leaf(self.leaves.authority(), &subject, fault, SystemTime::now()).unwrap();
        guest_config(leaf, Alpn::Http1.protocols(), system_clock()).into()
    }

    /// Answers one request over TLS; how the handshake went.
    async fn answer(&self, acceptor: TlsAcceptor) -> HandshakeKind {
        let stream = acceptor.accept(self.accept().await);
        let (mut server, _) = asked(async { stream.await.unwrap() }).await;
        server.write_all(RESPONSE).await.unwrap();
        let kind = server.get_ref().1.handshake_kind().unwrap();
        // The guest has the last word.
        let _ = timeout(PATIENCE, server.read(&mut [0; 64])).await.expect("an end");
        kind
    }

    async fn world(&self, name: &'static str) -> World {
        let world = World::new(Setup {
            allow: &["a.example:443"],
            redirects: vec![((HOST_A.1, 443), self.address())],
            trusts: Some(self.leaves.authority().certificate_pem().to_owned()),
            ..Setup::default()
        });
        let world = world.await;
        world.resolve(name).await;
        world
    }
}

async fn ask(mut stream: TlsStream<Stream>) -> HandshakeKind {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let response = read_responses(&mut stream, 1).await;
    assert_eq!(statuses(&response), ["200"], "{response}");
    stream.get_ref().1.handshake_kind().unwrap()
}

#[test]
fn the_second_handshake_with_the_guest_does_not_wait_for_upstream() {
    run(async {
        let upstream = Upstream::new().await;
        let world = upstream.world("a.example").await;
        let client = world.client(&["http/1.1"]);
        let connect = || world.tls_as(&client, HOST_A.1, 443, "a.example");

        // The first waits for upstream's choice.
        {
            let mut connecting = std::pin::pin!(connect());
            let held = async { (upstream.accept().await, tokio::time::sleep(A_WHILE).await).0 };
            let held = tokio::select! {
                held = held => held,
                _ = &mut connecting => panic!("the guest was answered before upstream had spoken"),
            };
            let served = async {
                let tls = upstream.acceptor(Alpn::Http1).accept(held);
                let (mut server, _) = asked(async { tls.await.unwrap() }).await;
                server.write_all(RESPONSE).await.unwrap();
                let _ = server.read(&mut [0; 64]).await;
            };
            let asked = async { ask(connecting.await.unwrap()).await };
            tokio::join!(served, asked);
        }

        // The second is over while upstream has said nothing yet, and what the guest sends waits.
        let (mut stream, mut held) = tokio::join!(async { connect().await.unwrap() }, upstream.accept());
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(b"GET /warm HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(A_WHILE).await;
        // One record, a ClientHello, and nothing behind it.
        let mut flight = vec![0; 65_536];
        let count = held.peek(&mut flight).await.unwrap();
        let record = usize::from(u16::from_be_bytes([flight[3], flight[4]]));
        assert_eq!((flight[0], flight[5], count), (22, 1, 5 + record));
        // Nor has the guest been answered anything.
        let early = timeout(A_WHILE, stream.read(&mut [0; 64])).await;
        assert!(early.is_err(), "{early:?}");

        let tls = upstream.acceptor(Alpn::Http1).accept(&mut held);
        let served = async {
            let (mut server, request) = asked(async { tls.await.unwrap() }).await;
            assert!(request.starts_with("GET /warm "), "{request}");
            server.write_all(RESPONSE).await.unwrap();
            server.flush().await.unwrap();
        };
        let (_, response) = tokio::join!(served, read_responses(&mut stream, 1));
        assert_eq!(statuses(&response), ["200"], "{response}");
    });
}

#[test]
fn an_upstream_gone_bad_is_an_alert_once_and_then_its_own_fault() {
    run(async {
        let upstream = Upstream::new().await;
        let world = upstream.world("a.example").await;
        let client = world.client(&["http/1.1"]);
        let connect = || world.tls_as(&client, HOST_A.1, 443, "a.example");
        let (_, first) = tokio::join!(upstream.answer(upstream.acceptor(Alpn::Http1)), async {
            ask(connect().await.unwrap()).await
        });
        assert_eq!(first, HandshakeKind::Full);

        // The guest has a session, and upstream another certificate. The engine has a session with upstream
        // as well, which upstream does not take up.
        let served = async {
            let ended = upstream.faulty(UpstreamFault::WrongName).accept(upstream.accept().await).await;
            assert!(ended.is_err() || ended.unwrap().read(&mut [0; 64]).await.is_err());
        };
        let guest = async {
            let mut stream = connect().await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
            let mut response = Vec::new();
            let ended = timeout(PATIENCE, stream.read_to_end(&mut response)).await.expect("an end");
            (ended.unwrap_err(), response)
        };
        let ((), (error, response)) = tokio::join!(served, guest);
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        assert_eq!(alert, Some(&rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)));
        assert_eq!(response, b"");
        let event = world.event().await;
        let expected = InterceptError::UpstreamTls(UpstreamFault::WrongName);
        assert!(matches!(event, Event::InterceptFailed { error, .. } if error == expected), "{event}");

        // Then the guest meets the fault itself, though it has a session still.
        let served = async {
            let _ = upstream.faulty(UpstreamFault::WrongName).accept(upstream.accept().await).await;
        };
        let ((), refused) = tokio::join!(served, connect());
        let refused = refused.err().expect("a certificate for another name");
        assert!(refused.to_string().contains("not valid for name"), "{refused}");

        // And when upstream is well again, so is the guest.
        let (_, last) = tokio::join!(upstream.answer(upstream.acceptor(Alpn::Http1)), async {
            let event = world.event().await;
            assert!(matches!(event, Event::InterceptFailed { error, .. } if error == expected), "{event}");
            ask(connect().await.unwrap()).await
        });
        // What a guest does with its session after that fault is its own affair.
        assert!(matches!(last, HandshakeKind::Full | HandshakeKind::Resumed));
    });
}

#[test]
fn an_upstream_that_chooses_otherwise_is_spoken_to_as_it_is() {
    run(async {
        let upstream = Upstream::new().await;
        let world = upstream.world("a.example").await;
        let client = world.client(&["h2", "http/1.1"]);
        let connect = || world.tls_as(&client, HOST_A.1, 443, "a.example");
        tokio::join!(upstream.answer(upstream.acceptor(Alpn::Http1)), async {
            ask(connect().await.unwrap()).await
        });
        // The guest is shown what it was the last time; upstream is spoken to as it is now.
        let served = async {
            let mut server = upstream.acceptor(Alpn::Http2).accept(upstream.accept().await).await.unwrap();
            let mut seen = [0; 14];
            timeout(PATIENCE, server.read_exact(&mut seen)).await.expect("a preface").unwrap();
            assert_eq!(&seen, b"PRI * HTTP/2.0");
        };
        let guest = async {
            let mut stream = connect().await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
            // Its upstream has hung up.
            assert!(answer.starts_with(b"HTTP/1.1 502 "), "{}", String::from_utf8_lossy(&answer));
        };
        tokio::join!(served, guest);
        let served = async {
            let _ = upstream.acceptor(Alpn::Http2).accept(upstream.accept().await).await.unwrap();
        };
        let ((), stream) = tokio::join!(served, connect());
        assert_eq!(stream.unwrap().get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    });
}

#[test]
fn a_guest_that_offers_something_else_is_not_told_what_another_was() {
    run(async {
        let upstream = Upstream::new().await;
        let world = upstream.world("a.example").await;
        for offers in [&["http/1.1"][..], &["imap"], &[]] {
            let client = world.client(offers);
            let alpn = if offers == ["http/1.1"] { Alpn::Http1 } else { Alpn::Nothing };
            for _ in 0..2 {
                let served = upstream.answer(upstream.acceptor(alpn));
                let guest = async {
                    let stream = world.tls_as(&client, HOST_A.1, 443, "a.example").await.unwrap();
                    let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                    ask(stream).await;
                    chosen
                };
                let (_, chosen) = tokio::join!(served, guest);
                assert_eq!(Alpn::of(chosen.as_deref()), Some(alpn), "{offers:?}");
            }
        }
    });
}

#[test]
fn sessions_are_taken_up_again_on_both_sides() {
    run(async {
        let upstream = Upstream::new().await;
        let world = upstream.world("a.example").await;
        let client = world.client(&["http/1.1"]);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let served = upstream.answer(upstream.acceptor(Alpn::Http1));
            let guest = async { ask(world.tls_as(&client, HOST_A.1, 443, "a.example").await.unwrap()).await };
            kinds.push(tokio::join!(served, guest));
        }
        let resumed = (HandshakeKind::Resumed, HandshakeKind::Resumed);
        assert_eq!(kinds, [(HandshakeKind::Full, HandshakeKind::Full), resumed, resumed]);
    });
}

#[test]
fn another_guest_takes_up_no_session() {
    run(async {
        let upstream = Upstream::new().await;
        let (one, other) = (upstream.world("a.example").await, upstream.world("a.example").await);
        let client = one.client(&["http/1.1"]);
        let served = upstream.answer(upstream.acceptor(Alpn::Http1));
        tokio::join!(served, async {
            ask(one.tls_as(&client, HOST_A.1, 443, "a.example").await.unwrap()).await
        });
        let served = async { upstream.acceptor(Alpn::Http1).accept(upstream.accept().await).await.map(drop) };
        // The session would have let it in without a look at the certificate.
        let (served, refused) = tokio::join!(served, other.tls_as(&client, HOST_A.1, 443, "a.example"));
        let refused = refused.err().expect("an authority it does not know");
        // Our last word to upstream goes with what the guest has to say, which is nothing.
        let broken_off = served.map_err(|error| error.kind());
        assert_eq!(broken_off, Err(std::io::ErrorKind::UnexpectedEof));
        assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    });
}
