//! Rates as they are written.

use std::fmt;
use std::str::FromStr;

use net_core::{Bandwidth, PacketRate, RateError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Named;

/// Text of a type of net-core, which knows nothing of serde.
macro_rules! rate_text {
    ($name:ident, $type:ty, $expecting:literal, $description:literal, $examples:expr) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name(pub(super) $type);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = RateError;

            fn from_str(text: &str) -> Result<Self, RateError> {
                text.parse().map(Self)
            }
        }

        as_text!($name, $expecting);

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    "examples": $examples,
                })
            }
        }
    };
}

rate_text!(
    BandwidthText,
    Bandwidth,
    "a string, such as \"10 MB/s\"",
    "Bytes or bits a second, and where `burst` follows how many bytes at once.",
    ["10 MB/s", "80 Mbit/s", "10 MB/s burst 2 MB"]
);
rate_text!(
    PacketRateText,
    PacketRate,
    "a string, such as \"5000/s\"",
    "Packets a second, and where `burst` follows how many at once.",
    ["5000/s", "5000/s burst 100"]
);
