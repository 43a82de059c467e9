//! `ca`: the authority that signs where TLS is opened, as its owner sees it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use net_policy::UnixTime;
use net_tls::{AuthorityCertificate, TRUST_VARIABLES};

use super::args::{CaCommand, CaExport, CaExportArgs, CaNewArgs, CaSource};
use super::authority_store::{AUTHORITY_FILE, AuthorityStore, kept_params, read_text};
use super::environment::AUTHORITY_VARIABLE;
use super::plan::now;
use super::trust::{TrustFiles, system_bundle};

/// What X.520 has room for in a common name.
const MAX_NAME: usize = 64;

/// How NSS is told of an authority: a database of the user's, which Chromium reads.
const TELL_NSS: &str = "mkdir -p \"$HOME/.pki/nssdb\"
certutil -d \"sql:$HOME/.pki/nssdb\" -A -t C,, -n net-engine -i \"$NET_ENGINE_CA_CERT\"
";

/// Does what one of the verbs of `ca` says.
pub(super) fn ca(command: &CaCommand) -> Result<ExitCode> {
    match command {
        CaCommand::Show(source) => show(&certificate(source)?)?,
        CaCommand::New(args) => show(&new(args)?)?,
        CaCommand::Export(args) => export(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn certificate(source: &CaSource) -> Result<AuthorityCertificate> {
    if let Some(directory) = &source.dir {
        let context = || format!("--dir \"{}\"", directory.display());
        let store = AuthorityStore::existing(directory).with_context(context)?;
        let authority = store.load(now()).with_context(context)?;
        let authority = authority.with_context(|| {
            format!("{}: holds no authority: `net-engine ca new --dir` makes one", context())
        })?;
        return Ok(authority.certificate().clone());
    }
    // One of the two is there.
    let path = source.cert.as_deref().unwrap_or_else(|| Path::new(""));
    let context = || format!("--cert \"{}\"", path.display());
    let mut file = File::open(path).context("cannot be read").with_context(context)?;
    let text = read_text(&mut file).with_context(context)?;
    AuthorityCertificate::from_pem(&text, now()).with_context(context)
}

fn new(args: &CaNewArgs) -> Result<AuthorityCertificate> {
    let CaNewArgs { dir, name, days } = args;
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        bail!("--name \"{}\": is not 1 to {MAX_NAME} printable characters", name.escape_debug());
    }
    let context = || format!("--dir \"{}\"", dir.display());
    let store = AuthorityStore::open(dir).with_context(context)?;
    match store.create(&kept_params(name, *days), now()).with_context(context)? {
        Some(authority) => Ok(authority.certificate().clone()),
        None => bail!("{}: holds an authority already: remove its {AUTHORITY_FILE} first", context()),
    }
}

fn show(certificate: &AuthorityCertificate) -> Result<()> {
    let [from, until] = [certificate.not_before(), certificate.not_after()].map(UnixTime::from);
    let constraints = certificate.constraints().map_or_else(|| "none".to_owned(), ToString::to_string);
    let text = format!(
        "subject      {}\nfingerprint  SHA-256 {}\nvalid        {from} to {until}\nconstraints  {constraints}\n",
        // Somebody else may have chosen it.
        certificate.subject().escape_debug(),
        certificate.fingerprint(),
    );
    print(text.as_bytes())
}

fn export(args: &CaExportArgs) -> Result<()> {
    let CaExportArgs { source, kind, out } = args;
    let certificate = certificate(source)?;
    let bytes = match kind {
        CaExport::Pem | CaExport::Nss => certificate.pem().as_bytes().to_vec(),
        CaExport::Java => TrustFiles::new(&system_bundle(), certificate.pem())?.key_store,
        CaExport::Bundle
        | CaExport::Go
        | CaExport::Openssl
        | CaExport::Ruby
        | CaExport::Curl
        | CaExport::Python
        | CaExport::Node
        | CaExport::Deno
        | CaExport::Git
        | CaExport::Grpc
        | CaExport::Aws
        | CaExport::Rust
        | CaExport::Nix => TrustFiles::new(&system_bundle(), certificate.pem())?.bundle.into_bytes(),
    };
    let Some(out) = out else {
        if let CaExport::Pem | CaExport::Bundle = kind {
            return print(&bytes);
        }
        bail!("--out: is needed: the variables name the file");
    };
    let path =
        write(out, &bytes).with_context(|| format!("--out \"{}\": cannot be written", out.display()))?;
    let Some(path) = path.to_str() else { bail!("--out \"{}\": is no text", out.display()) };
    let runtime = clap::ValueEnum::to_possible_value(kind);
    let runtime = runtime.as_ref().map_or("", |value| value.get_name());
    let variables = TRUST_VARIABLES.iter().filter(|variable| variable.runtimes.contains(&runtime));
    let mut lines: String =
        variables.map(|variable| assignment(variable.name, &variable.value(path))).collect();
    if *kind == CaExport::Nss {
        lines.push_str(&assignment(AUTHORITY_VARIABLE, path));
        lines.push_str(TELL_NSS);
    }
    print(lines.as_bytes())
}

/// A line of a shell's.
fn assignment(name: &str, value: &str) -> String {
    format!("export {name}='{}'\n", value.replace('\'', "'\\''"))
}

/// Writes a file anew, whole or not at all; where it is.
fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or_else(|| Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(fs::canonicalize(path)?)
}

fn print(bytes: &[u8]) -> Result<()> {
    std::io::stdout().write_all(bytes).context("stdout")
}
