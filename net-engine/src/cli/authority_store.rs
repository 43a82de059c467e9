//! An authority in a directory of its own: made once, read by whoever starts after that.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use net_tls::{Authority, AuthorityParams};
use zeroize::Zeroizing;

/// Certificate and key in one file, so that there is never one without the other.
pub(super) const AUTHORITY_FILE: &str = "authority.pem";

/// What is being written; left behind by a process that was killed.
const TEMPORARY_PREFIX: &str = ".authority-";

/// A certificate and a key have a few KiB.
const MAX_PEM_BYTES: u64 = 256 << 10;

/// What an authority that is kept is called unless it is given a name.
pub(super) const KEPT_NAME: &str = "net-engine authority";

/// How long it lives.
pub(super) const KEPT_DAYS: u16 = 365;

/// What an authority that is kept is made like.
pub(super) fn kept_params(name: &str, days: u16) -> AuthorityParams {
    let mut params = AuthorityParams::named(name);
    params.lifetime = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    params
}

/// A directory that holds one authority and nothing else.
pub(super) struct AuthorityStore {
    directory: PathBuf,
}

impl AuthorityStore {
    /// Makes the directory where there is none, for the caller alone.
    ///
    /// # Errors
    /// It cannot be made, others may write to it, or it holds something else.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).context("cannot be made")?;
        // What it is called, however it was written: this is what is hidden from the command.
        let directory = fs::canonicalize(directory).context("cannot be found")?;
        let metadata = fs::metadata(&directory).context("cannot be read")?;
        check_owner(metadata.uid())?;
        if metadata.mode() & 0o022 != 0 {
            bail!("others can write to it: chmod 700 it");
        }
        for entry in fs::read_dir(&directory).context("cannot be read")? {
            let name = entry.context("cannot be read")?.file_name();
            let is_ours = name
                .to_str()
                .is_some_and(|name| name == AUTHORITY_FILE || name.starts_with(TEMPORARY_PREFIX));
            if !is_ours {
                bail!(
                    "holds more than an authority: give a directory of its own, which is hidden from the command"
                );
            }
        }
        Ok(Self { directory })
    }

    /// The store where there is a directory already.
    ///
    /// # Errors
    /// As for `open`, and where there is none.
    pub(super) fn existing(directory: &Path) -> Result<Self> {
        if !directory.is_dir() {
            bail!("there is no such directory: `net-engine ca new --dir` makes one");
        }
        Self::open(directory)
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The authority that is kept, made where there is none. Whoever comes at the same time gets the
    /// same.
    pub(super) fn load_or_create(&self, params: &AuthorityParams, now: SystemTime) -> Result<Authority> {
        match self.load(now)? {
            Some(authority) => Ok(authority),
            None => match self.create(params, now)? {
                Some(authority) => Ok(authority),
                None => self.load(now)?.context("was removed while it was read: try again"),
            },
        }
    }

    /// The authority that is kept; `None` where there is none.
    ///
    /// # Errors
    /// Others can read it, or it is no good authority: it is never replaced by another.
    pub(super) fn load(&self, now: SystemTime) -> Result<Option<Authority>> {
        let path = self.directory.join(AUTHORITY_FILE);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{AUTHORITY_FILE} cannot be read")),
        };
        check_private(&file).context(AUTHORITY_FILE)?;
        let text = read_text(&mut file).context(AUTHORITY_FILE)?;
        Ok(Some(Authority::from_pem(&text, &text, now).context(AUTHORITY_FILE)?))
    }

    /// Makes an authority; `None` where there is one already.
    pub(super) fn create(&self, params: &AuthorityParams, now: SystemTime) -> Result<Option<Authority>> {
        let authority = Authority::generate(params, now)?;
        let key = authority.key_pem();
        // Made for its owner alone from the beginning.
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempfile_in(&self.directory)
            .context("cannot be written to")?;
        let written = file
            .write_all(authority.certificate_pem().as_bytes())
            .and_then(|()| file.write_all(key.as_bytes()))
            .and_then(|()| file.as_file().sync_all());
        written.context("cannot be written to")?;
        match file.persist_noclobber(self.directory.join(AUTHORITY_FILE)) {
            Ok(_) => {
                let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
                synced.context("cannot be written to")?;
                Ok(Some(authority))
            }
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error.error).context("cannot be written to"),
        }
    }
}

/// Refuses a key that others can read. What is no file, such as a pipe, has no readers to ask about.
pub(super) fn check_private(file: &File) -> Result<()> {
    let metadata = file.metadata().context("cannot be read")?;
    if metadata.is_file() {
        check_owner(metadata.uid())?;
        if metadata.mode() & 0o077 != 0 {
            bail!("others can read the key: chmod 600 it, and make a new one if others did");
        }
    }
    Ok(())
}

fn check_owner(owner: u32) -> Result<()> {
    if owner != nix::unistd::geteuid().as_raw() && owner != 0 {
        bail!("belongs to another user, who can read it: chown it, and make a new one if others did");
    }
    Ok(())
}

/// PEM of a size that makes sense.
pub(super) fn read_text(file: &mut File) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_PEM_BYTES + 1).read_to_string(&mut text).context("is no PEM text")?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_PEM_BYTES {
        bail!("is larger than 256 KiB");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plan::now;
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Barrier;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its owner may");
    }

    #[test]
    fn eight_that_start_at_once_have_one_authority() {
        const STARTERS: usize = 8;
        for round in 0..20 {
            let above = tempfile::tempdir().expect("a directory");
            let directory = above.path().join("a/b");
            let barrier = Barrier::new(STARTERS);
            let start = || {
                barrier.wait();
                let store = AuthorityStore::open(&directory).expect("a store");
                let authority = store.load_or_create(&AuthorityParams::default(), now()).expect("one");
                // What is signed by the one is signed by all.
                authority.key_pem().to_string() + authority.certificate_pem()
            };
            let found: BTreeSet<String> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..STARTERS).map(|_| scope.spawn(start)).collect();
                all.into_iter().map(|thread| thread.join().expect("it starts")).collect()
            });
            assert_eq!(found.len(), 1, "round {round}");
            let left: Vec<_> = fs::read_dir(&directory).expect("it is there").collect();
            assert_eq!(left.len(), 1, "round {round}: {left:?}");
            let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
            assert_eq!((mode(&directory), mode(&directory.join(AUTHORITY_FILE))), (0o700, 0o600));
        }
    }

    #[test]
    fn what_others_can_reach_or_is_broken_is_refused_and_left_alone() {
        let above = tempfile::tempdir().expect("a directory");
        let directory = above.path().join("ca");
        let store = AuthorityStore::open(&directory).expect("a store");
        store.load_or_create(&AuthorityParams::default(), now()).expect("an authority");
        let file = directory.join(AUTHORITY_FILE);
        let good = fs::read_to_string(&file).expect("text");
        let load = || AuthorityStore::open(&directory)?.load_or_create(&AuthorityParams::default(), now());
        let refused = |case: &str, what: &str| {
            let before = fs::read(&file).expect("it is there");
            let error = format!("{:#}", load().expect_err(case));
            assert!(error.contains(what), "{case}: {error}");
            assert_eq!(fs::read(&file).expect("it is there"), before, "{case}");
        };
        for mode in [0o640, 0o604, 0o660] {
            chmod(&file, mode);
            refused("a key others read", "chmod 600");
        }
        chmod(&file, 0o600);
        for mode in [0o770, 0o777] {
            chmod(&directory, mode);
            refused("a directory others write to", "chmod 700");
        }
        chmod(&directory, 0o700);
        fs::write(directory.join("notes"), "mine").expect("a file");
        refused("a directory of something else", "directory of its own");
        fs::remove_file(directory.join("notes")).expect("it was there");
        for (case, text, what) in [
            ("cut short", &good[..good.len() - 60], "pem"),
            ("empty", "", "certificate"),
            ("no key", good.split_inclusive("-----END CERTIFICATE-----").next().expect("one"), "key"),
        ] {
            fs::write(&file, text).expect("a file");
            refused(case, what);
        }
        fs::write(&file, good).expect("a file");
        // One that was killed while it wrote stops nobody.
        fs::write(directory.join(".authority-abc"), "half").expect("a file");
        assert!(load().is_ok());
    }
}
