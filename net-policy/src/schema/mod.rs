//! The written form of policies, in TOML and JSON.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::{
    Action, Defaults, HttpCondition, Inner, Method, PathPattern, Policy, Preset, Protocols, Rule,
    RuleDirection, RuleError, Target, UnixTime,
};

/// A policy as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", rename = "Policy")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct PolicyDef {
    /// Rules that come after the others.
    #[serde(default, skip_serializing_if = "is_default")]
    preset: Preset,
    /// What becomes of flows that no rule matches.
    #[serde(default, skip_serializing_if = "is_default")]
    defaults: Defaults,
    /// In their order; the first that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
}

/// A rule as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", rename = "Rule")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct RuleDef {
    /// What people call it; shown with every decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What becomes of the flows it matches.
    action: Action,
    /// Where they go, or come from.
    to: Target,
    /// Which way they go.
    #[serde(default, skip_serializing_if = "is_default")]
    direction: RuleDirection,
    /// Which protocols it is about; without them every protocol.
    #[serde(default, skip_serializing_if = "is_default")]
    protocols: Protocols,
    /// The methods of HTTP it is for, where `to` is a name; without them every method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    methods: Vec<Method>,
    /// The paths of requests it is for, where `to` is a name; without them every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paths: Vec<PathPattern>,
    /// Whether the names it allows are answered with addresses that stand for them alone; only for rules
    /// that allow a name.
    #[serde(default, skip_serializing_if = "is_default")]
    virtual_ip: bool,
    /// What may be inside of TLS that is opened: `http`, where the verdict rests on a name, or, with `opaque`,
    /// anything; only for rules that allow flows from the guest and all requests.
    #[serde(default, skip_serializing_if = "is_default")]
    inner: Inner,
    /// The proxy by which connections go that it allows, or `direct`; only for rules that allow flows from the
    /// guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    /// From then on it matches nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<UnixTime>,
    /// Why it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TryFrom<RuleDef> for Rule {
    type Error = RuleError;

    fn try_from(def: RuleDef) -> Result<Self, RuleError> {
        let RuleDef {
            name,
            action,
            to: Target { destination, ports },
            direction,
            protocols,
            methods,
            paths,
            virtual_ip,
            inner,
            proxy,
            expires,
            comment,
        } = def;
        let rule =
            Self { name, direction, protocols, ports, expires, comment, ..Self::new(action, destination) };
        let has_condition = !methods.is_empty() || !paths.is_empty();
        let rule = if has_condition { rule.for_requests(HttpCondition::new(methods, paths)?)? } else { rule };
        let rule = if virtual_ip { rule.virtually()? } else { rule };
        let rule = if inner == Inner::Opaque { rule.opaque()? } else { rule };
        Ok(if let Some(proxy) = proxy { rule.by_proxy(proxy)? } else { rule })
    }
}

impl From<Rule> for RuleDef {
    fn from(rule: Rule) -> Self {
        // What it cannot mean it is not written with: it would not be read again.
        let virtual_ip = rule.is_virtual();
        let inner = if rule.is_opaque() { Inner::Opaque } else { Inner::Http };
        let proxy = rule.chosen_proxy().map(str::to_owned);
        let Rule { name, direction, destination, protocols, ports, action, http, expires, comment, .. } =
            rule;
        let to = Target { destination, ports };
        let methods = http.as_ref().map_or_else(Vec::new, |http| http.methods().to_vec());
        let paths = http.as_ref().map_or_else(Vec::new, |http| http.paths().to_vec());
        Self {
            name,
            action,
            to,
            direction,
            protocols,
            methods,
            paths,
            virtual_ip,
            inner,
            proxy,
            expires,
            comment,
        }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let PolicyDef { preset, defaults, mut rules } = PolicyDef::deserialize(deserializer)?;
        rules.extend(preset.rules());
        Ok(Self::with_defaults(rules, defaults))
    }
}

impl Serialize for Policy {
    /// A preset is written as the rules it stands for. A policy over a floor has no written form: it
    /// would be read as one without.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.has_floor() {
            return Err(serde::ser::Error::custom("a policy over a floor has no written form"));
        }
        let def = PolicyDef { preset: Preset::None, defaults: self.defaults(), rules: self.rules().to_vec() };
        def.serialize(serializer)
    }
}

/// Text that its type parses and prints.
macro_rules! as_text {
    ($type:ty, $expecting:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(|error| E::custom(Named { text, error }))
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

as_text!(Target, "a string, such as \"example.com:443\"");
as_text!(Method, "a string, such as \"GET\"");
as_text!(PathPattern, "a string, such as \"/v1/*\"");
as_text!(UnixTime, "a string, such as \"2026-12-31T23:59:59Z\"");

/// What was read, and what is wrong with it.
struct Named<'t, E> {
    text: &'t str,
    error: E,
}

impl<E: std::error::Error> fmt::Display for Named<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.text, self.error)?;
        let mut source = self.error.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl Serialize for Protocols {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(net_core::Protocol::as_str))
    }
}

impl<'de> Deserialize<'de> for Protocols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let protocol = |name: &String| {
            let known = net_core::Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == name);
            known.ok_or_else(|| D::Error::unknown_variant(name, &["tcp", "udp", "icmpv4", "icmpv6"]))
        };
        names.iter().map(protocol).collect()
    }
}

/// Why text is no policy: where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {key}{}{message}", if .key.is_empty() { "" } else { ": " })]
pub struct PolicyTextError {
    /// Counted from 1.
    pub line: usize,
    /// Such as `rules[0].to`; empty where the text is no TOML or JSON.
    pub key: String,
    /// What is wrong, in one line.
    pub message: String,
}

impl Policy {
    /// Reads a policy in TOML.
    ///
    /// # Errors
    /// [`PolicyTextError`] for the first thing that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, PolicyTextError> {
        let error = |key: String, error: &toml::de::Error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            PolicyTextError { line, key, message: error.message().replace('\n', " ") }
        };
        let parsed = toml::Deserializer::parse(text).map_err(|wrong| error(String::new(), &wrong))?;
        with_path(parsed).map_err(|(key, wrong)| error(key, &wrong))
    }

    /// Reads a policy in JSON.
    ///
    /// # Errors
    /// [`PolicyTextError`] for the first thing that is wrong.
    pub fn from_json(text: &str) -> Result<Self, PolicyTextError> {
        let error = |key: String, error: &serde_json::Error| {
            let message = error.to_string();
            // The place is said by the line.
            let end = message.rfind(" at line ").unwrap_or(message.len());
            let message = message.get(..end).unwrap_or_default().replace('\n', " ");
            PolicyTextError { line: error.line().max(1), key, message }
        };
        let mut parser = serde_json::Deserializer::from_str(text);
        let policy = with_path(&mut parser).map_err(|(key, wrong)| error(key, &wrong))?;
        parser.end().map_err(|wrong| error(String::new(), &wrong))?;
        Ok(policy)
    }
}

/// Reads a value; with the error the key it is about.
fn with_path<'de, T: DeserializeOwned, D: Deserializer<'de>>(source: D) -> Result<T, (String, D::Error)> {
    serde_path_to_error::deserialize(source).map_err(|error| {
        let key = error.path().to_string();
        let key = if key == "." { String::new() } else { key };
        (key, error.into_inner())
    })
}

#[cfg(feature = "schema")]
mod json {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};

    use super::{PolicyDef, RuleDef};
    use crate::{Method, PathPattern, Protocols, Rule, Target, UnixTime};

    /// The JSON Schema of policies (2020-12), which holds for their TOML form too.
    pub fn policy_schema() -> Schema {
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<PolicyDef>()
    }

    impl JsonSchema for Rule {
        fn schema_name() -> Cow<'static, str> {
            RuleDef::schema_name()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            RuleDef::json_schema(generator)
        }
    }

    impl JsonSchema for Target {
        fn schema_name() -> Cow<'static, str> {
            "Target".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "string",
                "description": "A name, `*.` and a name, `.` and a name, an address, a prefix, a group or `any`; \
                                then, where only some ports are meant, a colon and ports.",
                "examples": ["example.com:443", "*.example.com", "10.0.0.0/8", "[fd00::1]:80,8000-8080", "public"],
            })
        }
    }

    impl JsonSchema for Method {
        fn schema_name() -> Cow<'static, str> {
            "Method".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "string",
                "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$",
                "description": "A method of HTTP, whose case matters.",
                "examples": ["GET", "HEAD"],
            })
        }
    }

    impl JsonSchema for PathPattern {
        fn schema_name() -> Cow<'static, str> {
            "PathPattern".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "string",
                "pattern": "^/[^?#]*$",
                "maxLength": crate::MAX_PATTERN_BYTES,
                "description": "A path: `*` stands for any characters within a segment, a segment `**` for any \
                                number of segments. Held against the path of a request without its query, \
                                dot segments resolved and needless escapes undone.",
                "examples": ["/v1/models/*", "/health", "/static/**"],
            })
        }
    }

    impl JsonSchema for UnixTime {
        fn schema_name() -> Cow<'static, str> {
            "UnixTime".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "string",
                "format": "date-time",
                "description": "A time in UTC.",
                "examples": ["2026-12-31T23:59:59Z"],
            })
        }
    }

    impl JsonSchema for Protocols {
        fn schema_name() -> Cow<'static, str> {
            "Protocols".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "array",
                "items": { "enum": ["tcp", "udp", "icmpv4", "icmpv6"] },
            })
        }
    }
}

#[cfg(feature = "schema")]
pub use json::policy_schema;

#[cfg(test)]
mod tests;
