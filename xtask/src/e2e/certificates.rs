//! A certificate authority of our own and what it signs, all made by the `openssl` program.

use anyhow::{Context, Result};

use crate::e2e::scratch::Scratch;
use crate::e2e::world::{PEER, WEB};
use crate::process;
use crate::space::clean;

/// The name by which a test tells the real certificate from a minted one.
pub(crate) const ISSUER: &str = "Upstream Test CA";

/// Makes `ca.pem`; `good`, `expired` and `selfsigned` with `.pem` and `.key`.
pub(crate) fn make(scratch: &Scratch) -> Result<()> {
    let names = ["web", "other", "peer", "v4", "v6", "alias", "h2", "grpc", "ws", "echo"]
        .map(|name| format!("DNS:{name}.test"));
    let addresses = [WEB, PEER].concat().into_iter().map(|address| format!("IP:{address}"));
    let names = names.into_iter().chain(addresses).collect::<Vec<_>>().join(",");
    authority(scratch)?;
    leaf(scratch, "good", &names, "20200101000000Z", "20990101000000Z")?;
    leaf(scratch, "expired", "DNS:expired.test", "20200101000000Z", "20200201000000Z")?;
    let subject = ["-subj", "/CN=selfsigned.test", "-addext", "subjectAltName=DNS:selfsigned.test"];
    let request = ["req", "-x509", "-new", "-days", "30", "-key", "selfsigned.key", "-out", "selfsigned.pem"];
    key(scratch, "selfsigned")?;
    openssl(scratch, &[&request[..], &subject].concat())
}

fn authority(scratch: &Scratch) -> Result<()> {
    // `openssl ca` is the only command that sets both dates; it wants its book-keeping.
    scratch.write(
        "ca.conf",
        b"[ca]\ndefault_ca = own\n[own]\ndatabase = ca.index\nrand_serial = yes\nnew_certs_dir = .\n\
          default_md = sha256\npolicy = any\nunique_subject = no\ncopy_extensions = copy\n\
          x509_extensions = identifiers\n[any]\ncommonName = supplied\n\
          [identifiers]\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n",
    )?;
    scratch.write("ca.index", b"")?;
    key(scratch, "ca")?;
    let subject = format!("/CN={ISSUER}");
    let usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    let request =
        ["req", "-x509", "-new", "-days", "30", "-key", "ca.key", "-out", "ca.pem", "-subj", &subject];
    openssl(scratch, &[&request[..], &usage].concat())
}

/// A leaf for `names`, valid between two dates in ASN.1 notation.
fn leaf(scratch: &Scratch, file: &str, names: &str, from: &str, until: &str) -> Result<()> {
    let (key_file, request, pem) = (format!("{file}.key"), format!("{file}.csr"), format!("{file}.pem"));
    let names = format!("subjectAltName={names}");
    key(scratch, file)?;
    openssl(
        scratch,
        &[
            "req",
            "-new",
            "-key",
            &key_file,
            "-out",
            &request,
            "-subj",
            "/CN=leaf",
            "-addext",
            &names,
            "-addext",
            "extendedKeyUsage=serverAuth",
        ],
    )?;
    openssl(
        scratch,
        &[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.conf",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            &request,
            "-out",
            &pem,
            "-startdate",
            from,
            "-enddate",
            until,
        ],
    )
}

fn key(scratch: &Scratch, file: &str) -> Result<()> {
    let out = format!("{file}.key");
    openssl(scratch, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &out])
}

fn openssl(scratch: &Scratch, args: &[&str]) -> Result<()> {
    let mut command = clean("openssl");
    let output = command.current_dir(scratch.dir()).args(args).output().context("cannot start openssl")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("`{}` failed: {said}", process::line(&command));
    }
    Ok(())
}
