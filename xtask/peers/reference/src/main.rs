//! The reference engine, driven through its public backend: `reference COMMAND…` runs the command in a
//! network namespace whose only way out it is. With `--tls TRUST UPSTREAM_CA PORTS` in front it opens TLS
//! on PORTS, and writes whom the command must trust to TRUST; with `--secret HOST` behind that it has one secret
//! for that host, in heads as by default, and with `--body-secret HOST` one that may stand in bodies too.

mod guest;
mod tap;

use std::env;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use microsandbox_network::config::ResolvedNetworkConfig;
use microsandbox_network::network::SmoltcpNetwork;
use microsandbox_network::policy::NetworkPolicy;
use microsandbox_types::DeploymentProfile;
use msb_krun::backends::net::{NetBackend, ReadError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use crate::guest::Guest;
use crate::tap::{HEADER_BYTES, MAX_FRAME_BYTES, Tap};

fn main() -> Result<ExitCode> {
    let mut arguments = env::args().skip(1).peekable();
    let tls = if arguments.next_if(|word| word == "--tls").is_some() {
        let mut next = || arguments.next().context("usage: reference --tls TRUST UPSTREAM_CA PORTS COMMAND…");
        Some((next()?, next()?, next()?))
    } else {
        None
    };
    let secret = match arguments.next_if(|word| word == "--secret" || word == "--body-secret") {
        Some(word) => {
            let host = arguments.next().context("usage: reference … [--secret|--body-secret] HOST COMMAND…")?;
            Some((host, word == "--body-secret"))
        }
        None => None,
    };
    let command: Vec<String> = arguments.collect();

    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("two providers"))?;
    let mut config = json!({ "policy": NetworkPolicy::allow_all() });
    if let Some((_, upstream_ca, ports)) = &tls {
        let ports = ports.split(',').map(str::parse::<u16>).collect::<Result<Vec<_>, _>>()?;
        config["tls"] =
            json!({ "enabled": true, "intercepted_ports": ports, "upstream_ca_cert": [upstream_ca] });
    }
    if let Some((host, in_bodies)) = secret {
        config["secrets"] = json!({ "secrets": [{
            "env_var": "KEY",
            "value": "the-real-value",
            "placeholder": "placeholder_of_the_real_value",
            "allowed_hosts": [{ "exact": host }],
            "substitution": { "body": in_bodies },
        }] });
    }
    let config = ResolvedNetworkConfig::new(serde_json::from_value(config)?, None);
    let mut network = SmoltcpNetwork::new(config, 1, DeploymentProfile::SingleTenant)?;
    let trust = tls.map(|(trust, _, _)| trust);
    if let Some(trust) = &trust {
        fs::write(trust, network.ca_cert_pem().context("it has no authority")?)?;
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    network.start(runtime.handle().clone());
    let backend = network.take_backend();
    let guest = Guest::new(&network.guest_bootstrap_network(), trust)?;

    // A thread of its own enters the guest's namespace; this one stays where the engine dials from.
    let (sender, opened) = mpsc::channel();
    let running = thread::spawn(move || guest.run(&command, &sender));
    if let Ok(tap) = opened.recv() {
        thread::spawn(move || bridge(&tap, backend));
    }
    let status = running.join().map_err(|_| anyhow!("the guest's thread panicked"))??;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// What a virtual machine's network device does: frames from the guest into the backend, and back.
fn bridge(tap: &Tap, mut backend: Box<dyn NetBackend + Send>) -> Result<()> {
    let mut buffer = vec![0; HEADER_BYTES + MAX_FRAME_BYTES];
    loop {
        let mut moved = false;
        while let Some(length) = tap.read(&mut buffer)? {
            backend.write_frame(HEADER_BYTES, &mut buffer[..length]).map_err(|error| anyhow!("{error:?}"))?;
            moved = true;
        }
        loop {
            match backend.read_frame(&mut buffer) {
                Ok(length) => tap.write(&buffer[..length])?,
                Err(ReadError::NothingRead) => break,
                Err(error) => return Err(anyhow!("{error:?}")),
            }
            moved = true;
        }
        if !moved {
            // SAFETY: the backend keeps its descriptor open for as long as it lives.
            let wake = unsafe { BorrowedFd::borrow_raw(backend.raw_socket_fd()) };
            let mut waited = [tap.as_fd(), wake].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            poll(&mut waited, PollTimeout::NONE)?;
        }
    }
}
