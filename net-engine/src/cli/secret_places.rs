//! Where a secret of the configuration file may be used: what the file says, checked.

use std::fmt;
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail};
use net_secrets::{Binding, BodyTypes, ForeignCredentials, HeaderNames, Places};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// The keys of a secret besides who and what it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct PlaceKeys {
    ports: Vec<PortsKey>,
    places: Option<Vec<PlaceKey>>,
    header_names: Option<Vec<String>>,
    body_types: Option<Vec<String>>,
    require_tls_identity: Option<bool>,
    scrub_responses: Option<bool>,
    foreign_credentials: CredentialKey,
}

/// Ports as they are written: `443`, or `"8000-8080"`.
#[derive(Clone, Debug)]
struct PortsKey(RangeInclusive<u16>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlaceKey {
    Headers,
    BasicAuth,
    Query,
    Path,
    Body,
    #[serde(rename = "websocket")]
    WebSocket,
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

impl<'de> Deserialize<'de> for PortsKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortsVisitor)
    }
}

struct PortsVisitor;

impl PortsVisitor {
    const SHAPE: &'static str = "a port from 1 to 65535, or a range of them in quotes, as in \"8000-8080\"";

    fn one<E: de::Error>(port: Option<u16>) -> Result<PortsKey, E> {
        let port = port.filter(|port| *port != 0).ok_or_else(|| E::custom(Self::SHAPE))?;
        Ok(PortsKey(port..=port))
    }
}

impl Visitor<'_> for PortsVisitor {
    type Value = PortsKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::SHAPE)
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<PortsKey, E> {
        Self::one(u16::try_from(port).ok())
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<PortsKey, E> {
        Self::one(u16::try_from(port).ok())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PortsKey, E> {
        let Some((first, last)) = text.split_once('-') else { return Self::one(text.parse().ok()) };
        let ports = first.parse().ok().zip(last.parse().ok()).map(|(first, last)| first..=last);
        let ports = ports.filter(|ports: &RangeInclusive<u16>| *ports.start() != 0 && !ports.is_empty());
        ports.map(PortsKey).ok_or_else(|| E::custom(Self::SHAPE))
    }
}

/// What is changed about a binding.
pub(super) struct Usage {
    ports: Vec<RangeInclusive<u16>>,
    places: Places,
    requires_tls_identity: bool,
    scrubs_responses: bool,
    foreign_credentials: ForeignCredentials,
}

impl PlaceKeys {
    /// # Errors
    /// Names the key of the secret at `place`, and what to do.
    pub(super) fn check(&self, place: &str) -> Result<Usage> {
        Ok(Usage {
            ports: self.ports.iter().map(|ports| ports.0.clone()).collect(),
            places: self.places(place)?,
            requires_tls_identity: self.require_tls_identity.unwrap_or(true),
            scrubs_responses: self.scrub_responses.unwrap_or(true),
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
            websocket: has(PlaceKey::WebSocket),
            trailers: has(PlaceKey::Trailers),
        })
    }
}

impl Usage {
    /// Whether it is used on this port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&port))
    }

    /// Whether a certificate must have proved the host's name.
    pub(super) fn requires_tls_identity(&self) -> bool {
        self.requires_tls_identity
    }

    /// The places by their words.
    pub(super) fn places(&self) -> String {
        let Places { headers, basic_auth, query, path, body, websocket, trailers } = &self.places;
        let headers = match headers {
            HeaderNames::None => None,
            HeaderNames::All => Some("headers".to_owned()),
            HeaderNames::Named(names) => Some(format!("headers ({})", names.join(", "))),
        };
        let others = [
            (*basic_auth, "basic_auth"),
            (*query, "query"),
            (*path, "path"),
            (*body != BodyTypes::None, "body"),
            (*websocket, "websocket"),
            (*trailers, "trailers"),
        ];
        let others = others.into_iter().filter(|(is_there, _)| *is_there).map(|(_, word)| word.to_owned());
        headers.into_iter().chain(others).collect::<Vec<_>>().join(", ")
    }
    /// A binding that is used so.
    pub(super) fn apply(self, binding: Binding) -> Binding {
        let Self { ports, places, requires_tls_identity, scrubs_responses, foreign_credentials } = self;
        Binding { ports, places, requires_tls_identity, scrubs_responses, foreign_credentials, ..binding }
    }
}

/// Ports and places, and what is unusual about it.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.ports.is_empty() {
            let ports = self.ports.iter().map(|ports| match ports.clone().into_inner() {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            });
            write!(f, "on ports {} ", ports.collect::<Vec<_>>().join(", "))?;
        }
        write!(f, "in {}", self.places())?;
        if !self.requires_tls_identity {
            f.write_str(", without TLS too")?;
        }
        if !self.scrubs_responses {
            f.write_str(", and comes back as it is")?;
        }
        match self.foreign_credentials {
            ForeignCredentials::Keep => Ok(()),
            ForeignCredentials::Strip => f.write_str("; other credentials are stripped there"),
            ForeignCredentials::Block => f.write_str("; other credentials are refused there"),
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
            "ports = [443, \"8000-8080\", \"9000\"]\nplaces = [\"headers\", \"path\", \"body\", \"websocket\", \"trailers\"]\nheader_names = [\"x-key\"]\n\
             body_types = [\"application/json\"]\nrequire_tls_identity = false\nscrub_responses = false\n\
             foreign_credentials = \"block\"",
        )
        .expect("all keys");
        let Places { headers, basic_auth, query, path, body, websocket, trailers } = usage.places;
        assert_eq!(headers, HeaderNames::Named(vec!["x-key".to_owned()]));
        assert_eq!((basic_auth, query, path, websocket, trailers), (false, false, true, true, true));
        assert_eq!(body, BodyTypes::Named(vec!["application/json".parse().expect("a type")]));
        assert!(!usage.requires_tls_identity && !usage.scrubs_responses);
        assert_eq!(usage.ports, [443..=443, 8000..=8080, 9000..=9000]);
        assert_eq!(usage.foreign_credentials, ForeignCredentials::Block);
    }

    #[test]
    fn an_error_names_the_key_and_the_remedy() {
        const CASES: &[(&str, &str)] = &[
            ("places = []", "s.places: name at least one"),
            ("places = [\"trailers\"]", "s.places: header_names and \"trailers\" are about headers"),
            ("places = [\"path\"]\nheader_names = [\"x\"]", "s.places: header_names and"),
            ("header_names = []", "s.header_names: name at least one"),
            ("body_types = [\"text/*\"]", "s.body_types: name \"body\" in places too"),
            ("places = [\"body\"]\nbody_types = [\"text\"]", "s.body_types \"text\""),
        ];
        for (text, expected) in CASES {
            let keys = toml::from_str::<PlaceKeys>(text).expect(text);
            let error = keys.check("s").err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for ports in ["0", "65536", "-1", "\"0-5\"", "\"80-79\"", "\"80-\"", "\"http\"", "true"] {
            let error = toml::from_str::<PlaceKeys>(&format!("ports = [443, {ports}]")).expect_err(ports);
            assert!(error.message().contains("in quotes, as in \"8000-8080\""), "{ports}: {error}");
        }
    }
}
