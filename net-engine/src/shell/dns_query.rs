use std::net::SocketAddr;
use std::rc::Rc;

use net_core::Flow;

use crate::core::Unreachable;
use crate::dns::{Lookups, answer_datagram};
use crate::guest::{Context, DnsPlace};

/// A DNS query on its way, in a datagram of the guest's.
pub(super) struct DnsQuery {
    guest: SocketAddr,
    /// The resolver the guest asked: the answer comes from it.
    asked: SocketAddr,
    message: Vec<u8>,
    _place: DnsPlace,
}

impl DnsQuery {
    /// The query in a datagram, or what the guest is told instead.
    pub(super) fn of(context: &Context, flow: &Flow, payload: &[u8]) -> Result<Self, Unreachable> {
        let _place = context.enter_dns_query().ok_or(Unreachable::Host)?;
        Ok(Self { guest: flow.guest, asked: flow.upstream, message: payload.to_vec(), _place })
    }

    /// Answers it in a task of the guest's thread.
    pub(super) fn answer(self, lookups: Rc<Lookups>) {
        tokio::task::spawn_local(async move {
            let stack = &lookups.context.stack;
            let max_bytes = stack.with(|gateway| gateway.max_datagram_bytes(self.asked.is_ipv6()));
            let answer = answer_datagram(&lookups, &self.message, max_bytes).await;
            if let Some(answer) = answer {
                stack.push_datagram(self.asked, self.guest, &answer).await;
            }
        });
    }
}
