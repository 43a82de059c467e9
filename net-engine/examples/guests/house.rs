//! An engine, an upstream on loopback, and how guests come to them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result};
use net_engine::link::LinkCapabilities;
use net_engine::{Engine, GuestConfig};
use net_policy::{Action, Policy, parse_target};

use crate::cable::{CableGuest, cable};
use crate::guest::MTU;

/// Where guests connect to; it is dialled on loopback.
pub(crate) const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(9, 9, 9, 10), 7);

/// Where guests live.
pub(crate) struct House {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    pub(crate) listener: TcpListener,
    /// On the same port. What comes is not read: the kernel drops what it has no room for.
    _datagrams: UdpSocket,
    slots: u64,
}

/// A guest that has started.
pub(crate) struct Tenant {
    pub(crate) cable: CableGuest,
    pub(crate) handle: net_engine::Guest,
}

impl House {
    pub(crate) fn build(workers: usize) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let datagrams = UdpSocket::bind(listener.local_addr()?)?;
        let engine = Engine::builder().workers(workers).build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { engine, runtime, listener, _datagrams: datagrams, slots: 0 })
    }

    /// Attaches the next guest and waits until it has started.
    pub(crate) fn attach(&mut self) -> Result<Tenant> {
        let (link, cable) = cable(LinkCapabilities { mtu: MTU, offload: true });
        let (slot, config) = (self.slots, self.config()?);
        self.slots += 1;
        let handle = self.runtime.block_on(async {
            let handle = self.engine.attach(slot, Box::new(link), config).await?;
            // Whoever has answered has started.
            handle.counters().await.context("the guest has stopped")?;
            anyhow::Ok(handle)
        })?;
        Ok(Tenant { cable, handle })
    }

    fn config(&self) -> Result<GuestConfig> {
        let server = SocketAddr::new(IpAddr::V4(SERVER.0), SERVER.1);
        let rule = parse_target(&server.to_string())?.into_rule(Action::Allow);
        Ok(GuestConfig {
            policy: Policy::new(vec![rule]),
            redirects: HashMap::from([(server, self.listener.local_addr()?)]),
            ..GuestConfig::default()
        })
    }
}
