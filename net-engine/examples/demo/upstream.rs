//! The network beyond the engine: an HTTPS server, an HTTP server and a resolver on loopback.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use net_core::HostName;
use net_tls::{Authority, AuthorityParams, LeafSubject};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// What the servers saw, a line a request.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

/// Servers on loopback.
pub(crate) struct Upstream {
    /// HTTPS; its certificate is good for every name of the demo.
    pub(crate) https: SocketAddr,
    /// HTTP.
    pub(crate) http: SocketAddr,
    /// Answers with what the demo wants names to be.
    pub(crate) resolver: SocketAddr,
    /// The certificate of the authority that signed the HTTPS server's.
    pub(crate) authority_pem: String,
    /// Requests that arrived.
    pub(crate) seen: Seen,
}

impl Upstream {
    /// Starts the servers; `names` is the zone.
    pub(crate) async fn start(names: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let seen = Seen::default();
        let now = SystemTime::now();
        let authority = Authority::generate(&AuthorityParams::named("the real internet authority"), now)
            .context("test authority")?;
        let authority_pem = authority.certificate_pem().to_owned();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let https = TcpListener::bind((loopback, 0)).await?;
        let http = TcpListener::bind((loopback, 0)).await?;
        let dns = UdpSocket::bind((loopback, 0)).await?;
        let upstream = Self {
            https: https.local_addr()?,
            http: http.local_addr()?,
            resolver: dns.local_addr()?,
            authority_pem,
            seen: Arc::clone(&seen),
        };
        let mut configs = HashMap::new();
        for (name, _) in names {
            let subject = LeafSubject::Name(HostName::parse(name)?);
            let leaf = authority.mint(&subject, now)?.certified_key()?;
            let config = net_tls::guest_config(leaf, vec![b"http/1.1".to_vec()], net_tls::system_clock());
            configs.insert((*name).to_owned(), config);
        }
        tokio::task::spawn_local(serve_https(https, configs, Arc::clone(&seen)));
        tokio::task::spawn_local(serve_http(http, seen));
        let zone = names.iter().map(|(name, address)| (format!("{name}."), *address)).collect();
        tokio::task::spawn_local(serve_dns(dns, zone));
        Ok(upstream)
    }

    /// Takes what was seen since the last call.
    pub(crate) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("no server panics"))
    }
}

async fn serve_https(listener: TcpListener, configs: HashMap<String, Arc<rustls::ServerConfig>>, seen: Seen) {
    let configs = Arc::new(configs);
    while let Ok((stream, _)) = listener.accept().await {
        let (configs, seen) = (Arc::clone(&configs), Arc::clone(&seen));
        tokio::task::spawn_local(async move {
            let acceptor = tokio_rustls::LazyConfigAcceptor::new(Default::default(), stream);
            let Ok(start) = acceptor.await else { return };
            let name = start.client_hello().server_name().unwrap_or_default().to_owned();
            let Some(config) = configs.get(&name) else { return };
            if let Ok(stream) = start.into_stream(Arc::clone(config)).await {
                answer(TokioIo::new(stream), "https", seen).await;
            }
        });
    }
}

async fn serve_http(listener: TcpListener, seen: Seen) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        tokio::task::spawn_local(
            async move { answer(TokioIo::<TcpStream>::new(stream), "http", seen).await },
        );
    }
}

async fn answer<S>(stream: TokioIo<S>, scheme: &'static str, seen: Seen)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let header = |name: &str| {
                let value = request.headers().get(name).map(|value| value.as_bytes().to_vec());
                String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
            };
            let authorization = header("authorization");
            let line = format!("{scheme} {}{} authorization: {authorization}", header("host"), request.uri());
            seen.lock().expect("no server panics").push(line);
            // The body is read to its end, so that what arrives is what counts.
            let _ = request.into_body().collect().await;
            // Who shows credentials gets them back, as from any server that reflects a request.
            let text = match authorization.as_str() {
                "" => "hello from upstream\n".to_owned(),
                shown => format!("upstream got {shown}\n"),
            };
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        }
    });
    // A client that leaves early is no concern of the demo.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
}

async fn serve_dns(socket: UdpSocket, zone: HashMap<String, Ipv4Addr>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(question) = query.queries.first().cloned() else { continue };
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.metadata.message_type = MessageType::Response;
        reply.metadata.recursion_desired = query.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        match zone.get(&question.name().to_string().to_ascii_lowercase()) {
            Some(address) if question.query_type() == hickory_proto::rr::RecordType::A => {
                let record = Record::from_rdata(question.name().clone(), 60, RData::A(A(*address)));
                reply.add_answer(record);
            }
            Some(_) => {}
            None => reply.metadata.response_code = ResponseCode::NXDomain,
        }
        if let Ok(bytes) = reply.to_vec() {
            // A resolver that cannot answer is one that times out.
            let _ = socket.send_to(&bytes, client).await;
        }
    }
}

/// A loopback port on which nobody listens.
pub(crate) async fn closed_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    drop(listener);
    // The port stays free for a while: ephemeral ports are handed out in a wide cycle.
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(address)
}
