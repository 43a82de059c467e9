//! The tables: what a guest may see of the network, one subject a file.
//!
//! Names and addresses are those of [`crate::e2e::world`] and the zone in `upstream/dns.py`.

mod authority;
mod bad_input;
mod clients;
mod datagrams;
mod distrust;
mod early_hints;
mod endings;
mod giant;
mod guest;
mod isolation;
mod lines;
mod names;
mod ping;
mod programs;
mod proxies;
mod publish;
mod quic;
mod reach;
mod requests;
mod resolver;
mod secrets;
mod secrets_change;
mod secrets_echo;
mod secrets_end;
mod secrets_memory;
mod shaping;
mod silence;
mod tls;
mod transfer;
mod trust_kit;
mod unconfigured;
mod virtual_ip;
mod with_rights;

use crate::e2e::row::Row;

/// Every row of every table, with the subject of its table.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static Row)> {
    [
        ("silence", silence::ROWS),
        ("reach", reach::ROWS),
        ("names", names::ROWS),
        ("resolver", resolver::ROWS),
        ("virtual_ip", virtual_ip::ROWS),
        ("tls", tls::ROWS),
        ("authority", authority::ROWS),
        ("requests", requests::ROWS),
        ("clients", clients::ROWS),
        ("early_hints", early_hints::ROWS),
        ("distrust", distrust::ROWS),
        ("trust_kit", trust_kit::ROWS),
        ("secrets", secrets::ROWS),
        ("secrets_change", secrets_change::ROWS),
        ("secrets_echo", secrets_echo::ROWS),
        ("secrets_end", secrets_end::ROWS),
        ("secrets_memory", secrets_memory::ROWS),
        ("transfer", transfer::ROWS),
        ("giant", giant::ROWS),
        ("endings", endings::ROWS),
        ("datagrams", datagrams::ROWS),
        ("ping", ping::ROWS),
        ("programs", programs::ROWS),
        ("proxies", proxies::ROWS),
        ("publish", publish::ROWS),
        ("quic", quic::ROWS),
        ("shaping", shaping::ROWS),
        ("guest", guest::ROWS),
        ("unconfigured", unconfigured::ROWS),
        ("isolation", isolation::ROWS),
        ("bad_input", bad_input::ROWS),
    ]
    .into_iter()
    .flat_map(|(subject, rows)| rows.iter().map(move |row| (subject, row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_every_row_expects_something() {
        let mut names = BTreeSet::new();
        for (_, row) in all() {
            assert!(names.insert(row.name), "{} twice", row.name);
            assert!(!row.expect.is_empty(), "{} expects nothing", row.name);
        }
    }
}
