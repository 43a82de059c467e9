//! The command's environment: the caller's without secrets and without what lends an identity.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use net_tls::{TRUST_VARIABLES, TrustFile, TrustVariable};

use super::plan::Plan;

/// Sockets and sessions that act as the caller, or outside of the sandbox: a command nobody trusts
/// is not told of them.
const LENT_IDENTITIES: &[&str] = &[
    // Keys and passwords.
    "GNOME_KEYRING_CONTROL",
    "GPG_AGENT_INFO",
    "KRB5CCNAME",
    "SSH_AGENT_PID",
    "SSH_AUTH_SOCK",
    "VSCODE_GIT_IPC_HANDLE",
    // Whoever starts processes outside on request; XDG_RUNTIME_DIR leads to most of them.
    "CONTAINER_HOST",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "DOCKER_HOST",
    "NOTIFY_SOCKET",
    "STY",
    "TMUX",
    "VSCODE_IPC_HOOK_CLI",
    "XDG_RUNTIME_DIR",
    // The screen and the keyboard.
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
];

/// Proxies of the caller: the command cannot reach them, their addresses often hold passwords, and
/// whoever asks a proxy shows the engine the proxy's name alone. The engine needs none.
const PROXIES: &[&str] = &["all_proxy", "ftp_proxy", "http_proxy", "https_proxy", "no_proxy"];

/// Leads to the authority's certificate alone: what NSS is told, which reads no variable.
pub(super) const AUTHORITY_VARIABLE: &str = "NET_ENGINE_CA_CERT";

/// The caller's environment without secrets, with placeholders and trust.
pub(super) fn of_command(plan: &Plan, trust: Option<&TrustPaths>) -> Vec<(OsString, OsString)> {
    let placeholders: Vec<(OsString, OsString)> =
        plan.guest.secrets.environment().map(|(env, placeholder)| (env.into(), placeholder.into())).collect();
    let trust: Vec<(OsString, OsString)> = trust.map(trust_variables).unwrap_or_default();
    let is_replaced = |name: &OsString| {
        let held_a_secret = name.to_str().is_some_and(|name| plan.removed_variables.contains(name));
        held_a_secret || is_withheld(name) || placeholders.iter().chain(&trust).any(|(own, _)| own == name)
    };
    let mut environment: Vec<_> = std::env::vars_os().filter(|(name, _)| !is_replaced(name)).collect();
    environment.extend(placeholders);
    environment.extend(trust);
    environment
}

/// Where the files of the trust kit are.
pub(super) struct TrustPaths {
    pub(super) bundle: PathBuf,
    pub(super) key_store: PathBuf,
    pub(super) authority: PathBuf,
}

fn trust_variables(paths: &TrustPaths) -> Vec<(OsString, OsString)> {
    let variable = |variable: &TrustVariable| {
        let (path, is_list) = match variable.file {
            TrustFile::KeyStore => (&paths.key_store, true),
            TrustFile::Bundle | _ => (&paths.bundle, false),
        };
        let mut value = OsString::new();
        // Options of the caller's own go first: of two that say the same, the last holds.
        if is_list && let Some(own) = std::env::var_os(variable.name).filter(|own| !own.is_empty()) {
            value.push(own);
            value.push(" ");
        }
        value.push(variable.value(&path.to_string_lossy()));
        (OsString::from(variable.name), value)
    };
    let authority = (AUTHORITY_VARIABLE.into(), paths.authority.clone().into());
    TRUST_VARIABLES.iter().map(variable).chain([authority]).collect()
}

fn is_withheld(name: &OsStr) -> bool {
    // Programs read either case of a proxy's variable.
    let is_proxy = |name: &str| PROXIES.contains(&&*name.to_ascii_lowercase());
    name.to_str().is_some_and(|name| LENT_IDENTITIES.contains(&name) || is_proxy(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withheld_is_documented() {
        const CASES: &[(&str, bool)] = &[
            ("SSH_AUTH_SOCK", true),
            ("XDG_RUNTIME_DIR", true),
            ("HTTPS_PROXY", true),
            ("https_proxy", true),
            ("PATH", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("SSH_AUTH_SOCK2", false),
        ];
        for (name, expected) in CASES {
            assert_eq!(is_withheld(OsStr::new(name)), *expected, "{name}");
        }
        let documentation = include_str!("../../../docs/config.md");
        let trust = TRUST_VARIABLES.iter().map(|variable| &variable.name).chain([&AUTHORITY_VARIABLE]);
        for name in LENT_IDENTITIES.iter().chain(PROXIES).chain(trust) {
            assert!(documentation.contains(&format!("`{name}`")), "docs/config.md does not say {name}");
        }
    }
}
