//! Credentials of the guest's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{VALUE, binding, compile, host};
use crate::{Binding, CredentialVerdict, Destination, ForeignCredentials};

#[test]
fn foreign_credentials_are_left_out_or_refused_where_the_owner_asked() {
    let with = |env: &str, placeholder: &str, host: &str, foreign_credentials| Binding {
        foreign_credentials,
        ..binding(env, placeholder, VALUE, &[host])
    };
    let set = compile(vec![
        with("KEEP", "netsec_keep", "keep.example", ForeignCredentials::Keep),
        with("STRIP", "netsec_strip", ".example", ForeignCredentials::Strip),
        with("BLOCK", "netsec_block", "block.example", ForeignCredentials::Block),
    ])
    .expect("a set");
    let ours = format!("Basic {}", STANDARD.encode("user:netsec_strip"));
    let theirs = format!("Basic {}", STANDARD.encode("user:password"));
    let cases: &[(&str, &str, bool)] = &[
        ("authorization", "Bearer stolen", true),
        ("Authorization", &theirs, true),
        ("authorization", &ours, false),
        ("authorization", "Bearer netsec_strip", false),
        // Another host's placeholder is no credential here, but a violation later.
        ("authorization", "Bearer netsec_other", true),
        ("x-api-key", "anything", true),
        ("Cookie", "session=1", true),
        ("x-custom", "sk-0123456789abcdef0123456789", true),
        ("x-custom", "Token abc", true),
        ("x-custom", "sk-short", false),
        ("accept", "application/json, text/plain", false),
        ("user-agent", "curl/8.0", false),
    ];
    for (to, verdict) in [
        ("a.example", CredentialVerdict::Strip),
        // What a wider pattern asks holds here too.
        ("keep.example", CredentialVerdict::Strip),
        ("block.example", CredentialVerdict::Block),
        ("example.org", CredentialVerdict::Keep),
    ] {
        let name = host(to);
        let to = Destination { host: Some(&name), port: 443, is_verified: true };
        for (field, value, is_foreign) in cases {
            let expected = if *is_foreign { verdict } else { CredentialVerdict::Keep };
            assert_eq!(
                set.judge_credential(&to, field, value.as_bytes()),
                expected,
                "{field}: {value} to {name}"
            );
        }
    }
}
