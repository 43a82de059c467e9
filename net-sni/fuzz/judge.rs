//! rustls as a judge of hellos. Included by the fuzz target and by the unit tests.

use rustls::server::Acceptor;

use super::{Judge, Verdict};

pub(crate) const RUSTLS: Judge = |mut bytes| {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok().filter(|read| *read > 0)?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(|name| name.as_bytes().to_vec());
                let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
                return Some(Verdict { name, alpn });
            }
            Ok(None) => {}
            Err(_) => return None,
        }
    }
    None
};
