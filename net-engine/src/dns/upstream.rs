//! One question to one resolver after the other, by hickory's client side.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hickory_net::NetError;
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, ResponseCode};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::tls::tls_exchange;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle, DnsRequestSender};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::guest::{Context, DnsTransport, Nameserver};

/// How often each resolver is asked: a datagram may be lost.
const ROUNDS: u32 = 2;

/// A resolver that has answered something this long ago is not dead.
const LIVES: Duration = Duration::from_secs(5);

/// How long a resolver that did not answer is asked after the others.
const SET_BACK: Duration = Duration::from_secs(10);

/// The resolvers of a guest, as far as anything is known of them.
#[derive(Default)]
pub(crate) struct Upstreams {
    /// Ends the connections when it goes.
    provider: TokioRuntimeProvider,
    /// Connections to those that are asked over TCP or TLS.
    connections: RefCell<HashMap<Nameserver, DnsExchange<TokioRuntimeProvider>>>,
    /// Held while one is connected to: the others wait for that connection.
    connecting: RefCell<HashMap<Nameserver, Rc<Mutex<()>>>>,
    /// When each has answered last.
    answered: RefCell<HashMap<Nameserver, Instant>>,
    failed: RefCell<HashMap<Nameserver, Instant>>,
}

/// What came of asking one resolver.
enum Attempt {
    /// An answer, be it that there is no such name.
    Answered(Vec<u8>),
    /// It says that it cannot answer (SERVFAIL, REFUSED and the like): another may.
    Unable(Vec<u8>),
    /// Nothing that could be used.
    Failed,
}

impl Upstreams {
    /// Asks `nameservers` in turn until one answers; its answer in wire format.
    ///
    /// `None` when nobody answered within [`Limits::dns_timeout`](net_core::Limits::dns_timeout), which is
    /// shared among them.
    pub(crate) async fn ask(
        &self,
        context: &Context,
        mut nameservers: Vec<Nameserver>,
        question: &Message,
    ) -> Option<Vec<u8>> {
        self.forget_others(&nameservers);
        let now = crate::guest::now();
        nameservers.sort_by_key(|nameserver| self.is_set_back(nameserver, now));
        let attempts = u32::try_from(nameservers.len()).unwrap_or(u32::MAX).saturating_mul(ROUNDS).max(1);
        let share = context.limits.dns_timeout / attempts;
        let mut second_best = None;
        for nameserver in (0..ROUNDS).flat_map(|_| &nameservers) {
            let began = crate::guest::now();
            let attempt = timeout(share, self.ask_one(context, nameserver, question, share)).await;
            match attempt.unwrap_or(Attempt::Failed) {
                Attempt::Answered(answer) => {
                    self.note_answer(nameserver);
                    return Some(answer);
                }
                Attempt::Unable(answer) => {
                    self.note_answer(nameserver);
                    second_best = Some(answer);
                }
                // A name whose own servers are slow says nothing of the resolver, which answers others: a guest
                // does not choose who is asked.
                Attempt::Failed if self.has_answered_since(nameserver, began) => {}
                Attempt::Failed => {
                    self.connections.borrow_mut().remove(nameserver);
                    self.failed.borrow_mut().insert(nameserver.clone(), crate::guest::now());
                }
            }
        }
        second_best
    }

    fn note_answer(&self, nameserver: &Nameserver) {
        self.failed.borrow_mut().remove(nameserver);
        self.answered.borrow_mut().insert(nameserver.clone(), crate::guest::now());
    }

    /// Whether it has answered anything since, or not long before: it lives.
    fn has_answered_since(&self, nameserver: &Nameserver, began: Instant) -> bool {
        let answered = self.answered.borrow();
        answered.get(nameserver).is_some_and(|at| *at + LIVES >= began)
    }

    fn is_set_back(&self, nameserver: &Nameserver, now: Instant) -> bool {
        let failed = self.failed.borrow();
        failed.get(nameserver).is_some_and(|at| now.saturating_duration_since(*at) < SET_BACK)
    }

    /// The host's resolvers change with its network.
    fn forget_others(&self, nameservers: &[Nameserver]) {
        self.failed.borrow_mut().retain(|nameserver, _| nameservers.contains(nameserver));
        self.answered.borrow_mut().retain(|nameserver, _| nameservers.contains(nameserver));
        self.connecting.borrow_mut().retain(|nameserver, _| nameservers.contains(nameserver));
        self.connections.borrow_mut().retain(|nameserver, _| nameservers.contains(nameserver));
    }

    async fn ask_one(
        &self,
        context: &Context,
        nameserver: &Nameserver,
        question: &Message,
        patience: Duration,
    ) -> Attempt {
        if nameserver.transport == DnsTransport::Udp {
            return ask_over_udp(nameserver.address, question, patience).await;
        }
        let open = self.connections.borrow().get(nameserver).cloned();
        if let Some(connection) = open {
            // It may have been closed since it was last used.
            match ask_over(&connection, question).await {
                Attempt::Failed => {}
                answered @ (Attempt::Answered(_) | Attempt::Unable(_)) => return answered,
            }
            self.connections.borrow_mut().remove(nameserver);
        }
        match self.connection(context, nameserver, patience).await {
            Ok(connection) => ask_over(&connection, question).await,
            Err(_) => Attempt::Failed,
        }
    }

    /// The one connection to a resolver, made if there is none.
    async fn connection(
        &self,
        context: &Context,
        nameserver: &Nameserver,
        patience: Duration,
    ) -> Result<DnsExchange<TokioRuntimeProvider>, NetError> {
        let connecting = Rc::clone(self.connecting.borrow_mut().entry(nameserver.clone()).or_default());
        let _turn = connecting.lock().await;
        let made = self.connections.borrow().get(nameserver).cloned();
        if let Some(connection) = made {
            return Ok(connection);
        }
        let connection = self.connect(context, nameserver, patience).await?;
        self.connections.borrow_mut().insert(nameserver.clone(), connection.clone());
        Ok(connection)
    }

    async fn connect(
        &self,
        context: &Context,
        nameserver: &Nameserver,
        patience: Duration,
    ) -> Result<DnsExchange<TokioRuntimeProvider>, NetError> {
        let (address, provider) = (nameserver.address, self.provider.clone());
        let at_once = Some(context.limits.max_dns_queries);
        match &nameserver.transport {
            DnsTransport::Tls(name) => {
                let config = context.tls.resolver_config();
                tls_exchange(address, name.clone(), config, patience, at_once, provider).await
            }
            DnsTransport::Udp | DnsTransport::Tcp => {
                TcpClientStream::exchange(address, None, patience, at_once, provider).await
            }
        }
    }
}

/// A truncated answer is asked for again over TCP (RFC 7766, section 5).
async fn ask_over_udp(nameserver: SocketAddr, question: &Message, patience: Duration) -> Attempt {
    let provider = TokioRuntimeProvider::new();
    let builder = UdpClientStream::builder(nameserver, provider.clone());
    let mut udp = builder.with_timeout(Some(patience)).build();
    let Some(request) = request(question, true) else { return Attempt::Failed };
    match udp.send_message(request).next().await {
        Some(Ok(answer)) if !answer.metadata.truncation => return attempt(answer),
        // Over TCP nobody forges: an answer that was cut short, or to a question spelled otherwise, is
        // asked for again there.
        Some(Ok(_) | Err(NetError::QueryCaseMismatch)) => {}
        Some(Err(_)) | None => return Attempt::Failed,
    }
    match TcpClientStream::exchange(nameserver, None, patience, None, provider).await {
        Ok(connection) => ask_over(&connection, question).await,
        Err(_) => Attempt::Failed,
    }
}

async fn ask_over(connection: &DnsExchange<TokioRuntimeProvider>, question: &Message) -> Attempt {
    let Some(request) = request(question, false) else { return Attempt::Failed };
    match connection.send(request).next().await {
        Some(Ok(answer)) => attempt(answer),
        Some(Err(_)) | None => Attempt::Failed,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other code says that it cannot answer")]
fn attempt(answer: DnsResponse) -> Attempt {
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Attempt::Answered(answer.into_buffer()),
        _ => Attempt::Unable(answer.into_buffer()),
    }
}

/// The question under an id of its own, and over UDP with a spelling of its own: what the guest chose
/// must not help to forge an answer (RFC 5452, section 9).
fn request(question: &Message, respell: bool) -> Option<DnsRequest> {
    let mut message = question.clone();
    message.metadata.id = u16::try_from(getrandom::u32().ok()? >> 16).ok()?;
    let mut options = DnsRequestOptions::default();
    options.case_randomization = respell;
    let original = message.queries.first().cloned();
    if respell {
        message.queries.iter_mut().for_each(|query| query.name.randomize_label_case());
    }
    Some(DnsRequest::new(message, options).with_original_query(original))
}
