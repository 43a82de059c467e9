//! Proxies of SOCKS 5 and of HTTP, which note what they are asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use net_engine::{Proxy, ProxyCredentials};
use net_secrets::SecretValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Identity;
use crate::wire::read_until;

pub(crate) const USER: &str = "m1ck";
pub(crate) const PASSWORD: &str = "pa55-w0rd";

/// What a proxy was asked for, in order.
pub(crate) type Asked = Rc<RefCell<Vec<String>>>;

/// A proxy: who leads where, and what it answers for whom it does not know.
pub(crate) struct ProxyServer {
    pub(crate) leads: HashMap<String, SocketAddr>,
    /// What it says in place of a connection.
    pub(crate) answer: &'static [u8],
    /// Whether it wants to know who asks.
    pub(crate) wants_password: bool,
    /// What is said behind its answer, with the same packet.
    pub(crate) early: &'static [u8],
    pub(crate) asked: Asked,
}

impl ProxyServer {
    pub(crate) fn new(leads: &[(&str, SocketAddr)]) -> Self {
        let leads = leads.iter().map(|(target, to)| ((*target).to_owned(), *to)).collect();
        Self { leads, answer: b"", wants_password: false, early: b"", asked: Asked::default() }
    }

    /// Serves one of `scheme`; where it is, and what it is asked for.
    pub(crate) async fn start(self, scheme: &'static str, identity: Option<&Identity>) -> (Proxy, Asked) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked = Rc::clone(&self.asked);
        let acceptor = identity.map(|identity| identity.acceptor("proxy.example", ""));
        let server = Rc::new(self);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, acceptor) = (Rc::clone(&server), acceptor.clone());
                tokio::task::spawn_local(async move {
                    match acceptor {
                        None => server.serve(scheme, stream).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => server.serve(scheme, stream).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        let url = format!("{scheme}://proxy.example:{}", at.port()).parse().unwrap();
        (Proxy::new(url, vec![at]), asked)
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, scheme: &str, mut stream: S) -> Option<()> {
        let target = if scheme.starts_with("socks") {
            self.socks(&mut stream).await?
        } else {
            self.connect(&mut stream).await?
        };
        self.asked.borrow_mut().push(target.clone());
        let is_socks = scheme.starts_with("socks");
        let Some(to) = self.leads.get(&target) else {
            stream.write_all(self.answer).await.ok()?;
            let _ = stream.read(&mut [0; 1]).await;
            return None;
        };
        let mut upstream = TcpStream::connect(to).await.ok()?;
        let open: &[u8] = if is_socks {
            b"\x05\0\0\x01\0\0\0\0\0\0"
        } else {
            b"HTTP/1.1 200 Connection established\r\n\r\n"
        };
        stream.write_all(&[open, self.early].concat()).await.ok()?;
        copy_bidirectional(&mut stream, &mut upstream).await.ok()?;
        Some(())
    }

    async fn socks<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Option<String> {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.ok()?;
        let mut methods = vec![0; usize::from(head[1])];
        stream.read_exact(&mut methods).await.ok()?;
        if self.wants_password {
            if !methods.contains(&2) {
                stream.write_all(b"\x05\xff").await.ok()?;
                return None;
            }
            stream.write_all(b"\x05\x02").await.ok()?;
            let expected = [&[1, 4][..], USER.as_bytes(), &[9], PASSWORD.as_bytes()].concat();
            let mut given = vec![0; expected.len()];
            stream.read_exact(&mut given).await.ok()?;
            stream.write_all(&[1, u8::from(given != expected)]).await.ok()?;
            if given != expected {
                return None;
            }
        } else {
            stream.write_all(b"\x05\0").await.ok()?;
        }
        let mut request = [0; 4];
        stream.read_exact(&mut request).await.ok()?;
        assert_eq!(request[..3], [5, 1, 0]);
        let host = match request[3] {
            1 => IpAddr::from(read_array::<4>(stream).await?).to_string(),
            4 => format!("[{}]", Ipv6Addr::from(read_array::<16>(stream).await?)),
            _ => {
                let mut name = vec![0; usize::from(read_array::<1>(stream).await?[0])];
                stream.read_exact(&mut name).await.ok()?;
                String::from_utf8(name).ok()?
            }
        };
        Some(format!("{host}:{}", u16::from_be_bytes(read_array(stream).await?)))
    }

    async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Option<String> {
        let head = read_until(stream, "\r\n\r\n").await;
        // m1ck:pa55-w0rd
        let knows = head.contains("Proxy-Authorization: Basic bTFjazpwYTU1LXcwcmQ=\r\n");
        if self.wants_password && !knows {
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.ok()?;
            return None;
        }
        let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
        assert!(head.contains(&format!("Host: {target}\r\n")), "{head}");
        Some(target)
    }
}

async fn read_array<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

pub(crate) fn credentials(password: &str) -> ProxyCredentials {
    let value = |text: &str| SecretValue::new(text.into());
    ProxyCredentials::new(value(USER), value(password)).unwrap()
}
