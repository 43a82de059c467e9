//! Whether a directory is there for secrets alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// More entries than this are no directory for secrets alone.
const MAX_ENTRIES: usize = 256;

/// Deeper ones are none either. Orchestrators keep versions one level down, and links to them.
const MAX_DEPTH: usize = 3;

/// The directory that `path` is in, canonical, where nothing else is in it but `files`: the command misses nothing
/// when it is hidden as a whole, and then files may be replaced in it without the new ones being seen.
///
/// `file` is where `path` leads to; `files` are canonical. The working directory is not below one.
pub(super) fn find(path: &Path, file: &Path, files: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let directory = fs::canonicalize(parent).ok()?;
    let is_entered = std::env::current_dir().map_or(true, |working| working.starts_with(&directory));
    let mut left = MAX_ENTRIES;
    let is_own =
        file.starts_with(&directory) && !is_entered && holds_only(&directory, files, MAX_DEPTH, &mut left);
    is_own.then_some(directory)
}

/// Whether there are only `files`, links and directories of such.
fn holds_only(directory: &Path, files: &BTreeSet<PathBuf>, depth: usize, left: &mut usize) -> bool {
    let Ok(mut entries) = fs::read_dir(directory) else { return false };
    depth > 0
        && entries.all(|entry| {
            let Some(remaining) = left.checked_sub(1) else { return false };
            *left = remaining;
            let Ok(entry) = entry else { return false };
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => true,
                Ok(kind) if kind.is_dir() => holds_only(&entry.path(), files, depth - 1, left),
                Ok(kind) => kind.is_file() && files.contains(&entry.path()),
                Err(_) => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_its_secrets_own_while_nothing_else_is_in_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(directory.path()).expect("a path");
        let file = root.join("token");
        fs::write(&file, "value").expect("a file");
        let files = BTreeSet::from([file.clone()]);
        assert_eq!(find(&file, &file, &files), Some(root.clone()));
        assert_eq!(find(&root.join(".").join("token"), &file, &files), Some(root.clone()));
        fs::write(root.join("other"), "").expect("a file");
        assert_eq!(find(&file, &file, &files), None, "a neighbour");
        let both = BTreeSet::from([file.clone(), root.join("other")]);
        assert_eq!(find(&file, &file, &both), Some(root.clone()), "a neighbour that is another's source");
        fs::remove_file(root.join("other")).expect("it goes");
        // A link to elsewhere: hiding this directory hides no secret.
        let elsewhere = root.join("link");
        symlink("/etc/hostname", &elsewhere).expect("a link");
        assert_eq!(find(&elsewhere, Path::new("/etc/hostname"), &files), None);
        let here = std::env::current_dir().expect("a directory");
        assert_eq!(find(&here.join("f"), &here.join("f"), &files), None, "the working directory");
    }

    #[test]
    fn versions_behind_links_are_its_own_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(directory.path()).expect("a path");
        fs::create_dir(root.join("..1")).expect("a directory");
        let file = root.join("..1/token");
        fs::write(&file, "value").expect("a file");
        symlink("..1", root.join("..data")).expect("a link");
        symlink("..data/token", root.join("token")).expect("a link");
        let files = BTreeSet::from([file.clone()]);
        assert_eq!(find(&root.join("token"), &file, &files), Some(root.clone()));
        fs::write(root.join("..1/other"), "").expect("a file");
        assert_eq!(find(&root.join("token"), &file, &files), None);
    }
}
