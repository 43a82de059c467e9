//! What we make of a guest's hello, held against what rustls makes of it: called by the fuzz target and by
//! the test that replays its corpus.

use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use net_core::HostName;
use net_tls::{
    Alpn, AlpnMemory, AlpnOffer, AlpnQuestion, Authority, AuthorityParams, LeafCache, LeafSubject,
    system_clock,
};
use rustls::{Error, HandshakeKind, ServerConfig, ServerConnection};

use super::first_flight::{Hello, hello_of};

static LEAVES: LazyLock<LeafCache> = LazyLock::new(|| {
    let authority = Authority::generate(&AuthorityParams::default(), SystemTime::now());
    LeafCache::new(authority.expect("an authority"), 64)
});

/// Whatever a hello says: of what upstream may choose the guest is told exactly that, never that it offered
/// nothing of it, and never under another name than the one that was decided. How many handshakes it came to
/// an answer in.
pub(crate) fn hellos_select_what_was_chosen(flight: &[u8]) -> Option<usize> {
    let Hello { name: Ok(name), alpn, .. } = hello_of(flight)? else { return None };
    let offer = AlpnOffer::of(&alpn);
    let offered: Vec<Vec<u8>> = offer.protocols();
    assert!(offered.iter().all(|protocol| alpn.contains(protocol)), "more than the guest's own");
    let subject = match name.clone() {
        Some(name) => LeafSubject::Name(name),
        None => LeafSubject::Address([10, 0, 0, 1].into()),
    };
    let question = AlpnQuestion { subject, port: 443, offer };
    let mut answered = 0;
    for chosen in [Alpn::Nothing, Alpn::Http1, Alpn::Http2, Alpn::Dot] {
        assert_eq!(
            offer.permits(chosen),
            chosen.protocols().iter().all(|protocol| offered.contains(protocol)),
            "{offer:?} {chosen:?}"
        );
        if !offer.permits(chosen) {
            continue;
        }
        // The next time the same is remembered, and makes the same of the guest's end.
        let now = Instant::now();
        let mut memory = AlpnMemory::new(1, std::time::Duration::MAX);
        memory.learn(question.clone(), chosen, now);
        assert_eq!(memory.recall(&question, now), Some(chosen));
        let config = LEAVES.get_or_mint_config(&question.subject, chosen, &system_clock(), SystemTime::now());
        answered += usize::from(answers(config.expect("a leaf"), flight, chosen, name.as_ref()));
    }
    Some(answered)
}

/// Whether rustls answers the hello; what it says then.
fn answers(config: Arc<ServerConfig>, flight: &[u8], chosen: Alpn, name: Option<&HostName>) -> bool {
    let mut server = ServerConnection::new(config).expect("a configuration");
    let mut rest = flight;
    let mut ended = Ok(());
    while !rest.is_empty() && ended.is_ok() && server.read_tls(&mut rest).is_ok_and(|count| count > 0) {
        ended = server.process_new_packets().map(drop);
    }
    assert_ne!(ended, Err(Error::NoApplicationProtocol), "{chosen:?} was offered");
    // What it sends is its answer, or an alert.
    let mut sent = Vec::new();
    let is_answer = ended.is_ok() && server.wants_write() && server.write_tls(&mut sent).is_ok();
    if is_answer {
        let told = server.alpn_protocol();
        // It says nothing yet where it asks for another hello.
        let is_retry = server.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        assert!(is_retry || Alpn::of(told) == Some(chosen), "{told:?} for {chosen:?}");
        let shown = server.server_name().map(HostName::parse);
        assert!(
            shown.is_none_or(|shown| shown.ok().as_ref() == name),
            "{:?} is not {name:?}",
            server.server_name()
        );
    }
    is_answer
}
