//! `cargo xtask load`

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::load;

/// One end of the load that `bench engine` measures
#[derive(Args)]
pub(crate) struct Load {
    #[command(subcommand)]
    end: End,
}

#[derive(Subcommand)]
enum End {
    /// Listen on these addresses, a port for each habit, until killed
    Serve {
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
    /// Listen on these addresses for HTTP over TLS, until killed
    ServeTls {
        /// PEM of the certificate
        #[arg(long)]
        cert: PathBuf,
        /// PEM of its key
        #[arg(long)]
        key: PathBuf,
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
    /// Read an order a line, carry it out against these servers, answer with a line of JSON
    Agent {
        #[arg(required = true)]
        servers: Vec<IpAddr>,
    },
    /// Send packets to an address, which takes a raw socket, and print how many a second were taken
    Flood {
        #[arg(value_enum)]
        kind: load::Flood,
        to: Ipv4Addr,
        seconds: f64,
    },
    /// Keep a CPU busy until killed
    Spin,
}

impl Load {
    pub(crate) fn run(self) -> Result<()> {
        match self.end {
            End::Serve { addresses } => Ok(load::serve(&addresses)?),
            End::ServeTls { cert, key, addresses } => load::serve_tls(&addresses, &cert, &key),
            End::Agent { servers } => load::agent(servers),
            End::Flood { kind, to, seconds } => {
                println!("{}", load::flood(kind, to, seconds)?);
                Ok(())
            }
            End::Spin => loop {
                std::hint::spin_loop();
            },
        }
    }
}
