//! The guest: a command in a namespace of its own.

use std::process::{Command, ExitStatus};
use std::sync::mpsc::Sender;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};

use crate::tap::Tap;

const DEVICE: &str = "eth0";

/// What the engine says of its guest, and the file of whom it must trust, if it is to trust anybody new.
pub struct Guest {
    mac: String,
    mtu: u16,
    address: String,
    gateway: String,
    trust: Option<String>,
}

impl Guest {
    pub fn new(
        network: &microsandbox_protocol::bootstrap::BootstrapNetwork,
        trust: Option<String>,
    ) -> Result<Self> {
        let v4 = network.ipv4.as_ref().context("the host has no route for IPv4")?;
        Ok(Self {
            mac: network.mac.map(|byte| format!("{byte:02x}")).join(":"),
            mtu: network.mtu,
            address: format!("{}/{}", v4.address, v4.prefix_len),
            gateway: v4.gateway.to_string(),
            trust,
        })
    }

    /// Enters a new namespace with the calling thread, hands its device out, and runs `command` there.
    pub fn run(self, command: &[String], opened: &Sender<Tap>) -> Result<ExitStatus> {
        unshare(CloneFlags::CLONE_NEWNET).context("no namespace for the guest")?;
        let _ = opened.send(Tap::open(DEVICE)?);
        let Self { mac, mtu, address, gateway, trust } = self;
        let script = format!(
            "ip link set lo up
             ip link set {DEVICE} address {mac} mtu {mtu} up
             ip address add {address} dev {DEVICE}
             ip route add default via {gateway}"
        );
        if !Command::new("sh").args(["-euc", &script]).status()?.success() {
            bail!("the guest's network cannot be set up");
        }
        let (program, rest) = command.split_first().context("no command")?;
        let trust = trust.map(|file| ("SSL_CERT_FILE", file));
        Ok(Command::new(program).args(rest).envs(trust).status()?)
    }
}
