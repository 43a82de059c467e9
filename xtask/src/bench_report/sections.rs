//! How a report is divided.

/// Figures that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Of its picture's file.
    name: &'static str,
    pub(super) title: &'static str,
    /// How the ids begin that belong here: whole segments.
    ids: &'static [&'static str],
}

impl Section {
    /// The file its picture is in.
    pub(super) fn picture(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// Whether the figure with this id belongs here.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids
            .iter()
            .any(|first| id.strip_prefix(first).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// The sections in the order they stand in; an id belongs to one at most.
pub(super) const SECTIONS: &[Section] = &[
    Section { name: "tcp", title: "Streams", ids: &["tcp", "cpu/up", "cpu/down"] },
    Section {
        name: "rtt",
        title: "Round trips",
        ids: &["rtt", "rtt_p99", "rtt_idle", "rtt_idle_p99", "rtt_loaded", "rtt_loaded_p99"],
    },
    Section {
        name: "connect",
        title: "Short connections",
        ids: &["connect", "connect_p99", "connect_errors", "cpu/connect"],
    },
    Section { name: "dns", title: "Names", ids: &["dns"] },
    Section {
        name: "udp",
        title: "Datagrams",
        ids: &["udp", "udp_lost", "udp_half_lost", "udp_rtt", "udp_rtt_p99"],
    },
    Section { name: "publish", title: "Published ports", ids: &["publish"] },
    Section {
        name: "tls-handshakes",
        title: "TLS: handshakes",
        ids: &["tls/handshake", "tls/handshake_p99", "tls/handshake_errors", "tls/handshake_cpu"],
    },
    Section {
        name: "tls-requests",
        title: "TLS: requests",
        ids: &["tls/request", "tls/added", "tls/h2", "tls/h2_errors"],
    },
    Section { name: "tls-bulk", title: "TLS: streams", ids: &["tls/bulk", "tls/cpu"] },
    Section { name: "tls-flood", title: "TLS: very many names", ids: &["tls/flood"] },
    Section { name: "memory", title: "Memory", ids: &["memory", "tls/memory"] },
    Section { name: "idle", title: "Beside idle flows", ids: &["idle"] },
    Section { name: "paced", title: "Slow servers and ends of streams", ids: &["paced", "gap", "fin"] },
    Section { name: "churn", title: "After very many connections", ids: &["churn"] },
    Section { name: "flood", title: "Beside floods", ids: &["flood"] },
    Section { name: "guests", title: "Many guests", ids: &["guests", "neighbour"] },
    Section { name: "names", title: "Components: names", ids: &["parse", "sniff", "quic_initial"] },
    Section { name: "decisions", title: "Components: decisions", ids: &["compile", "decide", "decide_name"] },
    Section { name: "certificates", title: "Components: certificates", ids: &["mint", "leaf_cache"] },
    Section {
        name: "secrets",
        title: "Components: secrets",
        ids: &["detect", "rewrite_body", "scrub", "substitute_header"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_belongs_to_one_section_by_whole_segments() {
        const CASES: &[(&str, &[&str])] = &[
            ("tcp/up/1/1500", &["tcp"]),
            ("cpu/up/1500", &["tcp"]),
            ("cpu/connect/8/1500", &["connect"]),
            ("rtt_p99/1500", &["rtt"]),
            ("memory/idle/10", &["memory"]),
            ("idle/10/connect", &["idle"]),
            ("tls/flood/100000/rate", &["tls-flood"]),
            ("flood/syn/p99", &["flood"]),
            ("tls/bulk/up_secrets", &["tls-bulk"]),
            ("rewrite_body/no_hit/10secrets", &["secrets"]),
            ("tcpdump/1", &[]),
        ];
        for (id, expected) in CASES {
            let found: Vec<_> =
                SECTIONS.iter().filter(|section| section.has(id)).map(|section| section.name).collect();
            assert_eq!(found, *expected, "{id}");
        }
    }
}
