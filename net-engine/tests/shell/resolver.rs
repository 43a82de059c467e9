//! Resolvers that do as they are told, over UDP, TCP and TLS on one port.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

/// What every name leads to.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

/// What a resolver does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers after a while, with this TTL.
    Answers { after: Duration, ttl: u32 },
    /// Says over UDP that the answer is too long for it.
    Truncates,
    /// Says that it cannot.
    Fails,
    /// Says nothing.
    Silent,
    /// Says nothing of names that begin with `slow`, and answers all others at once.
    SilentOfSlow,
}

impl Manner {
    pub(crate) fn at_once(ttl: u32) -> Self {
        Self::Answers { after: Duration::ZERO, ttl }
    }

    async fn answer(self, query: &[u8], is_datagram: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?.clone();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        let mut say = |ttl| {
            reply.add_answer(Record::from_rdata(question.name().clone(), ttl, RData::A(A(ADDRESS))));
        };
        match self {
            Self::Answers { after, ttl } => {
                tokio::time::sleep(after).await;
                say(ttl);
            }
            Self::Truncates if is_datagram => reply.metadata.truncation = true,
            Self::Truncates => say(60),
            Self::Fails => reply.metadata.response_code = ResponseCode::ServFail,
            Self::Silent => return None,
            Self::SilentOfSlow if question.name().to_ascii().to_lowercase().starts_with("slow") => {
                return None;
            }
            Self::SilentOfSlow => say(0),
        }
        reply.to_vec().ok()
    }
}

/// What a resolver was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) datagrams: Cell<usize>,
    pub(crate) messages: Cell<usize>,
    pub(crate) connections: Cell<usize>,
}

pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Rc<Asked>,
}

impl Resolver {
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::start_with(manner, None).await
    }

    /// With TLS its TCP port speaks nothing else.
    pub(crate) async fn start_with(manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let tcp = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = Rc::new(UdpSocket::bind(address).await.unwrap());
        let asked = Rc::new(Asked::default());
        let counted = Rc::clone(&asked);
        tokio::task::spawn_local(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
                counted.datagrams.set(counted.datagrams.get() + 1);
                let (query, udp) = (buffer[..length].to_vec(), Rc::clone(&udp));
                tokio::task::spawn_local(async move {
                    if let Some(answer) = manner.answer(&query, true).await {
                        udp.send_to(&answer, client).await.unwrap();
                    }
                });
            }
        });
        let counted = Rc::clone(&asked);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                counted.connections.set(counted.connections.get() + 1);
                let (counted, tls) = (Rc::clone(&counted), tls.clone());
                tokio::task::spawn_local(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, manner, &counted).await;
                            }
                        }
                        None => serve(stream, manner, &counted).await,
                    }
                });
            }
        });
        Self { address, asked }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, manner: Manner, asked: &Asked) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        asked.messages.set(asked.messages.get() + 1);
        if let Some(answer) = manner.answer(&query, false).await {
            let length = u16::try_from(answer.len()).unwrap();
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await.unwrap();
            stream.flush().await.unwrap();
        }
    }
}
