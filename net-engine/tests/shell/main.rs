//! The engine around the gateway: sessions, HTTP, policy changes. A guest in this process, servers
//! on loopback, real time; deadlines say only that something happens at all.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot be set up fails")]

mod again;
mod authority;
mod caps;
mod codings;
mod denials;
mod dns;
mod gone;
#[allow(dead_code, reason = "the demo needs more of its guest than these tests do")]
#[path = "../../examples/demo/guest.rs"]
mod guest;
mod host_ports;
mod http;
mod http2;
mod http2_ends;
mod inner;
mod interim;
mod new_names;
mod old_servers;
mod places;
mod policy;
mod proxies;
mod proxy_server;
mod publish;
mod quic;
mod quic_client;
mod relay;
mod requests;
mod resets;
mod resolver;
mod secrets;
#[allow(dead_code, reason = "other tests need more of it")]
mod server;
mod shaping;
mod streaming;
mod swap;
mod tls;
mod tls_ends;
mod udp;
#[allow(dead_code, reason = "the demo needs more of its servers than these tests do")]
#[path = "../../examples/demo/upstream.rs"]
mod upstream;
mod upstreams;
mod versions;
mod violations;
mod virtual_ip;
mod warm;
mod websocket;
mod wire;
mod world;
