//! Embedding the engine: attach a guest by its link, watch it, change its policy, stop it.
//!
//! The link here is the in-process pair; a VMM implements [`net_engine::link::Link`] for its own
//! queue instead. Nobody sends frames in this example, so it ends by itself.

use std::time::Duration;

use anyhow::Result;
use net_engine::link::{self, LinkCapabilities};
use net_engine::{Engine, GuestConfig};
use net_policy::{Action, Policy, parse_target};

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(embed())
}

async fn embed() -> Result<()> {
    // One worker thread carries any number of guests; more spread them.
    let engine = Engine::builder().workers(1).build()?;

    // What this guest may reach. Without rules it reaches nothing.
    let policy = Policy::new(vec![parse_target("example.com:443")?.into_rule(Action::Allow)]);
    let config = GuestConfig { policy, ..GuestConfig::default() };

    let capabilities = LinkCapabilities { mtu: 1500, offload: false };
    let (engine_end, guest_end) = link::pair(capabilities, 256);
    // The slot gives the guest addresses that no other guest of this host has.
    let guest = engine.attach(0, Box::new(engine_end), config).await?;
    let addresses = guest.addresses();
    println!("attached: the guest is {} behind {}", addresses.guest_mac, addresses.gateway_mac);

    // Decisions arrive as events; each prints as one line.
    let watched = tokio::time::timeout(Duration::from_millis(100), guest.next_event()).await;
    match watched {
        Ok(Some(event)) => println!("event: {event}"),
        Ok(None) => println!("the guest has stopped"),
        Err(_elapsed) => println!("no events: the guest is quiet"),
    }

    // The policy changes under a running guest; flows it denies are reset before this returns.
    guest.swap_policy(Policy::default()).await?;
    println!("policy swapped: everything is denied now");

    if let Some(counters) = guest.counters().await {
        println!("{} frames in, {} out", counters.frames_received, counters.frames_sent);
    }
    guest.stop().await;
    drop(guest_end);
    println!("stopped: no task, socket or thread of the guest is left");
    Ok(())
}
