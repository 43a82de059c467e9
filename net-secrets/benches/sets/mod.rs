//! What the benches look for, and in what.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part")]

use bytes::Bytes;
use net_core::HostName;
use net_secrets::{Binding, BodyTypes, Destination, Placeholder, SecretSet, SecretValue};

/// The host every secret is bound to.
pub const HOST: &str = "api.example.com";

/// Secrets with generated placeholders and values as they are handed out: a prefix and 36 letters.
pub fn secrets(count: u8) -> SecretSet {
    set(count, |index| Placeholder::generate([index; 16]))
}

/// The same with placeholders of a user's, which have nothing in common.
pub fn user_secrets(count: u8) -> SecretSet {
    set(count, |index| {
        let text = String::from_utf8(value(index.wrapping_mul(31))).expect("letters");
        Placeholder::from_user(&text).expect("a placeholder")
    })
}

fn set(count: u8, placeholder: impl Fn(u8) -> Placeholder) -> SecretSet {
    let bindings = (0..count).map(|index| {
        let hosts = vec![HOST.parse().expect("a pattern")];
        let value = SecretValue::new(value(index));
        let mut binding = Binding::new(format!("TOKEN_{index}"), placeholder(index), value, hosts);
        binding.places.body = BodyTypes::Usual;
        binding
    });
    SecretSet::compile(bindings.collect(), *b"a bench!").expect("a set")
}

/// Whom a request with secrets in it goes to.
pub fn destination(host: &HostName) -> Destination<'_> {
    Destination { host: Some(host), port: 443, is_verified: true }
}

/// The value of one of them.
pub fn value(index: u8) -> Vec<u8> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = u64::from(index) + 1;
    let letters = (0..40).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        LETTERS[(state >> 33) as usize % LETTERS.len()]
    });
    letters.collect()
}

/// `text` over and over, `bytes` long.
pub fn repeat(text: &[u8], bytes: usize) -> Bytes {
    text.iter().copied().cycle().take(bytes).collect()
}

/// Slices of `body`, as a reader hands them out.
pub fn chunks(body: &Bytes, bytes: usize) -> impl Iterator<Item = Bytes> {
    (0..body.len()).step_by(bytes).map(move |at| body.slice(at..body.len().min(at + bytes)))
}
