use std::rc::Rc;

use net_core::HostName;

use super::Context;
use crate::core::FlowId;

/// A name that a running request of a session shows: until it is dropped, a policy that denies the
/// name ends the session.
pub(crate) struct ShownName {
    context: Rc<Context>,
    id: FlowId,
    name: HostName,
}

impl ShownName {
    pub(crate) fn new(context: &Rc<Context>, id: FlowId, name: HostName) -> Self {
        context.show_name(id, &name);
        Self { context: Rc::clone(context), id, name }
    }

    pub(crate) fn name(&self) -> &HostName {
        &self.name
    }
}

impl Drop for ShownName {
    fn drop(&mut self) {
        self.context.hide_name(self.id, &self.name);
    }
}
