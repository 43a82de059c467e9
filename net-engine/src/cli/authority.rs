//! Who signs what the command is shown: an authority of this run, of a directory, or the owner's.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use net_policy::Policy;
use net_tls::{Authority, AuthorityError, AuthorityParams, NameConstraints};
use rustls::KeyLog;
use zeroize::Zeroizing;

use super::args::{AuthorityArgs, ConstraintsArg};
use super::authority_store::{AuthorityStore, KEPT_DAYS, KEPT_NAME, check_private, kept_params, read_text};
use super::config::{Config, Written};
use super::key_log::KeyLogFile;
use super::plan::now;
use super::sandbox::Cover;
use super::sources;
use crate::core::GuestAddresses;
use crate::guest::intercepted_names;

/// What was written about the authority; nothing has been read or made.
pub(super) struct AuthoritySettings {
    source: Source,
    constraints: ConstraintsArg,
    key_log: Option<Written>,
}

enum Source {
    /// Made for this run.
    Ephemeral,
    /// Kept in a directory.
    Directory(Written),
    /// The owner's.
    Files { certificate: Written, key: Written },
}

impl AuthoritySettings {
    /// # Errors
    /// Of directory, certificate and key there is neither the one nor the other two.
    pub(super) fn new(flags: &AuthorityArgs, config: &Config) -> Result<Self> {
        let AuthorityArgs { ca_dir, ca_cert, ca_key, name_constraints, dangerous_tls_keylog } = flags;
        let flag = Written::path_on_command_line;
        let mut all = [
            flag("--ca-dir", ca_dir.as_deref()),
            flag("--ca-cert", ca_cert.as_deref()),
            flag("--ca-key", ca_key.as_deref()),
        ];
        // A flag names another authority, whatever kind the file's is.
        if all.iter().all(Option::is_none) {
            all = [config.ca_dir.clone(), config.ca_cert.clone(), config.ca_key.clone()];
        }
        let source = match all {
            [None, None, None] => Source::Ephemeral,
            [Some(directory), None, None] => Source::Directory(directory),
            [None, Some(certificate), Some(key)] => Source::Files { certificate, key },
            [None, Some(certificate), None] => bail!("{}: needs a ca_key too", certificate.named()),
            [None, None, Some(key)] => bail!("{}: needs a ca_cert too", key.named()),
            [Some(directory), _, _] => bail!("{}: is one authority, and ca_cert another", directory.named()),
        };
        let key_log = flag("--dangerous-tls-keylog", dangerous_tls_keylog.as_deref());
        Ok(Self {
            source,
            constraints: name_constraints.unwrap_or(config.name_constraints),
            key_log: key_log.or_else(|| config.dangerous_tls_keylog.clone()),
        })
    }

    /// Reads or makes the authority; also what holds its key and must be hidden. Where the rules may change
    /// it is good for all names: those of tomorrow are not known.
    pub(super) fn prepare(
        &self,
        policy: &Policy,
        ports: &BTreeSet<u16>,
        rules_may_change: bool,
    ) -> Result<(Authority, Vec<Cover>)> {
        let constraints = if rules_may_change { ConstraintsArg::Off } else { self.constraints };
        match &self.source {
            Source::Ephemeral => Ok((ephemeral(constraints, policy, ports)?, Vec::new())),
            Source::Directory(written) => {
                let context = || written.named();
                let store = AuthorityStore::open(Path::new(&written.text)).with_context(context)?;
                let working = std::env::current_dir();
                if working.is_ok_and(|working| working.starts_with(store.directory())) {
                    bail!(
                        "{}: is hidden from the command: start net-engine from another directory",
                        written.named()
                    );
                }
                let params = kept_params(KEPT_NAME, KEPT_DAYS);
                let authority = store.load_or_create(&params, now()).with_context(context)?;
                let cover = Cover { path: store.directory().to_owned(), field: written.place.clone() };
                Ok((authority, vec![cover]))
            }
            Source::Files { certificate, key } => owned(certificate, key),
        }
    }

    /// Opens the log of TLS keys, if one is asked for, and says so.
    pub(super) fn open_key_log(&self, covers: &mut Vec<Cover>) -> Result<Option<Arc<dyn KeyLog>>> {
        let Some(written) = &self.key_log else { return Ok(None) };
        let (key_log, path) = KeyLogFile::open(written)?;
        covers.push(Cover { path, field: written.place.clone() });
        eprintln!(
            "net-engine: {}: whoever reads this file reads the command's TLS, secrets included",
            written.named()
        );
        Ok(Some(Arc::new(key_log)))
    }
}

fn owned(certificate: &Written, key: &Written) -> Result<(Authority, Vec<Cover>)> {
    let (certificate_text, certificate_place) = read(certificate, |_| Ok(()))?;
    let (key_text, key_place) = read(key, check_private)?;
    let context = || format!("{} and {}", certificate.named(), key.named());
    let authority = Authority::from_pem(&certificate_text, &key_text, now()).with_context(context)?;
    // A certificate is for everybody, unless its file holds a key as well.
    let certificate_place = certificate_place.filter(|_| certificate_text.contains("PRIVATE KEY"));
    let places = [(key, key_place), (certificate, certificate_place)];
    let covers = places
        .into_iter()
        .filter_map(|(written, place)| place.map(|path| Cover { path, field: written.place.clone() }));
    Ok((authority, covers.collect()))
}

fn read(
    written: &Written,
    check: impl FnOnce(&File) -> Result<()>,
) -> Result<(Zeroizing<String>, Option<PathBuf>)> {
    let path = Path::new(&written.text);
    let mut file = File::open(path).with_context(|| {
        format!("{}: cannot be read: check the path, and that you may read it", written.named())
    })?;
    check(&file).with_context(|| written.named())?;
    let text = read_text(&mut file).with_context(|| written.named())?;
    Ok((text, sources::place(path, &file).with_context(|| written.named())?))
}

/// Good for this run, and where it can be told for the names that may be asked for.
fn ephemeral(when: ConstraintsArg, policy: &Policy, ports: &BTreeSet<u16>) -> Result<Authority> {
    let mut params = AuthorityParams::default();
    if let (ConstraintsArg::Auto, Some(names)) = (when, intercepted_names(policy, ports)) {
        // Resolvers over TLS are answered at the gateway's addresses.
        let gateways = GuestAddresses::default();
        let networks = gateways.gateways().map(|gateway| (gateway, if gateway.is_ipv4() { 32 } else { 128 }));
        match NameConstraints::permitting(names, networks) {
            Ok(constraints) => params.constraints = Some(constraints),
            Err(AuthorityError::TooManySubtrees) => {
                eprintln!("net-engine: too many names are allowed to constrain the authority to them");
            }
            Err(error) => return Err(error).context("the certificate authority"),
        }
    }
    Authority::generate(&params, now()).context("the certificate authority")
}
