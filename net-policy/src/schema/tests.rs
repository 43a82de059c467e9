use super::*;
use crate::{Destination, Group};

const WRITTEN: &str = r#"
preset = "public_only"

[defaults]
ingress = "allow"

[[rules]]
name = "registry"
action = "allow"
to = "registry.example.com:443"
direction = "any"
protocols = ["tcp", "udp"]
expires = "2026-12-31T23:59:59Z"
comment = "until the mirror is up"

[[rules]]
action = "allow"
to = "*.db.example:5432"
virtual_ip = true

[[rules]]
action = "deny"
to = "[fd00::/8]:53"

[[rules]]
action = "allow"
to = ".api.example.com"
methods = ["GET", "HEAD"]
paths = ["/v1/models/*", "/health"]
virtual_ip = true

[[rules]]
action = "allow"
to = "mqtt.example:8883"
inner = "opaque"

[[rules]]
action = "allow"
to = "web.example"
inner = "http"

[[rules]]
action = "allow"
to = "mirror.example"
upload = "8 Mbit/s"
download = "10 MB/s burst 2 MB"
download_packets = "5000/s"
"#;

#[test]
fn a_written_policy_is_read() {
    let policy = Policy::from_toml(WRITTEN).expect("a policy");
    let shown: Vec<String> = policy.rules().iter().map(Rule::to_string).collect();
    assert_eq!(
        shown,
        [
            "allow registry.example.com:443 tcp,udp both ways until 2026-12-31T23:59:59Z (registry)",
            "allow *.db.example:5432 by an address of its own",
            "deny [fd00::/8]:53",
            "allow .api.example.com for GET,HEAD /v1/models/*,/health by an address of its own",
            "allow mqtt.example:8883 with anything inside TLS",
            "allow web.example",
            "allow mirror.example at most up 1 MB/s, down 10 MB/s burst 2 MB, down 5000/s",
            "allow public",
        ]
    );
    assert_eq!(policy.rules()[0].comment.as_deref(), Some("until the mirror is up"));
    assert_eq!(policy.defaults(), Defaults { egress: Action::Deny, ingress: Action::Allow });
    assert_eq!(policy.rules()[7].destination, Destination::Group(Group::Public));
    // A preset is written as its rules.
    let toml = toml::to_string(&policy).expect("TOML");
    assert_eq!(Policy::from_toml(&toml).as_ref(), Ok(&policy), "{toml}");
    let json = serde_json::to_string_pretty(&policy).expect("JSON");
    assert_eq!(Policy::from_json(&json).as_ref(), Ok(&policy), "{json}");
    assert_eq!(Policy::from_toml("").as_ref(), Ok(&Policy::none()));
}

#[test]
fn presets_have_names_in_files() {
    for (preset, policy) in [
        ("none", Policy::none()),
        ("allow_all", Policy::allow_all()),
        ("public_only", Policy::public_only()),
        ("non_local", Policy::non_local()),
    ] {
        assert_eq!(Policy::from_toml(&format!("preset = \"{preset}\"")), Ok(policy), "{preset}");
    }
}

#[test]
fn an_error_names_line_and_key() {
    const CASES: &[(&str, &str)] = &[
        ("rules = 3\n", "line 1: rules: invalid type: integer `3`, expected a sequence"),
        ("\npreset = \"most\"\n", "line 2: preset: unknown variant `most`, expected one of `none`,"),
        ("[[rules]]\naction = \"maybe\"\nto = \"any\"\n", "line 2: rules[0].action: unknown variant `maybe`"),
        (
            "[[rules]]\naction = \"deny\"\nto = \"we*b.example\"\n",
            "line 3: rules[0].to: \"we*b.example\": not a name pattern: a `*` stands only as the whole first label",
        ),
        (
            "[[rules]]\naction = \"deny\"\nto = \"10.0.0.0/33\"\n",
            "line 3: rules[0].to: \"10.0.0.0/33\": not a prefix",
        ),
        ("[[rules]]\naction = \"deny\"\n", "line 1: rules[0]: missing field `to`"),
        (
            "[[rules]]\naction = \"deny\"\nto = \"any\"\nports = 3\n",
            "line 4: rules[0].ports: unknown field `ports`",
        ),
        (
            "[[rules]]\naction = \"deny\"\nto = \"any\"\nprotocols = [\"tcp\", \"sctp\"]\n",
            "line 4: rules[0].protocols: unknown variant `sctp`, expected one of `tcp`, `udp`",
        ),
        (
            "[[rules]]\naction = \"deny\"\nto = \"any\"\nexpires = \"tomorrow\"\n",
            "line 4: rules[0].expires: \"tomorrow\": not a time: write it in UTC, as in `2026-12-31T23:59:59Z`",
        ),
        (
            "[[rules]]\naction = \"deny\"\nto = \"a.b\"\nmethods = [\"GET\", \"post\"]\n",
            "line 4: rules[0].methods[1]: \"post\": methods are case-sensitive: write `POST`",
        ),
        (
            "[[rules]]\naction = \"deny\"\nto = \"a.b\"\npaths = [\"v1\"]\n",
            "line 4: rules[0].paths[0]: \"v1\": a path begins with `/`",
        ),
        (
            "[[rules]]\naction = \"allow\"\nto = \"public:443\"\npaths = [\"/v1\"]\n",
            "line 1: rules[0]: `methods` and `paths` are for a rule whose destination is a name",
        ),
        (
            "[[rules]]\naction = \"allow\"\nto = \"public\"\nvirtual_ip = true\n",
            "line 1: rules[0]: virtual_ip is for rules that allow a name, and flows from the guest",
        ),
        (
            "[[rules]]\naction = \"deny\"\nto = \"public\"\nupload = \"1 MB/s\"\n",
            "line 1: rules[0]: upload, download and their packets are for rules that allow flows from the guest",
        ),
        (
            "[[rules]]\naction = \"allow\"\nto = \"public\"\ndownload = \"10 Mb/s\"\n",
            "line 4: rules[0].download: \"10 Mb/s\": `b` is taken for bits and for bytes: write `Mbit/s` or `MB/s`",
        ),
        (
            "[[rules]]\naction = \"deny\"\nto = \"public\"\ninner = \"opaque\"\n",
            "line 1: rules[0]: inner = \"opaque\" is for rules that allow flows from the guest, and all requests",
        ),
        (
            "[[rules]]\naction = \"allow\"\nto = \"a.b\"\npaths = [\"/\"]\ninner = \"opaque\"\n",
            "line 1: rules[0]: inner = \"opaque\" is for rules that allow flows from the guest, and all requests",
        ),
        (
            "[[rules]]\naction = \"allow\"\nto = \"a.b\"\ninner = \"mqtt\"\n",
            "line 4: rules[0].inner: unknown variant `mqtt`, expected `http` or `opaque`",
        ),
        ("[defaults]\nboth = \"deny\"\n", "line 2: defaults.both: unknown field `both`"),
        ("rules = [\n", "line 1: "),
    ];
    for (text, expected) in CASES {
        let error = Policy::from_toml(text).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
        assert!(!error.contains('\n'), "{text}: {error}");
    }
    let error = Policy::from_json("{\"rules\": [\n{\"action\": \"deny\",\n\"to\": \"a..b\"}]}")
        .expect_err("a pattern");
    assert_eq!((error.line, error.key.as_str()), (3, "rules[0].to"), "{error}");
    let error = Policy::from_json("{} {}").expect_err("one value");
    assert!(error.to_string().starts_with("line 1: trailing characters"), "{error}");
}

#[test]
fn a_floor_is_not_lost_in_writing() {
    let policy = Policy::public_only().with_floor(&Policy::none()).expect("one floor");
    assert!(serde_json::to_string(&policy).is_err());
}

#[cfg(feature = "schema")]
#[test]
fn the_committed_schema_is_current() {
    let current = serde_json::to_value(policy_schema()).expect("JSON");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/policy.schema.json");
    let committed = std::fs::read_to_string(path).expect("a schema");
    let committed: serde_json::Value = serde_json::from_str(&committed).expect("JSON");
    let command = "cargo run -p net-policy --features schema --example schema";
    assert_eq!(committed, current, "out of date: write what `{command}` prints to it");
}

#[test]
fn the_corpus_holds() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/policy_toml");
    let files: Vec<_> = std::fs::read_dir(corpus).expect("a corpus").collect();
    assert!(files.len() >= 3, "the corpus is small: {}", files.len());
    for file in files {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        crate::fuzzing::written_policies_round_trip(&text);
    }
}
