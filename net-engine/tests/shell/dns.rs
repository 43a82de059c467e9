//! Names: who is asked, how often, and what the guest is told.

use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use net_core::Limits;
use net_engine::{Denial, DnsTransport, Event, Nameserver};
use net_policy::dns::DenialStyle;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::resolver::{ADDRESS, Manner, Resolver};
use crate::server::Identity;
use crate::world::{PATIENCE, Setup, World, policy, query, run};

const ALLOW: &[&str] = &["*.example"];

async fn world(resolvers: &[&Resolver]) -> World {
    let nameservers = resolvers.iter().map(|resolver| resolver.address.into()).collect();
    World::new(Setup { allow: ALLOW, nameservers, ..Setup::default() }).await
}

fn code(answer: &Message) -> ResponseCode {
    answer.metadata.response_code
}

fn is_resolved(answer: &Message) -> bool {
    answer.answers.iter().any(|record| matches!(&record.data, RData::A(a) if a.0 == ADDRESS))
}

#[test]
fn an_answer_is_told_again_while_it_lives_and_older_each_time() {
    run(async {
        let resolver = Resolver::start(Manner::at_once(2)).await;
        let world = world(&[&resolver]).await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            let answer = world.ask("a.example").await;
            assert!(is_resolved(&answer) && answer.answers[0].ttl <= 2);
            // Another spelling and another type are another matter to the guest, and one of these to us.
            assert!(is_resolved(&world.ask("A.Example").await));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let asked = resolver.asked.datagrams.get();
        assert!((2..=4).contains(&asked), "{asked} times in three seconds of two");
    });
}

#[test]
fn an_answer_of_no_time_is_asked_for_again() {
    run(async {
        let resolver = Resolver::start(Manner::at_once(0)).await;
        let world = world(&[&resolver]).await;
        for count in 1..4 {
            assert!(is_resolved(&world.ask("a.example").await));
            assert_eq!(resolver.asked.datagrams.get(), count);
        }
    });
}

#[test]
fn those_who_ask_the_same_at_once_share_an_exchange() {
    run(async {
        let manner = Manner::Answers { after: Duration::from_millis(300), ttl: 0 };
        let resolver = Resolver::start(manner).await;
        let world = world(&[&resolver]).await;
        let asking = || async { is_resolved(&world.ask("a.example").await) };
        let all = tokio::join!(asking(), asking(), asking(), asking());
        assert_eq!(all, (true, true, true, true));
        assert_eq!(resolver.asked.datagrams.get(), 1);
    });
}

#[test]
fn an_answer_does_not_outlive_the_policy_it_was_filtered_by() {
    run(async {
        let resolver = Resolver::start(Manner::at_once(300)).await;
        let world = world(&[&resolver]).await;
        assert!(is_resolved(&world.ask("a.example").await));
        world.handle.swap_policy(policy(&["b.example"])).await.unwrap();
        assert_eq!(code(&world.ask("a.example").await), ResponseCode::Refused);
        world.handle.swap_policy(policy(ALLOW)).await.unwrap();
        assert!(is_resolved(&world.ask("a.example").await));
        assert_eq!(resolver.asked.datagrams.get(), 2);
    });
}

#[test]
fn another_resolver_is_asked_where_one_cannot_answer() {
    for manner in [Manner::Silent, Manner::Fails] {
        run(async {
            let (bad, good) = (Resolver::start(manner).await, Resolver::start(Manner::at_once(0)).await);
            let world = world(&[&bad, &good]).await;
            assert!(is_resolved(&world.ask("a.example").await), "{manner:?}");
            assert!(bad.asked.datagrams.get() >= 1 && good.asked.datagrams.get() == 1, "{manner:?}");
            if manner == Manner::Silent {
                // It comes last from now on.
                let before = bad.asked.datagrams.get();
                assert!(is_resolved(&world.ask("b.example").await));
                assert_eq!(bad.asked.datagrams.get(), before);
            }
        });
    }
}

#[test]
fn where_nobody_answers_the_guest_is_told_and_nobody_is_pestered() {
    run(async {
        let resolver = Resolver::start(Manner::Silent).await;
        let limits = Limits { dns_timeout: Duration::from_millis(1_000), ..Limits::default() };
        let nameservers = vec![resolver.address.into()];
        let world = World::new(Setup { allow: ALLOW, nameservers, limits, ..Setup::default() }).await;
        assert_eq!(code(&world.ask("a.example").await), ResponseCode::ServFail);
        let asked = resolver.asked.datagrams.get();
        assert!(asked >= 2, "a datagram may be lost: asked {asked} times");
        assert_eq!(code(&world.ask("a.example").await), ResponseCode::ServFail);
        assert_eq!(resolver.asked.datagrams.get(), asked, "asked again within the second");
    });
}

#[test]
fn what_does_not_fit_a_datagram_is_asked_for_over_tcp() {
    run(async {
        let resolver = Resolver::start(Manner::Truncates).await;
        let world = world(&[&resolver]).await;
        assert!(is_resolved(&world.ask("a.example").await));
        assert_eq!((resolver.asked.datagrams.get(), resolver.asked.messages.get()), (1, 1));
    });
}

#[test]
fn a_resolver_over_tcp_or_tls_is_asked_over_one_connection() {
    let identity = Identity::new();
    for (subject, transport) in [
        ("", DnsTransport::Tcp),
        ("dns.example", DnsTransport::Tls(ServerName::try_from("dns.example").unwrap())),
        ("127.0.0.1", DnsTransport::Tls(ServerName::try_from("127.0.0.1").unwrap())),
    ] {
        run(async {
            let acceptor = (!subject.is_empty()).then(|| identity.acceptor(subject, "dot"));
            let resolver = Resolver::start_with(Manner::at_once(0), acceptor).await;
            let nameservers = vec![Nameserver { address: resolver.address, transport: transport.clone() }];
            let trusts = Some(identity.pem());
            let world = World::new(Setup { allow: ALLOW, nameservers, trusts, ..Setup::default() }).await;
            for name in ["a.example", "b.example", "c.example"] {
                assert!(is_resolved(&world.ask(name).await), "{transport:?}");
            }
            let asked = &resolver.asked;
            assert_eq!((asked.datagrams.get(), asked.messages.get()), (0, 3), "{transport:?}");
            assert_eq!(asked.connections.get(), 1, "{transport:?}");
        });
    }
}

#[test]
fn a_resolver_that_is_another_is_not_believed() {
    run(async {
        let identity = Identity::new();
        let acceptor = Some(identity.acceptor("other.example", "dot"));
        let resolver = Resolver::start_with(Manner::at_once(60), acceptor).await;
        let transport = DnsTransport::Tls(ServerName::try_from("dns.example").unwrap());
        let nameservers = vec![Nameserver { address: resolver.address, transport }];
        let trusts = Some(identity.pem());
        let world = World::new(Setup { allow: ALLOW, nameservers, trusts, ..Setup::default() }).await;
        assert_eq!(code(&world.ask("a.example").await), ResponseCode::ServFail);
        assert_eq!(resolver.asked.messages.get(), 0);
    });
}

#[test]
fn more_questions_than_permitted_are_not_put_to_anybody() {
    run(async {
        let resolver = Resolver::start(Manner::at_once(60)).await;
        let limits = Limits { dns_exchanges_per_second: 3, ..Limits::default() };
        let nameservers = vec![resolver.address.into()];
        let world = World::new(Setup { allow: ALLOW, nameservers, limits, ..Setup::default() }).await;
        let mut failed = 0;
        for index in 0..20 {
            failed +=
                usize::from(code(&world.ask(&format!("n{index}.example")).await) == ResponseCode::ServFail);
        }
        assert!(failed >= 10, "{failed}");
        assert!(matches!(world.event().await, Event::LimitReached { limit: "dns_exchanges_per_second" }));
        // What is known costs nothing.
        for _ in 0..20 {
            assert!(is_resolved(&world.ask("n0.example").await));
        }
    });
}

#[test]
fn a_denial_is_told_as_the_owner_wants() {
    for (style, expected) in
        [(DenialStyle::Refused, ResponseCode::Refused), (DenialStyle::NxDomain, ResponseCode::NXDomain)]
    {
        run(async {
            let world = World::new(Setup { allow: ALLOW, dns_denial: style, ..Setup::default() }).await;
            assert_eq!(code(&world.ask("denied.test").await), expected);
            assert!(matches!(world.event().await, Event::NameRefused { .. }));
        });
    }
}

/// A query on a stream.
async fn send<S: AsyncWrite + Unpin>(stream: &mut S, name: &str, id: u16) {
    let mut message = query(name);
    message.metadata.id = id;
    let bytes = message.to_vec().unwrap();
    let length = u16::try_from(bytes.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Message {
    let read = async {
        let length = stream.read_u16().await.unwrap();
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        Message::from_vec(&bytes).unwrap()
    };
    timeout(PATIENCE, read).await.expect("an answer")
}

#[test]
fn queries_of_one_stream_do_not_wait_for_each_other() {
    run(async {
        let manner = Manner::Answers { after: Duration::from_millis(300), ttl: 60 };
        let resolver = Resolver::start(manner).await;
        let world = world(&[&resolver]).await;
        // Known already, and answered first.
        world.resolve("known.example").await;
        let mut stream = world.guest.connect(world.resolver).await.unwrap();
        send(&mut stream, "slow.example", 1).await;
        send(&mut stream, "known.example", 2).await;
        send(&mut stream, "denied.test", 3).await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(receive(&mut stream).await.metadata.id);
        }
        assert_eq!(ids.last(), Some(&1), "{ids:?}");
        // A guest that closes its half is still answered.
        send(&mut stream, "later.example", 4).await;
        stream.shutdown().await.unwrap();
        assert_eq!(receive(&mut stream).await.metadata.id, 4);
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end").unwrap();
        assert!(rest.is_empty());
    });
}

#[test]
fn dns_over_tls_is_answered_by_us_whoever_is_asked() {
    run(async {
        let identity = Identity::new();
        let resolver = Resolver::start(Manner::at_once(60)).await;
        let nameservers = vec![resolver.address.into()];
        let trusts = Some(identity.pem());
        let world = World::new(Setup { allow: ALLOW, nameservers, trusts, ..Setup::default() }).await;
        for (shown, alpn) in [("dns.quad9.net", "dot"), ("9.9.9.9", "dot"), ("9.9.9.9", "")] {
            let mut stream = world.tls_to(ADDRESS, 853, shown, alpn).await.unwrap();
            send(&mut stream, "a.example", 1).await;
            assert!(is_resolved(&receive(&mut stream).await), "{shown}");
            send(&mut stream, "denied.test", 2).await;
            assert_eq!(code(&receive(&mut stream).await), ResponseCode::Refused, "{shown}");
        }
    });
}

#[test]
fn dns_over_tls_is_refused_where_no_tls_is_opened() {
    run(async {
        // Whatever the policy says of the address.
        let world = World::new(Setup { allow: &["any"], ..Setup::default() }).await;
        assert!(world.guest.connect((ADDRESS, 853).into()).await.is_err());
        assert!(matches!(world.event().await, Event::Denied { why: Denial::Protocol(_), .. }));
    });
}

#[test]
fn a_type_nobody_knows_is_passed_on() {
    run(async {
        let resolver = Resolver::start(Manner::at_once(60)).await;
        let world = world(&[&resolver]).await;
        let mut message = query("a.example");
        message.queries[0].set_query_type(RecordType::Unknown(65_280));
        let answer = world.guest.exchange(world.resolver, &message.to_vec().unwrap()).await.unwrap();
        assert_eq!(code(&Message::from_vec(&answer).unwrap()), ResponseCode::NoError);
        assert_eq!(resolver.asked.datagrams.get(), 1);
    });
}

#[test]
fn answers_that_come_all_at_once_wait_for_room_in_the_link() {
    run(async {
        let manner = Manner::Answers { after: Duration::from_millis(300), ttl: 60 };
        let resolver = Resolver::start(manner).await;
        // Fewer frames than answers, and all answers at one moment.
        let limits = Limits { max_queued_frames: 2, ..Limits::default() };
        let nameservers = vec![resolver.address.into()];
        let world = World::new(Setup { allow: ALLOW, nameservers, limits, ..Setup::default() }).await;
        let asking = || async { is_resolved(&world.ask("a.example").await) };
        let all: Vec<_> = std::iter::repeat_with(asking).take(50).collect();
        let answered = timeout(PATIENCE, futures_util::future::join_all(all)).await.expect("every answer");
        assert_eq!(answered, vec![true; 50]);
    });
}

#[test]
fn a_name_that_is_slow_does_not_choose_another_resolver_for_the_others() {
    run(async {
        let first = Resolver::start(Manner::SilentOfSlow).await;
        let second = Resolver::start(Manner::at_once(0)).await;
        let world = world(&[&first, &second]).await;
        assert!(is_resolved(&world.ask("a.example").await));
        assert!(is_resolved(&world.ask("slow.example").await));
        let (asked_first, asked_second) = (first.asked.datagrams.get(), second.asked.datagrams.get());
        assert_eq!(asked_second, 1);
        assert!(is_resolved(&world.ask("b.example").await));
        assert_eq!(
            (first.asked.datagrams.get(), second.asked.datagrams.get()),
            (asked_first + 1, asked_second)
        );
    });
}

#[test]
fn many_questions_at_once_go_over_one_connection() {
    run(async {
        let resolver = Resolver::start(Manner::at_once(60)).await;
        let nameservers = vec![Nameserver { address: resolver.address, transport: DnsTransport::Tcp }];
        let world = World::new(Setup { allow: ALLOW, nameservers, ..Setup::default() }).await;
        let names: Vec<String> = (0..60).map(|index| format!("n{index}.example")).collect();
        let asking = names.iter().map(|name| async { is_resolved(&world.ask(name).await) });
        let answered = timeout(PATIENCE, futures_util::future::join_all(asking)).await.expect("every answer");
        assert_eq!(answered, vec![true; 60]);
        assert_eq!(resolver.asked.connections.get(), 1);
    });
}

#[test]
fn a_stream_with_something_else_than_queries_ends_and_what_it_asked_is_answered() {
    run(async {
        let resolver = Resolver::start(Manner::at_once(60)).await;
        let world = world(&[&resolver]).await;
        let mut stream = world.guest.connect(world.resolver).await.unwrap();
        // A response is no query and gets nothing; the query behind it its answer.
        let bytes = query("a.example").into_response().to_vec().unwrap();
        let length = u16::try_from(bytes.len()).unwrap();
        stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await.unwrap();
        send(&mut stream, "a.example", 5).await;
        assert_eq!(receive(&mut stream).await.metadata.id, 5);
        // No query is that long.
        stream.write_all(&60_000u16.to_be_bytes()).await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end").unwrap();
        assert!(rest.is_empty());
    });
}

#[test]
fn a_query_for_which_there_is_no_place_is_told_so() {
    run(async {
        let resolver = Resolver::start(Manner::Silent).await;
        let limits = Limits { max_dns_queries: 1, ..Limits::default() };
        let nameservers = vec![resolver.address.into()];
        let world = World::new(Setup { allow: ALLOW, nameservers, limits, ..Setup::default() }).await;
        let mut stream = world.guest.connect(world.resolver).await.unwrap();
        send(&mut stream, "a.example", 1).await;
        send(&mut stream, "b.example", 2).await;
        let refused = receive(&mut stream).await;
        assert_eq!((refused.metadata.id, code(&refused)), (2, ResponseCode::ServFail));
    });
}
