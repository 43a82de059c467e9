//! The secrets of a command while it runs.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow};
use net_secrets::{Action, Binding, BodyTypes, HeaderNames, Places, SecretSet, SecretSource, SecretValue};

use super::own_directory;
use super::refresher::{FileTask, Refresher};
use super::renewal::Renewal;
use super::sandbox::Cover;
use super::secret_settings::SecretSettings;
use super::sources;

/// Secrets with their values, which may change.
#[derive(Default)]
pub(super) struct HeldSecrets(Vec<HeldSecret>);

struct HeldSecret {
    /// Where it was written.
    place: String,
    binding: Binding,
    /// There is no value: `binding` has one that was drawn, and permits nothing.
    is_revoked: bool,
}

/// What is known of the secrets once they have been read.
#[derive(Default)]
pub(super) struct ReadSecrets {
    pub(super) held: HeldSecrets,
    /// What reads their sources again.
    pub(super) refresher: Refresher,
    /// Variables that held one: the command does not get them.
    pub(super) removed_variables: BTreeSet<String>,
    /// Files that hold one, and directories that hold nothing else.
    pub(super) covers: Vec<Cover>,
}

impl ReadSecrets {
    /// Reads the values.
    ///
    /// # Errors
    /// One line that names where a secret was written, and its source, but no value.
    pub(super) fn new(all: Vec<SecretSettings>) -> Result<Self> {
        let mut read = Self::default();
        let mut files = Vec::new();
        for (number, secret) in (0..).zip(all) {
            let field = format!("{}.source", secret.place);
            let (value, file) = sources::read(&secret.spec.source).with_context(|| field.clone())?;
            match &secret.spec.source {
                SecretSource::Env(name) => {
                    read.removed_variables.insert(name.clone());
                }
                SecretSource::File(path) => {
                    files.extend(file.map(|file| (number, path.clone(), file, field)))
                }
                SecretSource::Command(command) => {
                    if let Some(ttl) = secret.ttl {
                        read.refresher.add_command(number, command.clone(), ttl);
                    }
                }
                SecretSource::DangerousValue(_) | _ => {}
            }
            let (place, binding) = (secret.place.clone(), secret.bind(value)?);
            read.held.0.push(HeldSecret { place, binding, is_revoked: false });
        }
        let canonical: BTreeSet<_> = files.iter().map(|(_, _, file, _)| file.clone()).collect();
        for (number, path, file, field) in files {
            let hidden = own_directory::find(&path, &file, &canonical);
            let directory = hidden.clone().map(|path| Cover { path, field: field.clone() });
            read.covers.extend(directory);
            read.covers.push(Cover { path: file.clone(), field });
            read.refresher.add_file(number, FileTask::new(path, file, hidden));
        }
        Ok(read)
    }
}

impl HeldSecrets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all values are in memory that is never written to swap.
    pub(super) fn are_locked(&self) -> bool {
        self.0.iter().all(|secret| secret.is_revoked || secret.binding.value.is_locked())
    }

    /// What the engine works with.
    ///
    /// # Errors
    /// What cannot be told apart, and values that cannot be used.
    pub(super) fn compile(&self) -> Result<SecretSet> {
        let mut key = [0; 8];
        getrandom::fill(&mut key).map_err(|_| anyhow!("secrets: no randomness"))?;
        Ok(SecretSet::compile(self.0.iter().map(HeldSecret::binding).collect::<Result<_>>()?, key)?)
    }

    /// Takes a change over: what the engine works with from now on, where that is something else, and what to
    /// tell of it.
    pub(super) fn renew(&mut self, number: u32, renewal: Renewal) -> (Option<SecretSet>, Option<String>) {
        let found = usize::try_from(number).ok().and_then(|number| self.0.get_mut(number));
        let Some(secret) = found else { return (None, None) };
        let place = secret.place.clone();
        let (was_revoked, before) = (secret.is_revoked, secret.binding.value.clone());
        let told = match renewal {
            Renewal::Failed(why) => return (None, Some(format!("{place}: {why}"))),
            Renewal::Value(value) if !was_revoked && value.expose() == before.expose() => {
                return (None, None);
            }
            Renewal::Revoked(_) if was_revoked => return (None, None),
            Renewal::Value(value) => {
                (secret.binding.value, secret.is_revoked) = (value, false);
                format!("{place}: a new value was taken over")
            }
            Renewal::Revoked(why) => {
                secret.is_revoked = true;
                format!("{place}: {why}: the secret is nobody's until it has a value again")
            }
        };
        match self.compile() {
            Ok(set) => (Some(set), Some(told)),
            Err(error) => {
                if let Some(secret) = usize::try_from(number).ok().and_then(|number| self.0.get_mut(number)) {
                    (secret.binding.value, secret.is_revoked) = (before, was_revoked);
                }
                (None, Some(format!("{place}: {error:#}; the value stays as it was")))
            }
        }
    }
}

impl HeldSecret {
    /// What there is to compile. Where the value is gone the placeholder still may go nowhere.
    fn binding(&self) -> Result<Binding> {
        if !self.is_revoked {
            return Ok(self.binding.clone());
        }
        let mut nothing = [0; 32];
        getrandom::fill(&mut nothing).map_err(|_| anyhow!("secrets: no randomness"))?;
        let places = Places {
            headers: HeaderNames::None,
            basic_auth: false,
            query: false,
            path: false,
            body: BodyTypes::None,
            websocket: false,
            trailers: false,
        };
        Ok(Binding {
            places,
            value: SecretValue::new(nothing.to_vec()),
            // The command cannot know.
            on_violation: self.binding.on_violation.min(Action::BlockAndLog),
            ..self.binding.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use net_secrets::{Destination, ViolationKind};

    use super::*;
    use crate::cli::args::PolicyArgs;
    use crate::cli::config::Config;

    fn read(text: &str) -> ReadSecrets {
        let config = Config::parse("f.toml", text).expect(text);
        let settings = SecretSettings::all(&PolicyArgs::default(), &config).expect(text);
        ReadSecrets::new(settings).expect(text)
    }

    const ONE: &str = "[[secrets]]\nenv = \"KEY\"\nsource = \"dangerous-value:hunter22\"\nhosts = [\"a.example\"]\n\
                       placeholder = \"my-placeholder\"\non_violation = \"block_and_terminate\"\n";

    fn sent(set: &SecretSet) -> Result<Vec<u8>, ViolationKind> {
        let host = "a.example".parse().expect("a name");
        let to = Destination { host: Some(&host), port: 443, is_verified: true };
        let sent = set.substitute_header(&to, "x-key", b"my-placeholder");
        sent.map(|value| value.expect("it is a placeholder").to_vec()).map_err(|violation| violation.kind)
    }

    fn value(text: &str) -> Renewal {
        Renewal::Value(SecretValue::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_secret_is_renewed_revoked_and_comes_back() {
        let mut held = read(ONE).held;
        assert_eq!(sent(&held.compile().expect("a set")), Ok(b"hunter22".to_vec()));
        let (set, told) = held.renew(0, value("hunter23"));
        assert_eq!(sent(&set.expect("another set")), Ok(b"hunter23".to_vec()));
        assert_eq!(told.as_deref(), Some("f.toml line 2: secrets.KEY: a new value was taken over"));
        assert!(matches!(held.renew(0, value("hunter23")), (None, None)), "the same");
        assert!(matches!(held.renew(7, value("hunter23")), (None, None)), "nobody's");
        let (set, told) = held.renew(0, Renewal::Failed("no".to_owned()));
        assert!(set.is_none() && told.is_some_and(|told| told.ends_with("secrets.KEY: no")));

        let (set, told) = held.renew(0, Renewal::Revoked("its file is gone".to_owned()));
        assert_eq!(sent(&set.expect("another set")), Err(ViolationKind::Place));
        assert!(told.is_some_and(|told| told.contains("its file is gone: the secret is nobody's")));
        assert!(matches!(held.renew(0, Renewal::Revoked("again".to_owned())), (None, None)));
        // The value it had before, too.
        let (set, _) = held.renew(0, value("hunter23"));
        assert_eq!(sent(&set.expect("another set")), Ok(b"hunter23".to_vec()));
    }

    #[test]
    fn a_value_that_cannot_be_used_changes_nothing() {
        let mut held = read(ONE).held;
        let (set, told) = held.renew(0, value("short"));
        let told = told.expect("it is told");
        assert!(set.is_none() && told.ends_with("the value stays as it was"), "{told}");
        assert!(!told.contains("\"short\"") && told.contains("less than 8 bytes"), "{told}");
        assert_eq!(sent(&held.compile().expect("a set")), Ok(b"hunter22".to_vec()));
    }

    #[test]
    fn the_use_of_a_revoked_secret_does_not_end_the_command() {
        let mut held = read(ONE).held;
        let (set, _) = held.renew(0, Renewal::Revoked("gone".to_owned()));
        let set = set.expect("a set");
        let violation = set.check(b"my-placeholder").expect_err("it may go nowhere");
        assert_eq!(violation.action, Action::BlockAndLog);
    }

    #[test]
    fn a_directory_of_its_own_is_covered_and_one_of_others_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = std::fs::canonicalize(directory.path()).expect("a path");
        let file = root.join("key");
        std::fs::write(&file, "hunter22\n").expect("a file");
        let text = ONE.replace("dangerous-value:hunter22", &format!("file:{}", file.display()));
        let paths = |text: &str| read(text).covers.into_iter().map(|cover| cover.path).collect::<Vec<_>>();
        assert_eq!(paths(&text), [root.clone(), file.clone()]);
        std::fs::write(root.join("script"), "").expect("a file");
        assert_eq!(paths(&text), [file]);
    }
}
