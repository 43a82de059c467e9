//! The verbs of the binary that start nothing: what they print, and how they end.

mod ca;

use std::process::{Command, Output};

const POLICY: &str = r#"
deny = [".ads.example"]
preset = "public_only"
nat64 = ["2001:db8:64::/96"]

[[rules]]
name = "database"
action = "allow"
to = "db.example.com:5432"
comment = "until it moves"

[[rules]]
action = "allow"
to = "10.0.0.0/8:5432"
protocols = ["tcp"]

[[rules]]
action = "deny"
to = "10.1.1.1:5432"
protocols = ["tcp"]

[[rules]]
action = "allow"
to = "old.example.com"
expires = "2001-01-01T00:00:00Z"
"#;

fn run(policy: &str, before: &[&str], behind: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, policy).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_net-engine"));
    command.args(before).arg(&file).args(behind).output().expect("the binary runs")
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn check_prints_rules_and_warnings() {
    for before in [&["check"][..], &["check", "--config"]] {
        let output = run(POLICY, before, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(
            lines(&output.stdout),
            [
                "  1  deny .ads.example",
                "  2  allow db.example.com:5432 (database)  # until it moves",
                "  3  allow 10.0.0.0/8:5432 tcp",
                "  4  deny 10.1.1.1:5432 tcp",
                "  5  allow old.example.com until 2001-01-01T00:00:00Z",
                "  6  allow public",
                "  -  deny everything else",
                "warning: rule 3 allows addresses that are not of the internet",
                "warning: rule 4 never matches: rule 3 matches first",
                "warning: rule 5 expired 2001-01-01T00:00:00Z",
            ]
        );
    }
}

#[test]
fn check_and_explain_say_where_secrets_go() {
    const POLICY: &str = "allow = [\"*.example\", \"any:8080\"]\non_violation = \"block_and_terminate\"\n\
                          terminate_after = 3\n\
                          [[secrets]]\nenv = \"KEY\"\nsource = \"env:KEY\"\nhosts = [\"api.example\"]\n\
                          format = \"github\"\nusage = { ports = [\"443-444\"] }\n\
                          [[secrets]]\nenv = \"ANY\"\nsource = \"cmd:echo hunter22\"\ndangerous_any_host = true\n\
                          on_violation = \"block\"\nusage = { require_tls_identity = false }\n";
    let output = run(POLICY, &["check"], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        lines(&output.stdout)[2..],
        [
            "  -  deny everything else",
            "secret KEY from env:KEY to api.example on ports 443-444 in headers, basic_auth; elsewhere \
             block_and_terminate",
            "secret ANY from a command to any host in headers, basic_auth, without TLS too; elsewhere block",
            "violation 3 ends the command",
            "warning: rule 2 allows every address",
            "warning: secret ANY goes to every host that the rules allow, servers of the command's own included \
             (dangerous_any_host)",
            "warning: secret ANY goes to servers that have not proved who they are, and over plain HTTP \
             (require_tls_identity = false)",
        ]
    );
    // A target, and what is said of secrets.
    const CASES: &[(&str, &[&str])] = &[
        (
            "api.example:443",
            &[
                "secret KEY is put in there, in headers, basic_auth",
                "secret ANY is put in there, in headers, basic_auth",
            ],
        ),
        (
            "api.example:444",
            &[
                "secret KEY is not put in there: TLS is not opened",
                "secret ANY is put in there without TLS, in headers, basic_auth",
            ],
        ),
        ("web.example:443", &["secret ANY is put in there, in headers, basic_auth"]),
        ("192.0.2.1:8080", &["secret ANY is put in there without TLS, in headers, basic_auth"]),
        ("192.0.2.1:22", &[]),
    ];
    for (target, expected) in CASES {
        let shown = lines(&run(POLICY, &["explain"], &["tcp", target]).stdout);
        let shown: Vec<_> = shown.iter().filter(|line| line.starts_with("secret ")).collect();
        assert_eq!(shown, *expected, "{target}");
    }
}

#[test]
fn check_names_the_place_of_an_error() {
    let output =
        run("preset = \"none\"\n[[rules]]\naction = \"deny\"\nto = \"10.0.0.0/33\"\n", &["check"], &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let [line] = &lines(&output.stderr)[..] else { panic!("one line: {output:?}") };
    assert!(line.contains("policy.toml line 4: rules[0].to: \"10.0.0.0/33\": not a prefix"), "{line}");
}

#[test]
fn explain_says_what_becomes_of_a_connection() {
    // arguments, exit status, a line of what is printed, the last line
    const CASES: &[(&[&str], i32, &str, &str)] = &[
        (
            &["tcp", "api.example.com:443"],
            0,
            "  rule 2: allow db.example.com:5432 (database): for other ports",
            "allowed: rule 6: allow public",
        ),
        (
            &["tcp", "x.ads.example:443"],
            1,
            "x.ads.example is not resolved: rule 1: deny .ads.example",
            "denied: rule 1: deny .ads.example",
        ),
        (
            &["tcp", "db.example.com:5432", "--address", "10.0.0.5"],
            0,
            "tcp to 10.0.0.5 port 5432, for db.example.com, which it was resolved from",
            "allowed: rule 2: allow db.example.com:5432 (database)",
        ),
        (
            &["udp", "db.example.com:5432", "--address", "10.0.0.5"],
            1,
            "  rule 3: allow 10.0.0.0/8:5432 tcp: for other protocols",
            "denied: default (the name leads to an address that is not public, and no rule allows that address \
             here)",
        ),
        (
            &["tcp", "db.example.com:5432", "--address", "192.168.0.1"],
            1,
            "an answer with 192.168.0.1 is refused: it is private, and no rule allows it as such",
            "denied: default (the address was not resolved for this name)",
        ),
        (
            &["tcp", "old.example.com:443", "--address", "10.0.0.5"],
            1,
            "  rule 5: allow old.example.com until 2001-01-01T00:00:00Z: expired 2001-01-01T00:00:00Z",
            "denied: default (no rule allows it)",
        ),
        (
            &["udp", "8.8.8.8:53"],
            0,
            "  rule 1: deny .ads.example: for a name, and the address has none",
            "allowed: rule 6: allow public",
        ),
        (
            &["tcp", "[2001:db8:64::a00:5]:5432"],
            0,
            "tcp to 2001:db8:64::a00:5 port 5432",
            "allowed: rule 3: allow 10.0.0.0/8:5432 tcp",
        ),
        (
            &["tcp", "169.254.169.254:80"],
            1,
            "  rule 6: allow public: the address is metadata",
            "denied: default (no rule allows it)",
        ),
        (
            &["tcp", "host.internal:80"],
            1,
            "host.internal means this machine, and is not answered: no rule could allow it",
            "denied: default (no rule allows it)",
        ),
    ];
    for (arguments, status, line, last) in CASES {
        let output = run(POLICY, &["explain"], arguments);
        let shown = lines(&output.stdout);
        assert_eq!(output.status.code(), Some(*status), "{arguments:?}: {output:?}");
        assert!(shown.iter().any(|shown| shown == line), "{arguments:?}: {shown:#?}");
        assert_eq!(shown.last().map(String::as_str), Some(*last), "{arguments:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}");
    }
}

#[test]
fn check_and_explain_say_where_ports_of_this_machine_lead() {
    const POLICY: &str = "allow = [\"host:5432,70\"]\nhost_ports = [\"5432:127.0.0.1:15432\", \"9:10/udp\"]\n\
                          dangerous_host_ports = [\"70:192.0.2.7:71\"]\n";
    let output = run(POLICY, &["check"], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        lines(&output.stdout)[2..],
        [
            "tcp port 70 of this machine leads to 192.0.2.7:71",
            "tcp port 5432 of this machine leads to 127.0.0.1:15432",
            "udp port 9 of this machine leads to port 10 of this machine's loopback",
            "warning: rule 1 allows addresses that are not of the internet",
            "warning: tcp port 70 of this machine leads to 192.0.2.7:71, which the rules take for this machine \
             (dangerous_host_ports)",
        ]
    );
    const CASES: &[(&str, i32, &str)] = &[
        ("host.internal:5432", 0, "it is this machine, where it leads to 127.0.0.1:15432"),
        ("172.16.0.1:5432", 0, "it is this machine, where it leads to 127.0.0.1:15432"),
        ("[fd6e:6574::1]:70", 0, "it is this machine, where it leads to 192.0.2.7:71"),
        ("host.internal:9", 1, "denied: default (no rule allows it)"),
    ];
    for (target, status, last) in CASES {
        let output = run(POLICY, &["explain"], &["tcp", target]);
        assert_eq!(output.status.code(), Some(*status), "{target}: {output:?}");
        assert_eq!(lines(&output.stdout).last().map(String::as_str), Some(*last), "{target}");
    }
    let output = run("host_ports = [\"80:192.0.2.7:80\"]\n", &["check"], &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let [line] = &lines(&output.stderr)[..] else { panic!("one line: {output:?}") };
    let expected =
        "policy.toml line 1: host_ports \"80:192.0.2.7:80\": 192.0.2.7 is no address of this machine's";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn explain_says_what_becomes_of_a_request() {
    const POLICY: &str = "[[rules]]\naction = \"allow\"\nto = \"api.example.com:443\"\nmethods = [\"GET\"]\n\
                          paths = [\"/v1/*\"]\n";
    const TO: [&str; 2] = ["tcp", "api.example.com:443"];
    // more arguments, exit status, the last line
    const CASES: &[(&[&str], i32, &str)] = &[
        (&[], 0, "denied: default (a rule is for some requests to the name, and none can be seen here)"),
        (&["--path", "/v1/x?y"], 0, "allowed: rule 1: allow api.example.com:443 for GET /v1/*"),
        (
            &["--method", "GET", "--path", "/v1/../v2"],
            1,
            "denied: default (only other requests to the name are allowed)",
        ),
        (
            &["--method", "POST", "--path", "/v1/x"],
            1,
            "denied: default (only other requests to the name are allowed)",
        ),
        (
            &["--path", "//v1/x"],
            1,
            "denied: default (the request's method or path is malformed or ambiguous)",
        ),
    ];
    for (arguments, status, last) in CASES {
        let output = run(POLICY, &["explain"], &[&TO, *arguments].concat());
        assert_eq!(output.status.code(), Some(*status), "{arguments:?}: {output:?}");
        assert_eq!(lines(&output.stdout).last().map(String::as_str), Some(*last), "{arguments:?}");
    }
}

#[test]
fn names_with_addresses_of_their_own_are_said_to_have_them() {
    const POLICY: &str =
        "allow = [\"any\"]\n[[rules]]\naction = \"allow\"\nto = \"db.example:22\"\nvirtual_ip = true\n";
    let output = run(POLICY, &["check"], &[]);
    assert_eq!(lines(&output.stdout)[0], "  1  allow db.example:22 by an address of its own", "{output:?}");
    const OWN: &str = "it is answered with an address of its own, which stands for what it resolves to";
    // arguments, exit status, whether the name has one, the last line
    const CASES: &[(&[&str], i32, bool, &str)] = &[
        (&["tcp", "db.example:22"], 0, true, "allowed: rule 1: allow db.example:22 by an address of its own"),
        (&["tcp", "web.example:22"], 0, false, "allowed: rule 2: allow any"),
        (&["tcp", "198.18.0.1:22"], 1, false, "denied: no name was answered with it here"),
        (&["tcp", "[fd6e:6574:1::1]:22"], 1, false, "denied: no name was answered with it here"),
    ];
    for (arguments, status, has_own, last) in CASES {
        let output = run(POLICY, &["explain"], arguments);
        let shown = lines(&output.stdout);
        assert_eq!(output.status.code(), Some(*status), "{arguments:?}: {output:?}");
        assert_eq!(shown.iter().any(|shown| shown == OWN), *has_own, "{arguments:?}: {shown:#?}");
        assert_eq!(shown.last().map(String::as_str), Some(*last), "{arguments:?}");
    }
}

#[test]
fn rules_that_let_anything_be_inside_tls_say_so() {
    const POLICY: &str = "strict_hosts = true\nreadable_denials = true\nallow = [\"any\"]\n[[rules]]\naction = \"allow\"\n\
                          to = \"mqtt.example:8883\"\ninner = \"opaque\"\n";
    const RULE: &str = "allow mqtt.example:8883 with anything inside TLS";
    const SAID: &str = "inside TLS that is opened anything but HTTP is passed on as bytes too";
    let output = run(POLICY, &["check"], &[]);
    assert_eq!(lines(&output.stdout)[0], format!("  1  {RULE}"), "{output:?}");
    for (target, is_opaque) in [("mqtt.example:8883", true), ("mqtt.example:443", false)] {
        let shown = lines(&run(POLICY, &["explain"], &["tcp", target]).stdout);
        assert_eq!(shown.iter().any(|line| line == SAID), is_opaque, "{target}: {shown:#?}");
    }
}

#[test]
fn explain_refuses_what_is_no_connection() {
    const CASES: &[(&[&str], &str)] = &[
        (&["tcp", "api.example.com"], "\"api.example.com\": write NAME:PORT"),
        (&["tcp", "api.example.com:0"], "the port is a number from 1 to 65535"),
        (&["tcp", "*.example.com:443"], "letters, digits, hyphens"),
        (&["tcp", "1.1.1.1:53", "--address", "1.1.1.1"], "only a name resolves to something"),
        (&["sctp", "1.1.1.1:53"], "sctp"),
    ];
    for (arguments, expected) in CASES {
        let output = run(POLICY, &["explain"], arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let [line] = &lines(&output.stderr)[..] else { panic!("one line: {output:?}") };
        assert!(line.contains(expected), "{arguments:?}: {line}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}
