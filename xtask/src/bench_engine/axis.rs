//! What is measured.

use clap::ValueEnum;

/// A group of measures that are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Axis {
    /// Upload throughput, 1, 4 and 64 streams, and CPU time
    Up,
    /// Download throughput, 1, 4 and 64 streams, and CPU time
    Down,
    /// Round trips, the CPUs kept awake
    Rtt,
    /// Round trips on a machine that sleeps between them
    RttIdle,
    /// Round trips beside a download
    RttLoaded,
    /// Short connections a second and their CPU time, 1, 8 and 64 clients
    Connect,
    /// Names from the system's cache, one after the other and as many as go
    Dns,
    /// Datagrams of 64 and 1400 bytes a second, what is lost of half as many, and round trips
    Udp,
    /// Connections to a published port a second, and throughput (ours, pasta, and no engine at all)
    Publish,
    /// Download beside idle flows, and their memory (ours alone)
    Idle,
    /// Uploads to a slow server (ours alone)
    Paced,
    /// How late the end of a quiet stream arrives (ours alone)
    Fin,
    /// A million short connections, and what they leave behind (ours alone, once)
    Churn,
    /// Requests beside floods of datagrams, echoes, SYNs and fragments, and memory (ours, and no engine at all)
    Flood,
    /// 1, 10 and 100 guests in one process, and one beside a noisy one (ours alone)
    Guests,
    /// TLS: full handshakes and resumed ones a second, 1 and 8 clients
    TlsHandshake,
    /// TLS: requests on a warm connection, and what they take longer than spliced ones
    TlsRequest,
    /// TLS: upload and download throughput, and CPU time
    TlsBulk,
    /// TLS: upload throughput, of a stated length and in chunks, with ten secrets that may stand in the body, with one
    /// in the reference, in heads alone and in bodies, and with none
    TlsSecrets,
    /// TLS: requests of HTTP/2 a second, 100 streams
    TlsH2,
    /// TLS: 100,000 names of one guest, and another client meanwhile (ours, and no engine at all)
    TlsFlood,
}

impl Axis {
    /// Those on which all systems are compared.
    const COMPARED: [Self; 9] = [
        Self::Up,
        Self::Down,
        Self::Rtt,
        Self::RttIdle,
        Self::RttLoaded,
        Self::Connect,
        Self::Dns,
        Self::Udp,
        Self::Publish,
    ];
    /// Those on which only ours is measured.
    const ALONE: [Self; 6] = [Self::Idle, Self::Paced, Self::Fin, Self::Churn, Self::Flood, Self::Guests];

    /// Those on which what opens TLS is measured.
    pub(crate) const TLS: [Self; 6] =
        [Self::TlsHandshake, Self::TlsRequest, Self::TlsBulk, Self::TlsSecrets, Self::TlsH2, Self::TlsFlood];

    /// The chosen ones of those on which systems that open TLS are compared.
    pub(super) fn tls_compared(chosen: &[Self]) -> Vec<Self> {
        Self::TLS.into_iter().filter(|axis| *axis != Self::TlsFlood && chosen.contains(axis)).collect()
    }

    /// Whether it is one of [`TLS`](Self::TLS).
    pub(super) fn is_tls(self) -> bool {
        Self::TLS.contains(&self)
    }

    /// The chosen ones of those that compare; none chosen means all.
    pub(crate) fn compared(chosen: &[Self]) -> Vec<Self> {
        select(&Self::COMPARED, chosen)
    }

    /// The chosen ones of those that do not; none chosen means all.
    pub(crate) fn alone(chosen: &[Self]) -> Vec<Self> {
        select(&Self::ALONE, chosen)
    }
}

fn select(all: &[Axis], chosen: &[Axis]) -> Vec<Axis> {
    all.iter().copied().filter(|axis| chosen.is_empty() || chosen.contains(axis)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_choice_is_every_axis_and_a_choice_is_kept_in_order() {
        assert_eq!(Axis::compared(&[]), Axis::COMPARED);
        assert_eq!(Axis::alone(&[]), Axis::ALONE);
        let chosen = [Axis::Fin, Axis::Down, Axis::Up];
        assert_eq!(Axis::compared(&chosen), [Axis::Up, Axis::Down]);
        assert_eq!(Axis::alone(&chosen), [Axis::Fin]);
        assert_eq!(Axis::value_variants().len(), Axis::COMPARED.len() + Axis::ALONE.len() + Axis::TLS.len());
        assert_eq!(Axis::tls_compared(&chosen), []);
        assert_eq!(Axis::tls_compared(&[Axis::TlsFlood, Axis::TlsH2]), [Axis::TlsH2]);
    }
}
