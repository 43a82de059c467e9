use std::collections::HashMap;

use net_core::Flow;
use smoltcp::socket::tcp::State;

use super::tcp_flow::{OpenFlow, TcpFlow, TcpState};

/// A TCP flow of one gateway. It never means another flow, even after its slot is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    index: usize,
    generation: u64,
}

#[cfg(any(test, fuzzing))]
impl FlowId {
    /// A flow that no gateway has.
    pub(crate) fn nobody() -> Self {
        Self { index: usize::MAX, generation: 0 }
    }
}

#[cfg(test)]
impl FlowId {
    /// One of several that no gateway has.
    pub(crate) fn numbered(index: usize) -> Self {
        Self { index, generation: 0 }
    }
}

struct Slot {
    generation: u64,
    flow: Option<TcpFlow>,
}

/// Flows by id, and by 5-tuple the newest that has it: a flow that has ended may still be held by whoever
/// carried it when the guest uses its tuple again.
#[derive(Default)]
pub(crate) struct FlowTable {
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    by_tuple: HashMap<Flow, FlowId>,
}

impl FlowTable {
    pub(crate) fn insert(&mut self, flow: TcpFlow) -> FlowId {
        let tuple = flow.tuple;
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, flow: None });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.generation += 1;
        slot.flow = Some(flow);
        let id = FlowId { index, generation: slot.generation };
        self.by_tuple.insert(tuple, id);
        id
    }

    pub(crate) fn id_of(&self, tuple: &Flow) -> Option<FlowId> {
        self.by_tuple.get(tuple).copied()
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&TcpFlow> {
        let slot = self.slots.get(id.index)?;
        if slot.generation == id.generation { slot.flow.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut TcpFlow> {
        let slot = self.slots.get_mut(id.index)?;
        if slot.generation == id.generation { slot.flow.as_mut() } else { None }
    }

    /// Whether the flow's socket is closed for good, both halves.
    pub(crate) fn has_ended(&self, id: FlowId) -> bool {
        match self.get(id).map(|flow| &flow.state) {
            Some(TcpState::Open(open)) => matches!(open.tcp().state(), State::Closed | State::TimeWait),
            Some(TcpState::Held(_) | TcpState::Refused(..)) | None => false,
        }
    }

    /// The flow, if it has a socket.
    pub(crate) fn open_mut(&mut self, id: FlowId) -> Option<&mut OpenFlow> {
        match &mut self.get_mut(id)?.state {
            TcpState::Open(open) => Some(open),
            TcpState::Held(_) | TcpState::Refused(..) => None,
        }
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<TcpFlow> {
        let slot = self.slots.get_mut(id.index)?;
        if slot.generation != id.generation {
            return None;
        }
        let flow = slot.flow.take()?;
        self.vacant.push(id.index);
        if self.by_tuple.get(&flow.tuple) == Some(&id) {
            self.by_tuple.remove(&flow.tuple);
        }
        Some(flow)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = FlowId> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.flow.is_some());
        used.map(|(index, slot)| FlowId { index, generation: slot.generation })
    }
}
