//! What rules let the guest's flows carry.

use net_core::{Flow, HostName, Shaping};
use net_policy::Decision;

use super::Context;
use crate::core::{FlowId, ShapedBy};
use crate::guest::now;

impl Context {
    /// Bounds what the guest may send and receive, from now on.
    pub(crate) fn swap_shaping(&self, shaping: &Shaping) {
        self.stack.shape_link(shaping);
    }

    /// The bound of the rule that allows a flow, for `name` or for its address; `None` where there is none.
    pub(crate) fn shape_of(&self, flow: &Flow, name: Option<&HostName>) -> Option<ShapedBy> {
        if !self.has_shaping.get() {
            return None;
        }
        let rule = match self.decide(flow, name) {
            Decision::Allow { rule } | Decision::PerRequest { rule } => rule,
            Decision::Deny { .. } | Decision::NeedName => return None,
        };
        let (layer, rule, shaping) = self.policy.borrow().shaping(rule)?;
        Some(self.stack.shapers().bound((layer, rule), &shaping))
    }

    /// Puts a session under the bound of the rule that allows it now.
    pub(super) fn shape_session(&self, id: FlowId, flow: &Flow, name: Option<&HostName>) {
        if self.has_shaping.get() {
            let shaped = self.shape_of(flow, name);
            self.stack.shapers().bind(id, shaped, now());
            self.stack.wake_driver();
        }
    }

    /// A session that has ended waits for nothing.
    pub(super) fn unshape_session(&self, id: FlowId) {
        if self.has_shaping.get() {
            self.stack.shapers().bind(id, None, now());
            self.stack.wake_driver();
        }
    }

    /// Puts every session under the bounds of the new rules, after a change of them.
    pub(super) fn reshape_sessions(&self) {
        let had_shaping = self.has_shaping.replace(self.policy.borrow().has_shaping());
        if had_shaping {
            self.stack.shapers().clear();
        }
        if self.has_shaping.get() {
            for (id, flow, name) in self.shown_sessions() {
                self.shape_session(id, &flow, name.as_ref());
            }
        }
        self.stack.wake_driver();
    }
}
