//! What the embedder hears of decisions.

use std::sync::Arc;

use net_core::{Flow, HostName};
use net_policy::{Decision, DenyReason, Layer, RequestLine, RuleId};
use net_secrets::{Action, Violation};

use super::Context;
use crate::guest::{
    Denial, DeniedRequest, DialError, Event, LeakPlace, RuleLabel, ViolationAction, ViolationReport,
};
use crate::proxy::ProxyError;

impl Context {
    /// Tells the embedder that a flow is carried, if it wants to know.
    pub(crate) fn report_opened(&self, flow: &Flow, name: Option<&HostName>) {
        if self.reports_opened {
            let decision = self.decide(flow, name);
            let why = self.policy.borrow().describe(&decision);
            let (name, real) = (self.named(flow, name.cloned()), self.real_address(flow));
            self.events.push(Event::Opened { flow: *flow, name, real, why });
        }
    }

    /// Whether flows that are opened are events.
    pub(in crate::guest) fn reports_opened(&self) -> bool {
        self.reports_opened
    }

    /// Tells the embedder that a flow was refused.
    pub(crate) fn report_denial(&self, flow: &Flow, name: Option<HostName>, decision: &Decision) {
        let (name, real) = (self.named(flow, name), self.real_address(flow));
        let why = self.denial(decision);
        self.events.push(Event::Denied { flow: *flow, name, real, why });
    }

    /// Tells the embedder that a request was refused.
    pub(crate) fn report_denied_request(
        &self,
        flow: &Flow,
        name: Option<HostName>,
        request: &RequestLine,
        decision: &Decision,
    ) {
        let (name, real) = (self.named(flow, name), self.real_address(flow));
        let (request, why) = (DeniedRequest::of(request), self.denial(decision));
        self.events.push(Event::RequestDenied { flow: *flow, name, real, request, why });
    }

    /// What the embedder, and a guest that may know, hear of a denial.
    pub(crate) fn denial(&self, decision: &Decision) -> Denial {
        match *decision {
            Decision::Deny { rule: Some(rule), reason, layer } => {
                Denial::Rule { rule: self.rule_label(layer, rule, decision), reason }
            }
            Decision::Deny { rule: None, reason, layer } => Denial::Default { reason, layer },
            Decision::NeedName => Denial::NeedName,
            Decision::Allow { rule } | Decision::PerRequest { rule } => {
                Denial::Unnamed(self.rule_label(Layer::Own, rule, decision))
            }
        }
    }

    /// Tells the embedder that a flow is none that is carried, whatever the rules.
    pub(crate) fn report_protocol(&self, flow: &Flow, name: Option<HostName>, why: &'static str) {
        let (name, real) = (self.named(flow, name), self.real_address(flow));
        self.events.push(Event::Denied { flow: *flow, name, real, why: Denial::Protocol(why) });
    }

    /// Tells the embedder that a flow was not reached.
    pub(crate) fn report_dial_failure(&self, flow: &Flow, error: DialError) {
        // What a proxy answered was told with the proxy's name, unless there is none.
        if matches!(error, DialError::Proxy(error) if error != ProxyError::Unknown) {
            return;
        }
        let (name, real) = (self.virtual_name(flow), self.real_address(flow));
        self.events.push(Event::DialFailed { flow: *flow, name, real, error });
    }

    /// The name a flow shows, or that its address stands for.
    fn named(&self, flow: &Flow, shown: Option<HostName>) -> Option<HostName> {
        shown.or_else(|| self.virtual_name(flow))
    }

    /// A rule in words, put there once: denials are as many as a guest likes.
    fn rule_label(&self, layer: Layer, id: RuleId, decision: &Decision) -> RuleLabel {
        // Where none of a flow's requests can be seen the words say so, too.
        let is_unseen = matches!(decision, Decision::Deny { reason: DenyReason::NotHttp, .. });
        let mut labels = self.rule_labels.borrow_mut();
        let text = labels
            .entry((layer, id, is_unseen))
            .or_insert_with(|| self.policy.borrow().describe(decision).into());
        RuleLabel { id, text: Arc::clone(text) }
    }

    /// Tells the embedder that a placeholder was on its way where it may not go, unless its secret says
    /// otherwise; see [`count_violation`](Self::count_violation).
    pub(crate) fn report_violation(
        &self,
        flow: &Flow,
        name: Option<HostName>,
        place: LeakPlace,
        violation: &Violation,
    ) {
        let report = ViolationReport { violation: violation.clone(), place, flow: Some(*flow), name };
        match self.count_violation(&report) {
            Action::Block => {}
            Action::BlockAndLog | Action::BlockAndTerminate => {
                let why = violation.to_string();
                self.events.push(Event::Violation { flow: *flow, name: report.name, place, why });
            }
        }
    }

    /// Ends the guest where a violation calls for it, by its secret, by how many there were, or by the
    /// guest's own setting; what was due.
    pub(crate) fn count_violation(&self, report: &ViolationReport) -> Action {
        let due = self.violations.borrow_mut().handle_violation(&report.violation);
        let due = match self.on_violation {
            ViolationAction::Block => due,
            ViolationAction::Terminate => Action::BlockAndTerminate,
        };
        if due == Action::BlockAndTerminate {
            // The first one says why; what follows may come before the end.
            self.fatal.borrow_mut().get_or_insert_with(|| report.clone());
            self.terminated.notify_one();
        }
        due
    }
}
