use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use net_core::{Flow, HostName, Limits};
use net_policy::{VirtualAddresses, VirtualPools};

use super::Context;

/// Real addresses of a name that one flow tries; each has its share of the time a dial may take.
const MAX_TRIED: usize = 4;

/// The addresses that stand for names, and the flows to them.
pub(super) struct VirtualFlows {
    pub(super) addresses: VirtualAddresses,
    /// Whether a policy has ever had a use for them. Before that their prefixes are as others; from then on
    /// what is sent there is for a name or for nobody, whatever policies follow.
    is_used: bool,
    carried: HashMap<Flow, Carried>,
}

/// A flow to an address that stands for a name.
struct Carried {
    name: HostName,
    /// Where it leads; `None` where no address of its family is pinned to the name.
    real: Option<IpAddr>,
    /// Where else it may lead.
    untried: VecDeque<IpAddr>,
    holders: usize,
}

/// Whom a flow is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Far {
    /// The address it is sent to.
    Address,
    /// A name, at this address of the name's.
    Name(HostName, Option<IpAddr>),
    /// Nobody: its address stands for no name.
    Nobody,
}

impl VirtualFlows {
    pub(super) fn new(pools: VirtualPools, limits: &Limits, is_used: bool) -> Self {
        let addresses = VirtualAddresses::new(pools, limits.max_virtual_names, limits.pin_grace);
        Self { addresses, is_used, carried: HashMap::new() }
    }

    /// Notes whether a new policy has a use for them.
    pub(super) fn policy_changed(&mut self, has_use: bool) {
        self.is_used |= has_use;
    }

    /// Whether `address` is one of a name's, or of nobody's.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.is_used && self.addresses.contains(address)
    }

    /// Whom a flow is for, which was [entered](Context::enter_virtual) if it is for a name.
    pub(super) fn far(&self, flow: &Flow) -> Far {
        if !self.contains(flow.upstream.ip()) {
            return Far::Address;
        }
        match self.carried.get(flow) {
            Some(carried) => Far::Name(carried.name.clone(), carried.real),
            None => Far::Nobody,
        }
    }
}

/// A flow to an address that stands for a name: while this lives the address means no other name, and what
/// is pinned to the name at the real address does not expire.
pub(crate) struct VirtualFlow {
    context: Rc<Context>,
    flow: Flow,
}

impl Drop for VirtualFlow {
    fn drop(&mut self) {
        self.context.leave_virtual(&self.flow);
    }
}

impl Context {
    /// Finds whom a flow is for, before it is decided; `None` where its address stands for no name. Of the
    /// name's addresses the first that the policy allows is taken.
    pub(crate) fn enter_virtual(self: &Rc<Self>, flow: &Flow) -> Option<VirtualFlow> {
        let address = flow.upstream.ip();
        let entered = || VirtualFlow { context: Rc::clone(self), flow: *flow };
        let mut flows = self.virtual_flows.borrow_mut();
        if !flows.contains(address) {
            return None;
        }
        if let Some(carried) = flows.carried.get_mut(flow) {
            carried.holders += 1;
            return Some(entered());
        }
        let name = flows.addresses.name_of(address)?.clone();
        drop(flows);
        let pinned: Vec<IpAddr> = self.with_policy(|_, pins, _| {
            let of_family = |real: &IpAddr| real.is_ipv4() == address.is_ipv4();
            pins.addresses_of(&name, Instant::now()).filter(of_family).collect()
        });
        let may_be_tried = |real: &&IpAddr| self.is_allowed_at(flow, **real, &name);
        let mut untried: VecDeque<IpAddr> =
            pinned.iter().filter(may_be_tried).take(MAX_TRIED).copied().collect();
        // Where none is allowed, one says why.
        let real = untried.pop_front().or_else(|| pinned.first().copied());
        let mut flows = self.virtual_flows.borrow_mut();
        flows.addresses.hold(address);
        flows.carried.insert(*flow, Carried { name, real, untried, holders: 1 });
        drop(flows);
        self.hold_pins(real);
        Some(entered())
    }

    fn leave_virtual(&self, flow: &Flow) {
        let mut flows = self.virtual_flows.borrow_mut();
        let Some(carried) = flows.carried.get_mut(flow) else { return };
        carried.holders -= 1;
        if carried.holders > 0 {
            return;
        }
        let real = carried.real;
        flows.carried.remove(flow);
        flows.addresses.release(flow.upstream.ip(), Instant::now());
        drop(flows);
        self.release_pins_of(real);
    }

    /// The name that a flow's address stands for, while it is entered.
    pub(crate) fn virtual_name(&self, flow: &Flow) -> Option<HostName> {
        match self.virtual_flows.borrow().far(flow) {
            Far::Name(name, _) => Some(name),
            Far::Address | Far::Nobody => None,
        }
    }

    /// The real address that a flow to a name's own address leads to.
    pub(super) fn real_address(&self, flow: &Flow) -> Option<IpAddr> {
        match self.virtual_flows.borrow().far(flow) {
            Far::Name(_, real) => real,
            Far::Address | Far::Nobody => None,
        }
    }

    /// Has a flow lead to the next address of its name that is allowed, if there is one.
    pub(super) fn try_next(&self, flow: &Flow) -> bool {
        loop {
            let mut flows = self.virtual_flows.borrow_mut();
            let Some(carried) = flows.carried.get_mut(flow) else { return false };
            let Some(next) = carried.untried.pop_front() else { return false };
            let previous = carried.real.replace(next);
            let name = carried.name.clone();
            drop(flows);
            self.hold_pins(Some(next));
            self.release_pins_of(previous);
            // The policy, or the pin, may have changed since the flow was entered.
            if self.is_allowed_at(flow, next, &name) {
                return true;
            }
        }
    }

    pub(super) fn untried(&self, flow: &Flow) -> u32 {
        let flows = self.virtual_flows.borrow();
        let untried = flows.carried.get(flow).map_or(0, |carried| carried.untried.len());
        u32::try_from(untried).unwrap_or(u32::MAX)
    }

    fn hold_pins(&self, real: Option<IpAddr>) {
        if let Some(real) = real {
            self.with_policy(|_, pins, _| pins.hold(real));
        }
    }

    fn release_pins_of(&self, real: Option<IpAddr>) {
        if let Some(real) = real {
            self.with_policy(|_, pins, _| pins.release(real));
        }
    }

    /// Where a flow is sent as far as names go: a name's own address is none.
    pub(super) fn reached(&self, flow: &Flow) -> SocketAddr {
        let upstream = flow.upstream;
        self.real_address(flow).map_or(upstream, |real| SocketAddr::new(real, upstream.port()))
    }
}
