use std::time::Duration;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{
    Alpn, EchConfigList, IpHint, Mandatory, SVCB, SvcParamKey, SvcParamValue, Unknown,
};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, NULL, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use net_core::HostName;

use super::*;
use crate::{Action, HostAddresses, Policy, VirtualPair, parse_target};

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect(text)
}

fn query(kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 7;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name("a.example."), kind));
    message
}

fn with_edns(mut message: Message, dnssec_ok: bool) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(dnssec_ok);
    message.set_edns(edns);
    message
}

fn ask(message: &Message) -> Question {
    Question::parse(&message.to_vec().expect("a query")).expect("a question")
}

fn filtered(asked: &Question, answer: &Message, allows_quic: bool) -> (Message, Duration) {
    let policy = Policy::new(vec![parse_target("a.example").expect("a target").into_rule(Action::Allow)]);
    let hosts = HostAddresses::default();
    let bytes = answer.to_vec().expect("an answer");
    match filter_answer(asked, &bytes, &policy, &hosts, allows_quic) {
        AnswerVerdict::Forward { message, lifetime, .. } => (*message, lifetime),
        AnswerVerdict::Refuse(reason) => panic!("{reason}"),
    }
}

fn record(ttl: u32, data: RData) -> Record {
    Record::from_rdata(name("a.example."), ttl, data)
}

fn https(params: Vec<(SvcParamKey, SvcParamValue)>) -> RData {
    RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), params)))
}

fn alpn(protocols: &[&str]) -> (SvcParamKey, SvcParamValue) {
    let protocols = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
    (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(protocols)))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns.example."), name("admin.example."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("example."), ttl, RData::SOA(soa))
}

/// The record type a signature is of, in its first two bytes (RFC 4034, section 3.1.1).
fn signature_of(kind: RecordType) -> RData {
    let data = u16::from(kind).to_be_bytes().into_iter().chain([0; 30]).collect();
    RData::Unknown { code: RecordType::RRSIG, rdata: NULL::with(data) }
}

#[test]
fn what_a_query_may_not_be_is_said_in_its_own_code() {
    let code = |message: &Message| {
        let error = Question::parse(&message.to_vec().expect("a query")).map(drop).expect_err("no question");
        let reply = Message::from_vec(&error.reply().expect("an answer")).expect("a message");
        assert_eq!(reply.metadata.id, 7);
        u16::from(reply.metadata.response_code)
    };
    let plain = |code: ResponseCode| u16::from(code);
    let mut update = query(RecordType::A);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(code(&update), plain(ResponseCode::NotImp));
    let mut two = query(RecordType::A);
    two.add_query(Query::query(name("b.example."), RecordType::A));
    assert_eq!(code(&two), plain(ResponseCode::FormErr));
    let mut none = query(RecordType::A);
    none.queries.clear();
    assert_eq!(code(&none), plain(ResponseCode::FormErr));
    let mut chaos = query(RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), plain(ResponseCode::Refused));
    let mut newer = with_edns(query(RecordType::A), false);
    newer.edns.as_mut().expect("an OPT record").set_version(1);
    assert_eq!(code(&newer), 16);
    assert!(Question::parse(&query(RecordType::A).into_response().to_vec().expect("bytes")).is_err());
}

#[test]
fn the_guest_s_flags_go_upstream_and_its_options_do_not() {
    let mut message = with_edns(query(RecordType::TXT), true);
    message.metadata.checking_disabled = true;
    message.metadata.authentic_data = true;
    let cookie = hickory_proto::rr::rdata::opt::EdnsOption::Unknown(10, vec![1; 8]);
    message.edns.as_mut().expect("an OPT record").options_mut().insert(cookie);
    let asked = ask(&message).to_upstream();
    assert!(asked.metadata.checking_disabled && asked.metadata.authentic_data);
    assert!(asked.metadata.recursion_desired);
    let edns = asked.edns.expect("an OPT record");
    assert!(edns.flags().dnssec_ok && edns.options().options.is_empty());
}

#[test]
fn questions_share_an_answer_only_where_it_is_one() {
    let plain = ask(&query(RecordType::A)).key();
    let mut spelled = query(RecordType::A);
    spelled.queries[0].set_name(name("A.eXample."));
    spelled.metadata.id = 99;
    assert_eq!(ask(&spelled).key(), plain);
    assert_ne!(ask(&query(RecordType::AAAA)).key(), plain);
    assert_ne!(ask(&with_edns(query(RecordType::A), true)).key(), plain);
    let mut unchecked = query(RecordType::A);
    unchecked.metadata.checking_disabled = true;
    assert_ne!(ask(&unchecked).key(), plain);
}

#[test]
fn service_bindings_lose_what_would_go_past_us() {
    let hint = (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(10, 0, 0, 1)])));
    let ech = (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![1, 2])));
    let port = (SvcParamKey::Port, SvcParamValue::Port(8443));
    let no_default = (SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn);
    let needs = |key| (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(vec![key])));
    let other = (SvcParamKey::Unknown(77), SvcParamValue::Unknown(Unknown(vec![1])));
    // The parameters, what is left where QUIC is refused, and where it is not.
    type Params = Vec<(SvcParamKey, SvcParamValue)>;
    let cases: [(Params, Option<Params>, Option<Params>); 8] = [
        (vec![port.clone()], Some(vec![port.clone()]), Some(vec![port.clone()])),
        (vec![other.clone()], Some(vec![other.clone()]), Some(vec![other.clone()])),
        (vec![port.clone(), hint.clone(), ech.clone()], Some(vec![port.clone()]), Some(vec![port.clone()])),
        (
            vec![alpn(&["h3", "h2", "h3-29"])],
            Some(vec![alpn(&["h2"])]),
            Some(vec![alpn(&["h3", "h2", "h3-29"])]),
        ),
        // HTTP/1.1 remains.
        (vec![alpn(&["h3"])], Some(vec![]), Some(vec![alpn(&["h3"])])),
        // Nothing remains.
        (vec![alpn(&["h3"]), no_default.clone()], None, Some(vec![alpn(&["h3"]), no_default])),
        (vec![needs(SvcParamKey::EchConfigList), ech], None, None),
        (
            vec![needs(SvcParamKey::Port), port.clone()],
            Some(vec![needs(SvcParamKey::Port), port.clone()]),
            Some(vec![needs(SvcParamKey::Port), port]),
        ),
    ];
    let asked = ask(&query(RecordType::HTTPS));
    for (params, refused, allowed) in cases {
        for (allows_quic, expected) in [(false, refused), (true, allowed)] {
            let mut answer = query(RecordType::HTTPS).into_response();
            answer.add_answer(record(300, https(params.clone())));
            let (message, _) = filtered(&asked, &answer, allows_quic);
            let left: Vec<RData> = message.answers.iter().map(|record| record.data.clone()).collect();
            assert_eq!(left, expected.map(https).into_iter().collect::<Vec<_>>(), "{params:?} {allows_quic}");
        }
    }
}

#[test]
fn a_signature_goes_with_what_it_signs() {
    let asked = ask(&with_edns(query(RecordType::HTTPS), true));
    for (protocols, kept) in [(["h2"], 2), (["h3"], 1)] {
        let mut answer = with_edns(query(RecordType::HTTPS).into_response(), true);
        answer.metadata.authentic_data = true;
        answer.add_answer(record(300, https(vec![alpn(&protocols)])));
        answer.add_answer(record(300, signature_of(RecordType::HTTPS)));
        let (message, _) = filtered(&asked, &answer, false);
        assert_eq!(message.answers.len(), kept, "{protocols:?}");
        assert_eq!(message.metadata.authentic_data, kept == 2, "{protocols:?}");
    }
    // Nobody who did not ask is told that an answer is authentic (RFC 6840, section 5.8).
    let mut answer = query(RecordType::A).into_response();
    answer.metadata.authentic_data = true;
    assert!(!filtered(&ask(&query(RecordType::A)), &answer, false).0.metadata.authentic_data);
}

#[test]
fn an_answer_lives_as_long_as_its_shortest_record_and_nothing_as_its_soa_says() {
    let a = |ttl| record(ttl, RData::A(A::new(1, 1, 1, 1)));
    let alias = |ttl| record(ttl, RData::CNAME(CNAME(name("b.example."))));
    let b = |ttl| Record::from_rdata(name("b.example."), ttl, RData::A(A::new(1, 1, 1, 2)));
    let none = ResponseCode::NXDomain;
    let cases: [(ResponseCode, Vec<Record>, Vec<Record>, u64); 12] = [
        (ResponseCode::NoError, vec![a(300)], vec![], 300),
        (ResponseCode::NoError, vec![a(300), a(20)], vec![], 20),
        (ResponseCode::NoError, vec![a(0)], vec![], 0),
        (ResponseCode::NoError, vec![alias(10), b(300)], vec![], 10),
        (ResponseCode::NoError, vec![a(u32::MAX)], vec![], 86_400),
        (none, vec![], vec![soa(300, 60)], 60),
        (none, vec![], vec![soa(30, 60)], 30),
        (none, vec![], vec![soa(86_400, 86_400)], 900),
        (none, vec![], vec![], 0),
        (ResponseCode::NoError, vec![alias(10)], vec![soa(300, 60)], 10),
        // An alias and its signature are nothing, too.
        (
            ResponseCode::NoError,
            vec![alias(9_000), record(9_000, signature_of(RecordType::CNAME))],
            vec![soa(300, 60)],
            60,
        ),
        (ResponseCode::ServFail, vec![a(300)], vec![], 0),
    ];
    for (code, answers, authorities, expected) in cases {
        let mut answer = query(RecordType::A).into_response();
        answer.metadata.response_code = code;
        answer.add_answers(answers.clone());
        answer.add_authorities(authorities);
        let (_, lifetime) = filtered(&ask(&query(RecordType::A)), &answer, true);
        assert_eq!(lifetime.as_secs(), expected, "{code} {answers:?}");
    }
    let mut kept = query(RecordType::A).into_response();
    kept.add_answers([a(300), a(20)]);
    age(&mut kept, Duration::from_millis(19_900));
    assert_eq!(kept.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [281, 1]);
}

#[test]
fn a_denial_says_why_to_those_who_can_read_it() {
    let styles =
        [(DenialStyle::Refused, ResponseCode::Refused), (DenialStyle::NxDomain, ResponseCode::NXDomain)];
    for (style, code) in styles {
        let denied = Reply::Denied(style, ExtendedError::Blocked("no rule allows it"));
        for (message, has_edns) in
            [(query(RecordType::A), false), (with_edns(query(RecordType::A), true), true)]
        {
            let asked = ask(&message);
            let bytes = fit(&asked, reply(&asked, &denied), 512).expect("an answer");
            let parsed = Message::from_vec(&bytes).expect("a message");
            assert_eq!(parsed.metadata.response_code, code);
            assert_eq!(parsed.edns.is_some(), has_edns);
            let text = b"no rule allows it";
            assert_eq!(bytes.windows(text.len()).any(|window| window == text), has_edns);
            assert_eq!(parsed.edns.is_some_and(|edns| edns.flags().dnssec_ok), has_edns);
        }
    }
}

#[test]
fn an_answer_is_spelled_as_it_was_asked() {
    let mut spelled = query(RecordType::A);
    spelled.queries[0].set_name(name("A.eXample."));
    let asked = ask(&spelled);
    assert_eq!(asked.host, Some(HostName::parse("a.example").expect("a name")));
    let mut answer = query(RecordType::A).into_response();
    answer.add_answer(record(300, RData::A(A::new(1, 1, 1, 1))));
    let (message, _) = filtered(&asked, &answer, true);
    let bytes = fit(&asked, message, 512).expect("an answer");
    let parsed = Message::from_vec(&bytes).expect("a message");
    assert_eq!(parsed.answers[0].name.to_ascii(), "A.eXample.");
}

#[test]
fn addresses_take_turns_and_aliases_keep_their_place() {
    let alias = record(300, RData::CNAME(CNAME(name("b.example."))));
    let b = |last| Record::from_rdata(name("b.example."), 300, RData::A(A::new(1, 1, 1, last)));
    for (by, expected) in [(0, [1, 2, 3]), (1, [2, 3, 1]), (5, [3, 1, 2]), (usize::MAX, [1, 2, 3])] {
        let mut answer = query(RecordType::A).into_response();
        answer.add_answers([alias.clone(), b(1), b(2), b(3)]);
        rotate(&mut answer, by);
        assert_eq!(answer.answers[0], alias);
        let told: Vec<Record> = answer.answers[1..].to_vec();
        assert_eq!(told, expected.map(b), "{by}");
    }
}

const PAIR: VirtualPair = VirtualPair {
    ipv4: std::net::Ipv4Addr::new(198, 18, 0, 1),
    ipv6: std::net::Ipv6Addr::new(0xfd6e, 0x6574, 1, 0, 0, 0, 0, 1),
};

#[test]
fn a_virtual_answer_has_the_families_of_the_real_one_and_no_alias() {
    let v4 = |owner: &str, ttl| Record::from_rdata(name(owner), ttl, RData::A(A([9, 9, 9, 9].into())));
    let v6 = |ttl| record(ttl, RData::AAAA(AAAA("2620:fe::9".parse().unwrap())));
    let alias = record(30, RData::CNAME(CNAME(name("b.example."))));
    // What a resolver says; of each record what the guest is told, and for how long.
    let cases: [(Vec<Record>, &[&str]); 5] = [
        (vec![v4("a.example.", 300), v4("a.example.", 300)], &["60 198.18.0.1"]),
        (vec![alias.clone(), v4("b.example.", 300)], &["30 198.18.0.1"]),
        (vec![v6(10)], &["10 fd6e:6574:1::1"]),
        (vec![v4("a.example.", 0), v6(90)], &["0 198.18.0.1", "0 fd6e:6574:1::1"]),
        (vec![alias], &[]),
    ];
    for (answers, expected) in cases {
        let asked = ask(&query(RecordType::A));
        let mut message = Message::response(7, OpCode::Query);
        message.metadata.authentic_data = true;
        message.answers = answers.clone();
        match virtual_ttl(&message) {
            Some(ttl) => answer_virtually(&asked, &mut message, PAIR, ttl),
            None => {
                assert_eq!(expected.len(), 0, "{answers:?}");
                continue;
            }
        }
        assert!(!message.metadata.authentic_data);
        let shown: Vec<String> = message
            .answers
            .iter()
            .map(|record| {
                assert_eq!(record.name, name("a.example."));
                format!("{} {}", record.ttl, record.data)
            })
            .collect();
        assert_eq!(shown, expected, "{answers:?}");
    }
}

#[test]
fn an_address_is_found_in_a_question_for_its_name() {
    const CASES: &[(&str, RecordType, Option<&str>)] = &[
        ("1.0.18.198.in-addr.arpa.", RecordType::PTR, Some("198.18.0.1")),
        ("1.0.18.198.IN-ADDR.ARPA.", RecordType::PTR, Some("198.18.0.1")),
        ("1.0.18.198.in-addr.arpa.", RecordType::A, None),
        ("18.198.in-addr.arpa.", RecordType::PTR, None),
        ("300.0.18.198.in-addr.arpa.", RecordType::PTR, None),
        ("a.example.", RecordType::PTR, None),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.4.7.5.6.e.6.d.f.ip6.arpa.",
            RecordType::PTR,
            Some("fd6e:6574:1::1"),
        ),
    ];
    for (text, kind, expected) in CASES {
        let mut message = Message::query();
        message.add_query(Query::query(name(text), *kind));
        let found = ask(&message).reverse().map(|address| address.to_string());
        assert_eq!(found.as_deref(), *expected, "{text}");
    }
    let mut message = Message::query();
    message.add_query(Query::query(name("1.0.18.198.in-addr.arpa."), RecordType::PTR));
    let told = reply(&ask(&message), &Reply::Pointer("a.example".parse().unwrap()));
    assert!(matches!(&told.answers[..], [record] if record.data.to_string() == "a.example."));
}

#[test]
fn the_corpora_hold() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in ["dns_answer_filter", "dns_query"] {
        let files: Vec<_> = std::fs::read_dir(fuzz.join(target)).expect("a corpus").collect();
        assert!(files.len() >= 2, "the corpus of {target} is small");
        for file in files {
            let bytes = std::fs::read(file.expect("a file").path()).expect("a readable file");
            // Queries of the guest are as hostile as answers of upstream.
            crate::fuzzing::answer_stays_within_the_policy(&bytes);
            crate::fuzzing::query_is_answered(&bytes);
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_no_danger(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
        crate::fuzzing::answer_stays_within_the_policy(&bytes);
        crate::fuzzing::query_is_answered(&bytes);
    }
}

/// Writes the corpora anew: answers and queries as these tests make them.
#[test]
#[ignore = "writes into the checkout"]
fn write_the_corpora() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    std::fs::create_dir_all(fuzz.join("dns_query")).expect("a directory");
    let write = |target: &str, file: &str, message: &Message| {
        std::fs::write(fuzz.join(target).join(file), message.to_vec().expect("a message")).expect("a file");
    };
    write("dns_query", "plain", &query(RecordType::A));
    write("dns_query", "edns", &with_edns(query(RecordType::HTTPS), true));
    let hint = (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(10, 0, 0, 1)])));
    let mut bindings = query(RecordType::HTTPS).into_response();
    bindings.metadata.id = 0;
    bindings.add_answer(record(300, https(vec![alpn(&["h3", "h2"]), hint])));
    write("dns_answer_filter", "https", &bindings);
    let mut nothing = query(RecordType::A).into_response();
    nothing.metadata.response_code = ResponseCode::NXDomain;
    nothing.add_authority(soa(300, 60));
    write("dns_answer_filter", "nothing", &nothing);
}
