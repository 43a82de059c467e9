use hickory_proto::op::{Message, Query as DnsQuery, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::dns::{
    AnswerVerdict, DenialStyle, ExtendedError, QueryError, Question, Reply, filter_answer, fit, reply,
};

fn dns_name(text: &str) -> Name {
    Name::from_ascii(text).expect(text)
}

fn query(text: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 7;
    message.metadata.recursion_desired = true;
    message.add_query(DnsQuery::query(dns_name(text), kind));
    message
}

fn question(text: &str, kind: RecordType) -> Question {
    Question::parse(&query(text, kind).to_vec().expect("a query")).expect(text)
}

/// `owner address|alias` records; the verdict's pins, or the word for its refusal.
fn verdict(rules: &[&str], records: &[&str]) -> Result<Vec<String>, String> {
    let question = question("a.example.", RecordType::A);
    let mut answer = query("a.example.", RecordType::A).into_response();
    for record in records {
        let (owner, data) = record.split_once(' ').expect(record);
        let data = match data.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => RData::A(A(v4)),
            Ok(IpAddr::V6(v6)) => RData::AAAA(AAAA(v6)),
            Err(_) => RData::CNAME(CNAME(dns_name(data))),
        };
        answer.add_answer(Record::from_rdata(dns_name(owner), 300, data));
    }
    let world = World::new(&[]);
    let answer = answer.to_vec().expect("an answer");
    match filter_answer(&question, &answer, &policy(rules), &world.hosts, true) {
        AnswerVerdict::Forward { message, pins, .. } => {
            assert!(message.answers.len() <= records.len());
            Ok(pins.iter().map(|pin| pin.address.to_string()).collect())
        }
        AnswerVerdict::Refuse(reason) => Err(reason.to_string()),
    }
}

/// The rules, the records of the answer, and the addresses it pins or the words of its refusal.
type AnswerCase =
    (&'static [&'static str], &'static [&'static str], Result<&'static [&'static str], &'static str>);

#[test]
fn every_address_is_checked_and_strangers_pin_nothing() {
    const ALLOW: &[&str] = &["allow *.example", "allow a.example"];
    let cases: &[AnswerCase] = &[
        (ALLOW, &["a.example. 1.1.1.1", "a.example. 1.1.1.2"], Ok(&["1.1.1.1", "1.1.1.2"])),
        (ALLOW, &["a.example. 1.1.1.1", "a.example. 10.0.0.1"], Err("10.0.0.1, which is private")),
        (ALLOW, &["a.example. 127.0.0.1"], Err("loopback")),
        (ALLOW, &["a.example. 0.0.0.0"], Err("reserved")),
        (ALLOW, &["a.example. 169.254.169.254"], Err("metadata")),
        (ALLOW, &["a.example. 9.9.9.9"], Err("host")),
        (ALLOW, &["a.example. ::ffff:10.0.0.1"], Err("private")),
        (&["allow any"], &["a.example. 10.0.0.1"], Err("private")),
        (&["allow a.example", "allow 10.0.0.0/8"], &["a.example. 10.0.0.1"], Ok(&["10.0.0.1"])),
        (&["allow a.example", "allow private"], &["a.example. fd00::1"], Ok(&["fd00::1"])),
        (ALLOW, &["a.example. b.example.", "b.example. 1.1.1.1"], Ok(&["1.1.1.1"])),
        (ALLOW, &["a.example. b.example.", "b.example. 10.0.0.1"], Err("private")),
        (ALLOW, &["stranger.org. 1.1.1.1"], Ok(&[])),
        (ALLOW, &["stranger.org. 10.0.0.1", "a.example. 1.1.1.1"], Ok(&["1.1.1.1"])),
        (ALLOW, &["a.example. a.example."], Ok(&[])),
    ];
    for (rules, records, expected) in cases {
        match (verdict(rules, records), expected) {
            (Ok(pins), Ok(expected)) => assert_eq!(pins, *expected, "{records:?}"),
            (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{records:?}: {reason}"),
            (found, _) => panic!("{rules:?} {records:?}: {found:?}"),
        }
    }
}

/// What the guest is sent, and what is pinned.
fn forwarded(rules: &[&str], answer: &Message) -> (Box<Message>, Vec<crate::dns::Pin>) {
    let [asked] = &answer.queries[..] else { panic!("one question") };
    let asked = question(&asked.name().to_ascii(), asked.query_type());
    let bytes = answer.to_vec().expect("an answer");
    match filter_answer(&asked, &bytes, &policy(rules), &HostAddresses::default(), true) {
        AnswerVerdict::Forward { message, pins, .. } => (message, pins),
        AnswerVerdict::Refuse(reason) => panic!("{reason}"),
    }
}

fn address_record(owner: &str, address: [u8; 4], ttl: u32) -> Record {
    Record::from_rdata(dns_name(owner), ttl, RData::A(A(address.into())))
}

#[test]
fn a_name_that_did_not_resolve_opens_nothing() {
    let world = World::new(&[]);
    for code in [ResponseCode::ServFail, ResponseCode::NXDomain, ResponseCode::Refused, ResponseCode::NoError]
    {
        let mut answer = query("a.example.", RecordType::A).into_response();
        answer.metadata.response_code = code;
        let (_, pins) = forwarded(&["allow a.example"], &answer);
        assert!(pins.is_empty(), "{code:?}");
    }
    let decision = world.decide(&policy(&["allow a.example"]), "1.1.1.1", 443, Some("a.example"));
    assert_eq!(word(decision), "not pinned");
}

#[test]
fn only_the_answer_itself_pins() {
    let mut answer = query("a.example.", RecordType::A).into_response();
    answer.add_answer(address_record("a.example.", [1, 1, 1, 1], 300));
    answer.add_authorities([address_record("a.example.", [2, 2, 2, 2], 300)]);
    answer.add_additionals([address_record("a.example.", [10, 0, 0, 1], 300)]);
    let (message, pins) = forwarded(&["allow a.example"], &answer);
    assert_eq!(pins.iter().map(|pin| pin.address).collect::<Vec<_>>(), [IpAddr::from([1, 1, 1, 1])]);
    assert!(message.authorities.is_empty() && message.additionals.is_empty());
}

#[test]
fn an_alias_that_leaves_the_allowlist_opens_the_name_that_was_asked_for_alone() {
    let mut answer = query("a.example.", RecordType::A).into_response();
    answer.add_answer(Record::from_rdata(
        dns_name("a.example."),
        20,
        RData::CNAME(CNAME(dns_name("cdn.org."))),
    ));
    answer.add_answer(address_record("cdn.org.", [1, 1, 1, 1], 300));
    let (_, pins) = forwarded(&["allow a.example"], &answer);
    let mut world = World::new(&[]);
    for pin in &pins {
        assert_eq!(pin.ttl, Duration::from_secs(20), "the least on the way");
        world.pins.pin(&name("a.example"), pin.address, pin.ttl, world.now);
    }
    let policy = policy(&["allow a.example"]);
    assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, None)), "allow");
    assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, Some("cdn.org"))), "default");
}

#[test]
fn answers_that_rotate_are_all_pinned() {
    let mut world = World::new(&[]);
    for last in 1..=8 {
        let mut answer = query("a.example.", RecordType::A).into_response();
        answer.add_answer(address_record("a.example.", [1, 1, 1, last], 0));
        for pin in forwarded(&["allow a.example"], &answer).1 {
            world.pins.pin(&name("a.example"), pin.address, pin.ttl, world.now);
        }
        world.now += Duration::from_secs(1);
    }
    for last in 1..=8 {
        let address = format!("1.1.1.{last}");
        assert_eq!(
            word(world.decide(&policy(&["allow a.example"]), &address, 443, None)),
            "allow",
            "{address}"
        );
    }
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let world = World::new(&[]);
    let asked = question("a.example.", RecordType::A);
    let other = query("b.example.", RecordType::A).into_response().to_vec().expect("an answer");
    let query = query("a.example.", RecordType::A).to_vec().expect("a query");
    for bytes in [other, query, b"junk".to_vec(), Vec::new()] {
        let verdict = filter_answer(&asked, &bytes, &policy(&["allow any"]), &world.hosts, true);
        assert!(matches!(verdict, AnswerVerdict::Refuse(_)), "{bytes:?}");
    }
}

#[test]
fn only_one_question_of_class_in() {
    let mut two = query("a.example.", RecordType::A);
    two.add_query(DnsQuery::query(dns_name("b.example."), RecordType::A));
    let parsed = Question::parse(&two.to_vec().expect("a query")).map(drop);
    assert_eq!(parsed, Err(QueryError::Count { id: 7 }));
    assert_eq!(Question::parse(b"short").map(drop), Err(QueryError::Malformed));
    let case = question("A.EXAMPLE.", RecordType::A);
    assert_eq!(case.host, Some(name("a.example")));
    assert_eq!(question("10.0.0.1.", RecordType::A).host, None);
}

#[test]
fn own_answers_fit_and_say_when_they_do_not() {
    let asked = question("a.example.", RecordType::A);
    let denied = Reply::Denied(DenialStyle::Refused, ExtendedError::Blocked("by rule"));
    let refused = fit(&asked, reply(&asked, &denied), 512).expect("a refusal");
    let parsed = Message::from_vec(&refused).expect("a message");
    assert_eq!((parsed.metadata.id, parsed.metadata.response_code), (7, ResponseCode::Refused));
    let many: Vec<IpAddr> = (0u8..100).map(|index| IpAddr::from([1, 1, 1, index])).collect();
    let whole = fit(&asked, reply(&asked, &Reply::Addresses(many.clone())), 65_535).expect("an answer");
    assert_eq!(Message::from_vec(&whole).expect("a message").answers.len(), 100);
    let cut = fit(&asked, reply(&asked, &Reply::Addresses(many)), 512).expect("an answer");
    let parsed = Message::from_vec(&cut).expect("a message");
    assert!(cut.len() <= 512 && parsed.metadata.truncation);
    let v6 = fit(&asked, reply(&asked, &Reply::Addresses(vec![IpAddr::from([0u8; 16])])), 512);
    assert!(Message::from_vec(&v6.expect("an answer")).expect("a message").answers.is_empty());
}
