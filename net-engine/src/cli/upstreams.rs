//! Trust that is of some upstreams only, and who we are to them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use net_policy::{Target, parse_target};
use net_secrets::SecretSource;
use net_tls::{ClientIdentity, SpkiPin, UpstreamTrust, parse_ca_pem};

use super::config::{UpstreamConfig, Written};
use super::sandbox::Cover;
use super::sources;
use crate::HostTrust;

/// What was written about some upstreams, checked; no secret has been read.
pub(super) struct UpstreamSettings {
    hosts: Vec<Target>,
    trust: UpstreamTrust,
    identity: Option<IdentitySettings>,
}

/// An identity before its key is read.
struct IdentitySettings {
    certificate: Written,
    key: Written,
    source: SecretSource,
}

/// What reading the keys of identities has shown.
#[derive(Default)]
pub(super) struct Identities {
    pub(super) trust: Vec<HostTrust>,
    /// Variables that hold a key.
    pub(super) removed_variables: BTreeSet<String>,
    /// Files that hold a key.
    pub(super) covers: Vec<Cover>,
}

impl UpstreamSettings {
    /// Trust like `trust`, as far as `config` does not say otherwise.
    ///
    /// # Errors
    /// One line that names where the setting was written, and the setting.
    pub(super) fn new(config: &UpstreamConfig, trust: &UpstreamTrust) -> Result<Self> {
        let UpstreamConfig { place, hosts, ca, spki_pins, client_cert, client_key, .. } = config;
        let is_dangerous = config.dangerous_skip_verification;
        if hosts.is_empty() {
            bail!("{place}.hosts: is empty: name the hosts this is for");
        }
        let hosts = hosts.iter().map(host).collect::<Result<Vec<Target>>>()?;
        let mut trust = trust.clone();
        for file in ca {
            let (pem, _) = sources::read_file(file.text.as_ref()).with_context(|| file.named())?;
            let certificates = parse_ca_pem(&pem)
                .with_context(|| format!("{}: give a PEM file of certificates", file.named()))?;
            trust.add(certificates);
        }
        let pins = spki_pins.iter().map(|pin| pin.text.parse::<SpkiPin>().with_context(|| pin.named()));
        let pins = pins.collect::<Result<Vec<SpkiPin>>>()?;
        if is_dangerous {
            if !pins.is_empty() || !ca.is_empty() {
                bail!(
                    "{place}.dangerous_skip_verification: ca and spki_pins would not be looked at: remove it, or them"
                );
            }
            trust = trust.dangerous_skip_verification();
        }
        let identity = match (client_cert, client_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let source = SecretSource::parse(&key.text).with_context(|| key.place.clone())?;
                Some(IdentitySettings { certificate: certificate.clone(), key: key.clone(), source })
            }
            (Some(certificate), None) => bail!("{}: needs a client_key too", certificate.named()),
            (None, Some(key)) => bail!("{}: needs a client_cert too", key.place),
        };
        Ok(Self { hosts, trust: trust.with_pins(pins), identity })
    }

    /// What `check` has to say of it.
    pub(super) fn warning(&self) -> Option<String> {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        (!self.trust.verifies()).then(|| {
            format!("nobody looks at the certificates of {}: they may be anybody's", hosts.join(", "))
        })
    }

    /// Reads the keys of identities.
    pub(super) fn read(all: Vec<Self>) -> Result<Identities> {
        let mut read = Identities::default();
        for Self { hosts, mut trust, identity } in all {
            if let Some(identity) = identity {
                trust = trust.with_identity(identity.read(&mut read)?);
            }
            read.trust.push(HostTrust::new(hosts, trust)?);
        }
        Ok(read)
    }
}

impl IdentitySettings {
    fn read(self, read: &mut Identities) -> Result<ClientIdentity> {
        let Self { certificate, key, source } = self;
        let (chain, chain_place) =
            sources::read_file(certificate.text.as_ref()).with_context(|| certificate.named())?;
        let (value, key_place) = sources::read(&source).with_context(|| key.place.clone())?;
        let chain = String::from_utf8_lossy(&chain);
        // A certificate is for everybody, unless its file holds a key as well.
        let chain_place = chain_place.filter(|_| chain.contains("PRIVATE KEY"));
        let text =
            std::str::from_utf8(value.expose()).with_context(|| format!("{}: is not PEM", key.place))?;
        // The text names a source and may be a command with a value in it: it is not shown.
        let identity = ClientIdentity::from_pem(&chain, text)
            .with_context(|| format!("{} and {}", certificate.named(), key.place))?;
        if let SecretSource::Env(name) = source {
            read.removed_variables.insert(name);
        }
        let places = [(key.place, key_place), (certificate.place, chain_place)];
        for (field, place) in places {
            let Some(path) = place else { continue };
            if read.covers.iter().all(|cover| cover.path != path) {
                read.covers.push(Cover { path, field });
            }
        }
        Ok(identity)
    }
}

/// A name, an address or a prefix, with ports where it has some.
fn host(text: &Written) -> Result<Target> {
    let target = parse_target(&text.text).with_context(|| text.named())?;
    HostTrust::new(vec![target.clone()], UpstreamTrust::default()).with_context(|| text.named())?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use net_tls::{Authority, AuthorityParams};

    use super::super::config::Config;
    use super::super::plan::now;
    use super::*;

    const PIN: &str = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn settings(table: &str) -> Result<Vec<UpstreamSettings>> {
        let config = Config::parse("f.toml", table)?;
        config.upstream.iter().map(|one| UpstreamSettings::new(one, &UpstreamTrust::default())).collect()
    }

    fn error(table: &str) -> String {
        let all = settings(table).and_then(UpstreamSettings::read);
        format!("{:#}", all.map(drop).expect_err(table))
    }

    #[test]
    fn an_error_names_the_field_and_what_to_do() {
        let authority = Authority::generate(&AuthorityParams::default(), now()).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        fs::write(&certificate, authority.certificate_pem()).expect("a file");
        let other = Authority::generate(&AuthorityParams::default(), now()).expect("an authority");
        fs::write(&key, other.key_pem().as_bytes()).expect("a file");
        let client = |cert: &str, key: &str| {
            format!("[[upstream]]\nhosts = [\"a.b\"]\nclient_cert = \"{cert}\"\nclient_key = \"{key}\"")
        };
        let cases = [
            ("[[upstream]]\nca = []".to_owned(), "missing field `hosts`"),
            (
                "[[upstream]]\nhosts = []".to_owned(),
                "f.toml line 1: upstream.hosts: is empty: name the hosts",
            ),
            ("[[upstream]]\nhosts = [\"any\"]".to_owned(), "line 2: upstream.hosts \"any\": neither a name"),
            ("[[upstream]]\nhosts = [\"a.b:x\"]".to_owned(), "line 2: upstream.hosts \"a.b:x\": "),
            (
                "[[upstream]]\nhosts = [\"a.b\"]\nspki_pins = [\"sha256/x\"]".to_owned(),
                "line 3: upstream.spki_pins \"sha256/x\": not a pin of a key: write it as sha256/",
            ),
            (
                "[[upstream]]\nhosts = [\"a.b\"]\nca = [\"/nowhere\"]".to_owned(),
                "line 3: upstream.ca \"/nowhere\": cannot be read",
            ),
            (
                format!(
                    "[[upstream]]\nhosts = [\"a.b\"]\nspki_pins = [\"{PIN}\"]\ndangerous_skip_verification = true"
                ),
                "upstream.dangerous_skip_verification: ca and spki_pins would not be looked at: remove it",
            ),
            (
                "[[upstream]]\nhosts = [\"a.b\"]\nclient_cert = \"c.pem\"".to_owned(),
                "line 3: upstream.client_cert \"c.pem\": needs a client_key too",
            ),
            (
                "[[upstream]]\nhosts = [\"a.b\"]\nclient_key = \"cmd:echo s3cret\"".to_owned(),
                "line 3: upstream.client_key: needs a client_cert too",
            ),
            (client(&certificate, "plain.pem"), "line 4: upstream.client_key: "),
            (
                client(&certificate, "cmd:echo s3cret"),
                "upstream.client_key: the key is not a pem private key",
            ),
            (
                client(&certificate, &format!("file:{key}")),
                "the key does not belong to the first certificate",
            ),
            (
                client("/nowhere", &format!("file:{key}")),
                "line 3: upstream.client_cert \"/nowhere\": cannot be read",
            ),
        ];
        for (table, expected) in cases {
            let error = error(&table);
            assert!(error.contains(expected), "{table}: {error}");
            assert!(!error.contains("s3cret") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_holds_a_key_is_kept_from_the_command() {
        let authority = Authority::generate(&AuthorityParams::default(), now()).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        let directory = fs::canonicalize(directory.path()).expect("a path");
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).expect("a file");
            path.to_str().expect("UTF-8").to_owned()
        };
        let certificate = write("cert.pem", authority.certificate_pem());
        let key = write("key.pem", &authority.key_pem());
        let both = write("both.pem", &(authority.certificate_pem().to_owned() + &authority.key_pem()));
        let cases: [(&str, String, &[&str]); 3] = [
            (&certificate, format!("file:{key}"), &[&key]),
            (&both, format!("file:{both}"), &[&both]),
            (&certificate, format!("cmd:cat {key}"), &[]),
        ];
        for (certificate, source, expected) in cases {
            let table = format!(
                "[[upstream]]\nhosts = [\"a.b\"]\nclient_cert = \"{certificate}\"\nclient_key = \"{source}\""
            );
            let read = settings(&table).and_then(UpstreamSettings::read).expect(&table);
            let covered: Vec<&Path> = read.covers.iter().map(|cover| cover.path.as_path()).collect();
            assert_eq!(covered, expected.iter().map(Path::new).collect::<Vec<&Path>>(), "{table}");
            assert_eq!(read.trust.len(), 1);
            assert!(!format!("{:?}", read.trust).contains("PRIVATE"));
        }
    }

    #[test]
    fn what_verifies_nothing_is_said() {
        let table = "[[upstream]]\nhosts = [\"a.b:443\"]\ndangerous_skip_verification = true\n\
                     [[upstream]]\nhosts = [\"c.d\"]\n";
        let all = settings(table).expect(table);
        let warnings: Vec<Option<String>> = all.iter().map(UpstreamSettings::warning).collect();
        assert!(warnings[0].as_ref().is_some_and(|warning| warning.contains("a.b:443")), "{warnings:?}");
        assert_eq!(warnings[1], None);
    }
}
