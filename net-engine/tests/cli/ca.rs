//! `ca`: what it makes, prints and exports, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::lines;

fn ca(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_net-engine"));
    command.current_dir(directory).arg("ca").args(args).output().expect("the binary runs")
}

fn ok(directory: &Path, args: &[&str]) -> String {
    let output = ca(directory, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Whether the program is here and agrees.
fn says(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn an_authority_is_made_once_and_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let made = ok(directory, &["new", "--dir", "kept", "--name", "my own", "--days", "7"]);
    assert_eq!((mode(&directory.join("kept")), mode(&directory.join("kept/authority.pem"))), (0o700, 0o600));
    assert_eq!(ok(directory, &["show", "--dir", "kept"]), made);
    let shown = lines(made.as_bytes());
    assert_eq!(shown[0], "subject      CN=my own");
    assert!(shown[2].starts_with("valid        20") && shown[2].contains("Z to 20"), "{made}");
    assert_eq!(shown[3], "constraints  none");
    // The certificate alone says the same, and OpenSSL of it.
    fs::write(directory.join("ca.pem"), ok(directory, &["export", "--dir", "kept", "--for", "pem"]))
        .expect("a file");
    assert_eq!(ok(directory, &["show", "--cert", "ca.pem"]), made);
    let path = directory.join("ca.pem").display().to_string();
    let openssl = says("openssl", &["x509", "-in", &path, "-noout", "-fingerprint", "-sha256"]);
    let openssl = openssl.expect("this test needs the openssl program");
    let (_, fingerprint) = openssl.trim().split_once('=').expect("a fingerprint");
    assert_eq!(shown[1], format!("fingerprint  SHA-256 {fingerprint}"));
}

#[test]
fn exports_hold_no_key_and_variables_name_them() {
    let above = tempfile::tempdir().expect("a directory");
    let directory = fs::canonicalize(above.path()).expect("a path").join("it's here");
    fs::create_dir(&directory).expect("a directory");
    ok(&directory, &["new", "--dir", "kept"]);
    let pem = ok(&directory, &["export", "--dir", "kept", "--for", "pem"]);
    const CASES: &[(&str, &[&str])] = &[
        ("pem", &[]),
        ("bundle", &[]),
        ("openssl", &["SSL_CERT_FILE"]),
        ("go", &["SSL_CERT_FILE"]),
        ("ruby", &["SSL_CERT_FILE"]),
        ("curl", &["CURL_CA_BUNDLE"]),
        ("python", &["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]),
        ("grpc", &["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]),
        ("node", &["NODE_EXTRA_CA_CERTS"]),
        ("deno", &["DENO_CERT"]),
        ("git", &["GIT_SSL_CAINFO"]),
        ("aws", &["AWS_CA_BUNDLE"]),
        ("rust", &["SSL_CERT_FILE", "CARGO_HTTP_CAINFO"]),
        ("nix", &["NIX_SSL_CERT_FILE"]),
    ];
    for (kind, expected) in CASES {
        let said = ok(&directory, &["export", "--dir", "kept", "--for", kind, "--out", "out.pem"]);
        let written = fs::read_to_string(directory.join("out.pem")).expect("text");
        assert!(written.ends_with(&pem) && !written.contains("PRIVATE"), "{kind}");
        assert_eq!(mode(&directory.join("out.pem")), 0o644, "{kind}");
        // As a shell reads them, quotes and all.
        for name in *expected {
            let script = format!("{said}cat \"${name}\"");
            assert_eq!(says("sh", &["-c", &script]).as_deref(), Some(&*written), "{kind} {name}");
        }
        assert_eq!(said.lines().count(), expected.len(), "{kind}: {said}");
    }
    let bundle = ok(&directory, &["export", "--dir", "kept", "--for", "bundle"]);
    assert!(bundle.ends_with(&pem));
}

#[test]
fn a_key_store_for_java() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let made = ok(directory, &["new", "--dir", "kept"]);
    let said = ok(directory, &["export", "--dir", "kept", "--for", "java", "--out", "trust.p12"]);
    assert!(said.starts_with("export JAVA_TOOL_OPTIONS='-Djavax.net.ssl.trustStore=/"), "{said}");
    let path = directory.join("trust.p12").display().to_string();
    let openssl = says("openssl", &["pkcs12", "-in", &path, "-passin", "pass:changeit", "-nokeys"]);
    let pem = ok(directory, &["export", "--dir", "kept", "--for", "pem"]);
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let listed: String = openssl.expect("this test needs the openssl program").lines().collect();
    assert!(listed.contains(&body), "it holds the authority");
    // Java, where it is here: an entry it takes for a trust anchor.
    let fingerprint =
        made.lines().nth(1).and_then(|line| line.split(' ').next_back()).expect("a fingerprint");
    let args = ["-list", "-v", "-keystore", &path, "-storepass", "changeit", "-storetype", "PKCS12"];
    if let Some(listed) = says("keytool", &args) {
        assert!(listed.contains("trustedCertEntry") && listed.contains(fingerprint), "{listed}");
    }
}

#[test]
fn a_command_that_has_chromium_trust_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    ok(directory, &["new", "--dir", "kept"]);
    let said = ok(directory, &["export", "--dir", "kept", "--for", "nss", "--out", "authority.pem"]);
    let written = fs::read_to_string(directory.join("authority.pem")).expect("text");
    assert_eq!(written, ok(directory, &["export", "--dir", "kept", "--for", "pem"]));
    let script = format!("{said}cat \"$NET_ENGINE_CA_CERT\"");
    // In place of the program: what it is told.
    let script = format!("certutil() {{ printf '%s|' \"$@\"; }}; HOME='{}'; {script}", directory.display());
    let told = says("sh", &["-c", &script]).expect("a shell");
    let home = directory.display();
    let path = fs::canonicalize(directory.join("authority.pem")).expect("a path");
    let expected =
        format!("-d|sql:{home}/.pki/nssdb|-A|-t|C,,|-n|net-engine|-i|{}|{written}", path.display());
    assert_eq!(told, expected);
    assert!(directory.join(".pki/nssdb").is_dir());
}

#[test]
fn bad_input_is_one_line_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    ok(directory, &["new", "--dir", "kept"]);
    fs::write(directory.join("text"), "no certificate").expect("a file");
    let kept = fs::read(directory.join("kept/authority.pem")).expect("a file");
    const CASES: &[(&[&str], &[&str])] = &[
        (&["show"], &["--dir", "--cert"]),
        (&["show", "--dir", "kept", "--cert", "text"], &["cannot be used with"]),
        (&["show", "--dir", "none"], &["--dir \"none\"", "ca new"]),
        (&["show", "--cert", "none"], &["--cert \"none\"", "cannot be read"]),
        (&["show", "--cert", "text"], &["--cert \"text\"", "not a pem certificate"]),
        (&["new", "--dir", "kept"], &["kept", "already", "remove its authority.pem"]),
        (&["new", "--dir", "."], &["directory of its own"]),
        (&["new", "--dir", "new", "--days", "0"], &["--days", "0"]),
        (&["new", "--dir", "new", "--days", "4000"], &["--days", "4000"]),
        (&["new", "--dir", "new", "--name", ""], &["--name"]),
        (&["new", "--dir", "new", "--name", "a\nb"], &["--name", "a\\nb"]),
        (&["export", "--dir", "kept", "--for", "cobol"], &["--for", "cobol"]),
        (&["export", "--dir", "kept", "--for", "java"], &["--out", "needed"]),
        (&["export", "--dir", "kept", "--for", "pem", "--out", "none/a"], &["--out \"none/a\""]),
    ];
    for (args, expected) in CASES {
        let output = ca(directory, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
    assert!(!directory.join("new").exists() && !directory.join("none").exists());
    assert_eq!(fs::read(directory.join("kept/authority.pem")).expect("a file"), kept);
}
