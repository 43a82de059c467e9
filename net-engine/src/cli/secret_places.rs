//! Where a secret of the configuration file may be used: what the file says, checked.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail};
use net_core::HostPattern;
use net_secrets::{Binding, BodyTypes, ForeignCredentials, HeaderNames, Places};
use serde::Deserialize;

/// The keys of a secret besides who and what it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct PlaceKeys {
    ports: Vec<u16>,
    places: Option<Vec<PlaceKey>>,
    header_names: Option<Vec<String>>,
    body_types: Option<Vec<String>>,
    require_tls_identity: Option<bool>,
    scrub_responses: Option<bool>,
    passthrough: Vec<String>,
    foreign_credentials: CredentialKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlaceKey {
    Headers,
    BasicAuth,
    Query,
    Path,
    Body,
    Trailers,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CredentialKey {
    #[default]
    Keep,
    Strip,
    Block,
}

/// What is changed about a binding.
pub(super) struct Usage {
    ports: Vec<RangeInclusive<u16>>,
    places: Places,
    requires_tls_identity: bool,
    scrubs_responses: bool,
    passthrough: Vec<HostPattern>,
    foreign_credentials: ForeignCredentials,
}

impl PlaceKeys {
    /// # Errors
    /// Names the key of the secret at `place`, and what to do.
    pub(super) fn check(&self, place: &str) -> Result<Usage> {
        if self.ports.contains(&0) {
            bail!("{place}.ports: 0 is no port");
        }
        let pattern = |text: &String| text.parse().with_context(|| format!("{place}.passthrough \"{text}\""));
        Ok(Usage {
            ports: self.ports.iter().map(|port| *port..=*port).collect(),
            places: self.places(place)?,
            requires_tls_identity: self.require_tls_identity.unwrap_or(true),
            scrubs_responses: self.scrub_responses.unwrap_or(true),
            passthrough: self.passthrough.iter().map(pattern).collect::<Result<_>>()?,
            foreign_credentials: match self.foreign_credentials {
                CredentialKey::Keep => ForeignCredentials::Keep,
                CredentialKey::Strip => ForeignCredentials::Strip,
                CredentialKey::Block => ForeignCredentials::Block,
            },
        })
    }

    fn places(&self, place: &str) -> Result<Places> {
        let all = self.places.as_deref().unwrap_or(&[PlaceKey::Headers, PlaceKey::BasicAuth]);
        let has = |key| all.contains(&key);
        if all.is_empty() {
            bail!("{place}.places: name at least one, or leave the key out");
        }
        if !has(PlaceKey::Headers) && (self.header_names.is_some() || has(PlaceKey::Trailers)) {
            bail!("{place}.places: header_names and \"trailers\" are about headers: name \"headers\" too");
        }
        if !has(PlaceKey::Body) && self.body_types.is_some() {
            bail!("{place}.body_types: name \"body\" in places too");
        }
        if self.header_names.as_ref().is_some_and(Vec::is_empty) {
            bail!("{place}.header_names: name at least one, or leave the key out");
        }
        let headers = match &self.header_names {
            Some(names) => HeaderNames::Named(names.clone()),
            None if has(PlaceKey::Headers) => HeaderNames::All,
            None => HeaderNames::None,
        };
        let body = match &self.body_types {
            Some(types) => {
                let parse =
                    |text: &String| text.parse().with_context(|| format!("{place}.body_types \"{text}\""));
                BodyTypes::Named(types.iter().map(parse).collect::<Result<_>>()?)
            }
            None if has(PlaceKey::Body) => BodyTypes::Usual,
            None => BodyTypes::None,
        };
        Ok(Places {
            headers,
            basic_auth: has(PlaceKey::BasicAuth),
            query: has(PlaceKey::Query),
            path: has(PlaceKey::Path),
            body,
            websocket: false,
            trailers: has(PlaceKey::Trailers),
        })
    }
}

impl Usage {
    /// A binding that is used so.
    pub(super) fn apply(self, binding: Binding) -> Binding {
        let Self { ports, places, requires_tls_identity, scrubs_responses, passthrough, foreign_credentials } =
            self;
        Binding {
            ports,
            places,
            requires_tls_identity,
            scrubs_responses,
            passthrough,
            foreign_credentials,
            ..binding
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_what_a_binding_permits() {
        let parse = |text: &str| toml::from_str::<PlaceKeys>(text).expect(text).check("s");
        let usage = parse("").expect("defaults");
        assert_eq!(usage.places, Places::default());
        assert!(usage.requires_tls_identity && usage.scrubs_responses && usage.ports.is_empty());
        let usage = parse(
            "ports = [443]\nplaces = [\"headers\", \"path\", \"body\", \"trailers\"]\nheader_names = [\"x-key\"]\n\
             body_types = [\"application/json\"]\nrequire_tls_identity = false\nscrub_responses = false\n\
             passthrough = [\"log.example\"]\nforeign_credentials = \"block\"",
        )
        .expect("all keys");
        let Places { headers, basic_auth, query, path, body, trailers, .. } = usage.places;
        assert_eq!(headers, HeaderNames::Named(vec!["x-key".to_owned()]));
        assert_eq!((basic_auth, query, path, trailers), (false, false, true, true));
        assert_eq!(body, BodyTypes::Named(vec!["application/json".parse().expect("a type")]));
        assert!(!usage.requires_tls_identity && !usage.scrubs_responses);
        assert_eq!((usage.ports, usage.passthrough.len()), (vec![443..=443], 1));
        assert_eq!(usage.foreign_credentials, ForeignCredentials::Block);
    }

    #[test]
    fn an_error_names_the_key_and_the_remedy() {
        const CASES: &[(&str, &str)] = &[
            ("ports = [0]", "s.ports: 0 is no port"),
            ("places = []", "s.places: name at least one"),
            ("places = [\"trailers\"]", "s.places: header_names and \"trailers\" are about headers"),
            ("places = [\"path\"]\nheader_names = [\"x\"]", "s.places: header_names and"),
            ("header_names = []", "s.header_names: name at least one"),
            ("body_types = [\"text/*\"]", "s.body_types: name \"body\" in places too"),
            ("places = [\"body\"]\nbody_types = [\"text\"]", "s.body_types \"text\""),
            ("passthrough = [\"*\"]", "s.passthrough \"*\""),
        ];
        for (text, expected) in CASES {
            let keys = toml::from_str::<PlaceKeys>(text).expect(text);
            let error = keys.check("s").err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert!(toml::from_str::<PlaceKeys>("places = [\"websocket\"]").is_err(), "not carried");
    }
}
