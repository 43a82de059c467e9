//! What becomes of a flow, as a value: decided here, carried out by `shell/session`, and for datagrams by
//! `shell/udp`.

use net_policy::{Decision, RuleId};

use super::InterceptError;

/// What the policy and the configuration say of a flow at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) decision: Decision,
    /// The same where its requests cannot be seen; another one only beside [`Decision::PerRequest`].
    pub(crate) unseen: Decision,
    /// Whether the rule that allows it, seen or unseen, is for a name.
    pub(crate) rests_on_name: bool,
    /// Whether first flights to its port are read in any case: it is one of TLS or HTTP.
    pub(crate) is_looked_into: bool,
    /// Whether what is allowed by a name must be TLS or HTTP on their ports.
    pub(crate) is_strict: bool,
}

/// Whose silence is borne before the first flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The guest must show a name, whatever upstream says.
    ForName,
    /// The guest has a moment to begin; upstream may speak first.
    ForEither,
    /// The port says nothing of the protocol: the guest may be quiet for as long as on any stream.
    Unhurried,
}

/// How a stream that is neither TLS nor HTTP goes on, or one on which upstream spoke first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opaque<U> {
    /// To this upstream: what was not dialled is never carried.
    Carry(U),
    Deny,
    End(InterceptError),
}

/// How a stream of TLS goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Splice,
    /// Opened, by this rule.
    Intercept(RuleId),
    Deny,
    End(InterceptError),
}

/// How a datagram of a flow that is not carried yet goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datagram {
    Carry,
    /// It is looked into: it may show a name.
    Look,
    Deny,
}

/// How a QUIC connection goes on, or the datagrams of a flow that is not QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quic {
    Carry,
    /// It is refused as if nobody listened: over TCP the client is opened, which datagrams cannot be.
    ToTcp,
    Deny,
    /// The rule rests on a name, and none was shown where one must be.
    NoName,
}

impl Terms {
    /// The first datagram of a flow.
    pub(crate) fn datagram(&self) -> Datagram {
        match self.unseen {
            Decision::Deny { .. } => Datagram::Deny,
            Decision::Allow { .. } | Decision::NeedName if self.must_look() => Datagram::Look,
            Decision::Allow { .. } => Datagram::Carry,
            Decision::PerRequest { .. } | Decision::NeedName => Datagram::Look,
        }
    }

    /// Whether the first flight is read before the stream goes on: by the port, or because the verdict
    /// rests on a name, which the stream must not contradict by one of its own.
    pub(crate) fn must_look(&self) -> bool {
        match self.decision {
            Decision::Allow { .. } => self.is_looked_into || self.rests_on_name,
            Decision::PerRequest { .. } | Decision::NeedName | Decision::Deny { .. } => true,
        }
    }

    /// Whether the stream must be TLS or HTTP: on their ports a verdict by name holds only for what
    /// shows the name, and junk before a request must not buy an opaque relay.
    ///
    /// Nor is anything else carried where only some requests are allowed.
    fn must_show_name(&self) -> bool {
        match (self.decision, self.unseen) {
            (Decision::NeedName, _) | (Decision::PerRequest { .. }, Decision::Deny { .. }) => true,
            (_, Decision::Allow { .. }) => self.is_strict && self.is_looked_into && self.rests_on_name,
            (_, Decision::PerRequest { .. } | Decision::NeedName) => true,
            (_, Decision::Deny { .. }) => false,
        }
    }

    /// Whether pins had a part in the verdict.
    pub(crate) fn rests_on_pins(&self) -> bool {
        self.rests_on_name || matches!(self.decision, Decision::NeedName | Decision::PerRequest { .. })
    }

    /// A QUIC connection; the terms are those of the name it shows, if it shows one. `is_opened` when TLS
    /// to the same port and name would be.
    pub(crate) fn quic(&self, is_opened: bool) -> Quic {
        match self.unseen {
            Decision::Deny { .. } => Quic::Deny,
            Decision::PerRequest { .. } | Decision::NeedName => Quic::NoName,
            Decision::Allow { .. } if is_opened => Quic::ToTcp,
            Decision::Allow { .. } => Quic::Carry,
        }
    }

    /// Datagrams that show no hello.
    pub(crate) fn not_quic(&self) -> Quic {
        match self.unseen {
            Decision::Deny { .. } => Quic::Deny,
            Decision::Allow { .. } if self.must_show_name() => Quic::NoName,
            Decision::Allow { .. } => Quic::Carry,
            Decision::PerRequest { .. } | Decision::NeedName => Quic::NoName,
        }
    }

    /// How to wait for the first flight. Without an upstream nobody else can speak.
    pub(crate) fn wait(&self, is_dialled: bool) -> Wait {
        // Where only HTTP or TLS may go on, it does not matter who speaks first: a server of HTTP/2
        // does.
        if !is_dialled || self.must_show_name() {
            Wait::ForName
        } else if self.is_looked_into {
            Wait::ForEither
        } else {
            Wait::Unhurried
        }
    }

    /// A stream that shows no name, and its upstream where that was dialled.
    pub(crate) fn opaque<U>(&self, upstream: Option<U>) -> Opaque<U> {
        match (self.unseen, upstream) {
            (Decision::Deny { .. }, _) => Opaque::Deny,
            (Decision::Allow { .. }, Some(_)) if self.must_show_name() => Opaque::End(InterceptError::NotTls),
            (Decision::Allow { .. }, Some(upstream)) => Opaque::Carry(upstream),
            (Decision::Allow { .. }, None) | (Decision::PerRequest { .. } | Decision::NeedName, _) => {
                Opaque::End(InterceptError::NoName)
            }
        }
    }

    /// A stream of TLS; the terms are those of the name it shows, if it shows one.
    pub(crate) fn tls(&self, is_opened: bool) -> Tls {
        match (self.decision, self.unseen) {
            (Decision::Allow { rule } | Decision::PerRequest { rule }, _) if is_opened => {
                Tls::Intercept(rule)
            }
            (Decision::NeedName, _) => Tls::End(InterceptError::NoName),
            (Decision::Deny { .. }, _) | (_, Decision::Deny { .. }) => Tls::Deny,
            (_, Decision::Allow { .. }) => Tls::Splice,
            (_, Decision::PerRequest { .. } | Decision::NeedName) => Tls::End(InterceptError::NoName),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net_core::{Direction, Protocol};
    use net_policy::{
        Action, DenyReason, HostAddresses, Layer, NameTable, Policy, Query, UnixTime, parse_target,
    };

    /// Some rule's number.
    fn rule() -> RuleId {
        let policy = Policy::new(vec![parse_target("any").expect("a target").into_rule(Action::Allow)]);
        let decision = policy.decide(&Query {
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            address: [9, 9, 9, 9].into(),
            port: 443,
            name: None,
            pins: &NameTable::new(1, 1),
            hosts: &HostAddresses::default(),
            now: crate::guest::now(),
            wall: UnixTime::default(),
        });
        let Decision::Allow { rule } = decision else { panic!("{decision:?}") };
        rule
    }

    #[test]
    fn every_verdict_on_every_port() {
        let allow = Decision::Allow { rule: rule() };
        let deny = Decision::Deny { rule: None, reason: DenyReason::Default, layer: Layer::Own };
        let not_http = Decision::Deny { rule: None, reason: DenyReason::NotHttp, layer: Layer::Own };
        let some = Decision::PerRequest { rule: rule() };
        let (carry, no_name, not_tls) =
            (Opaque::Carry(()), Opaque::End(InterceptError::NoName), Opaque::End(InterceptError::NotTls));
        // decision, rests on a name, looked into: looks, waits when dialled, opaque when dialled.
        let cases = [
            (allow, false, false, false, Wait::Unhurried, carry),
            (allow, false, true, true, Wait::ForEither, carry),
            (allow, true, false, true, Wait::Unhurried, carry),
            (allow, true, true, true, Wait::ForName, not_tls),
            (Decision::NeedName, false, false, true, Wait::ForName, no_name),
            (Decision::NeedName, false, true, true, Wait::ForName, no_name),
            (deny, false, false, true, Wait::Unhurried, Opaque::Deny),
            (deny, false, true, true, Wait::ForEither, Opaque::Deny),
        ];
        let cases = cases.map(|(decision, by_name, looked_into, looks, wait, opaque)| {
            (decision, decision, by_name, looked_into, looks, wait, opaque)
        });
        // The same where only some requests are allowed, by what is said where none can be seen.
        let per_request = [
            (some, not_http, true, false, true, Wait::ForName, Opaque::Deny),
            (some, not_http, true, true, true, Wait::ForName, Opaque::Deny),
            (some, not_http, false, false, true, Wait::ForName, Opaque::Deny),
            (some, not_http, false, true, true, Wait::ForName, Opaque::Deny),
            (some, allow, false, false, true, Wait::Unhurried, carry),
            (some, allow, false, true, true, Wait::ForEither, carry),
            (some, allow, true, false, true, Wait::Unhurried, carry),
            (some, allow, true, true, true, Wait::ForName, not_tls),
            (some, Decision::NeedName, true, true, true, Wait::ForName, no_name),
        ];
        for case in cases.into_iter().chain(per_request) {
            let (decision, unseen, rests_on_name, is_looked_into, looks, wait, opaque) = case;
            let terms = Terms { decision, unseen, rests_on_name, is_looked_into, is_strict: true };
            assert_eq!(terms.must_look(), looks, "{terms:?}");
            assert_eq!(terms.wait(true), wait, "{terms:?}");
            assert_eq!(terms.opaque(Some(())), opaque, "{terms:?}");
            // Nobody was dialled: only a name helps, and what shows none is never carried.
            assert_eq!(terms.wait(false), Wait::ForName, "{terms:?}");
            assert!(!matches!(terms.opaque(None::<()>), Opaque::Carry(_)), "{terms:?}");
            // Where names are not held to, only what is allowed is carried as bytes besides.
            let lax = Terms { is_strict: false, ..terms };
            let opaque = if opaque == not_tls && unseen == allow { carry } else { opaque };
            assert_eq!(lax.opaque(Some(())), opaque, "{lax:?}");
        }
    }

    #[test]
    fn every_verdict_on_a_datagram() {
        let allow = Decision::Allow { rule: rule() };
        let deny = Decision::Deny { rule: None, reason: DenyReason::Default, layer: Layer::Own };
        // decision, rests on a name, looked into: the first datagram; without a hello; with one, where TLS
        // is passed on and where it is opened.
        let cases = [
            (allow, false, false, Datagram::Carry, Quic::Carry, Quic::Carry, Quic::ToTcp),
            (allow, false, true, Datagram::Look, Quic::Carry, Quic::Carry, Quic::ToTcp),
            (allow, true, false, Datagram::Look, Quic::Carry, Quic::Carry, Quic::ToTcp),
            (allow, true, true, Datagram::Look, Quic::NoName, Quic::Carry, Quic::ToTcp),
            (Decision::NeedName, false, false, Datagram::Look, Quic::NoName, Quic::NoName, Quic::NoName),
            (Decision::NeedName, false, true, Datagram::Look, Quic::NoName, Quic::NoName, Quic::NoName),
            (deny, false, false, Datagram::Deny, Quic::Deny, Quic::Deny, Quic::Deny),
            (deny, false, true, Datagram::Deny, Quic::Deny, Quic::Deny, Quic::Deny),
        ];
        for (decision, rests_on_name, is_looked_into, first, other, passed, opened) in cases {
            let terms = Terms { decision, unseen: decision, rests_on_name, is_looked_into, is_strict: true };
            assert_eq!(terms.datagram(), first, "{terms:?}");
            assert_eq!(terms.not_quic(), other, "{terms:?}");
            assert_eq!(terms.quic(false), passed, "{terms:?}");
            assert_eq!(terms.quic(true), opened, "{terms:?}");
        }
    }

    #[test]
    fn tls_is_opened_only_where_it_is_allowed() {
        let terms = |decision, unseen| Terms {
            decision,
            unseen,
            rests_on_name: true,
            is_looked_into: true,
            is_strict: true,
        };
        let rule = rule();
        let deny = Decision::Deny { rule: None, reason: DenyReason::Default, layer: Layer::Own };
        let cases = [
            (Decision::Allow { rule }, true, Tls::Intercept(rule)),
            (Decision::Allow { rule }, false, Tls::Splice),
            (Decision::NeedName, true, Tls::End(InterceptError::NoName)),
            (Decision::NeedName, false, Tls::End(InterceptError::NoName)),
            (deny, true, Tls::Deny),
            (deny, false, Tls::Deny),
        ];
        for (decision, is_opened, expected) in cases {
            assert_eq!(terms(decision, decision).tls(is_opened), expected, "{decision:?} {is_opened}");
        }
        // Where only some requests are allowed: what is not opened shows none.
        let some = Decision::PerRequest { rule };
        let cases = [
            (deny, true, Tls::Intercept(rule)),
            (deny, false, Tls::Deny),
            (Decision::Allow { rule }, true, Tls::Intercept(rule)),
            (Decision::Allow { rule }, false, Tls::Splice),
            (Decision::NeedName, false, Tls::End(InterceptError::NoName)),
        ];
        for (unseen, is_opened, expected) in cases {
            assert_eq!(terms(some, unseen).tls(is_opened), expected, "{unseen:?} {is_opened}");
        }
    }
}
