//! What the agent answers: a line of JSON.

use serde::{Deserialize, Serialize};

/// The outcome of one order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// A server answered.
    Reached { congestion_control: String },
    /// So did one over TLS, whose certificate is its own or is not.
    TlsReached { is_own: bool },
    /// `up`, `down`, `tls_up` and `tls_down`.
    Moved {
        gbit_per_s: f64,
        /// All that was moved, before and after the window too.
        total_bytes: u64,
        /// Connections that ended before they were told to.
        broken: usize,
    },
    /// `rtt`, `udp_rtt` and `tls_request`.
    Rtt { p50_us: f64, p99_us: f64 },
    /// `ask`: requests that were answered, and those that were not.
    Asked { total: usize, errors: usize, p50_us: f64, p99_us: f64 },
    /// `connect`, `churn` and `tls_handshake`.
    Short { total: usize, per_s: f64, errors: usize, p50_ms: f64, p99_ms: f64 },
    /// `idle`: connections open in all.
    Held { total: usize },
    /// `paced`, as the server saw it.
    Paced(Pace),
    /// `fin`.
    Late { p50_ms: f64, p99_ms: f64 },
    /// `dns`.
    Named { p50_us: f64, p99_us: f64, per_s: f64, lost: usize },
    /// `udp`: what arrived of as many as go, and what was lost of them and of half as many.
    Datagrams { per_s: f64, lost_percent: f64, half_lost_percent: f64 },
    /// `serve`.
    Serving,
    /// `h2`.
    Requests { per_s: f64, errors: usize },
    /// `tls_flood`.
    Flooded {
        per_s: f64,
        /// Names whose handshake was carried to the end.
        carried: usize,
        /// Handshakes with the other name that were not.
        errors: usize,
        idle_p99_ms: f64,
        /// Of the other name beside the others.
        p99_ms: f64,
    },
    /// The order could not be carried out.
    Failed { reason: String },
}

/// What a reader with a pace got.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pace {
    pub(crate) bytes: u64,
    /// From the first byte to the last.
    pub(crate) seconds: f64,
    /// The longest wait for a byte that the pace allowed to be read, the first byte apart.
    pub(crate) longest_gap_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_of_json_with_one_key() {
        const CASES: &[(&str, Answer)] = &[
            (
                r#"{"moved":{"gbit_per_s":0.0,"total_bytes":0,"broken":1}}"#,
                Answer::Moved { gbit_per_s: 0.0, total_bytes: 0, broken: 1 },
            ),
            (r#"{"held":{"total":10}}"#, Answer::Held { total: 10 }),
            (
                r#"{"paced":{"bytes":1,"seconds":2.5,"longest_gap_ms":3.5}}"#,
                Answer::Paced(Pace { bytes: 1, seconds: 2.5, longest_gap_ms: 3.5 }),
            ),
        ];
        for (json, answer) in CASES {
            assert_eq!(serde_json::to_string(answer).expect("it is JSON"), *json);
            assert_eq!(serde_json::from_str::<Answer>(json).expect(json), *answer);
        }
        assert!(serde_json::from_str::<Answer>("net-engine: link Tap, mtu 1500").is_err());
    }
}
