use net_core::{Flow, HostName};
use net_secrets::Destination;

use super::{BoundRule, Proof};
use crate::core::FlowId;

/// What is known of a stream when its content is looked into.
#[derive(Clone, Debug)]
pub(crate) struct StreamInfo {
    pub(crate) id: FlowId,
    pub(crate) flow: Flow,
    /// The server_name.
    pub(crate) name: Option<HostName>,
    /// The rule that allowed the stream; every request on it must lead to the same.
    pub(crate) rule: Option<BoundRule>,
    /// What upstream has proved by its certificate.
    pub(crate) proof: Proof,
}

impl StreamInfo {
    /// A stream whose upstream has proved nothing yet.
    pub(crate) fn new(id: FlowId, flow: Flow, name: Option<HostName>, rule: Option<BoundRule>) -> Self {
        Self { id, flow, name, rule, proof: Proof::default() }
    }

    /// Where a request for `host` goes on this stream: verified only if upstream's certificate has
    /// proved that very name.
    pub(crate) fn destination<'d>(&self, host: Option<&'d HostName>) -> Destination<'d> {
        let is_verified = host.is_some_and(|host| self.proof.is_of(host));
        Destination { host, port: self.flow.upstream.port(), is_verified }
    }
}
