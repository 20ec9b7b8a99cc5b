//! Noticing that the configuration has changed.
//!
//! Contents are compared, not times or inode numbers: a config map that swaps a symbolic link, an editor that writes a
//! new file and a `touch` are all judged by what a reader would find. The files are few and small. What the loader read
//! is marked as it reads, so that a change during a load is noticed after it.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::crypto::digest::Hasher;

/// The most bytes that are read of one file.
pub(super) const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The identity of what a set of files holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl std::fmt::Debug for Fingerprint {
    /// Says nothing: it is computed over secrets too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// The identity of what one file holds, or of what a pattern stands for.
pub(super) type Mark = [u8; 32];

/// Looks at [`super::Loaded::files`] again. A file that is gone, another file that a pattern stands for and a changed
/// mode count as changes.
#[must_use]
pub fn fingerprint(files: &[PathBuf]) -> Fingerprint {
    combine(files.iter().map(|path| (path.as_path(), mark(path))))
}

/// One fingerprint of marks.
pub(super) fn combine<'p>(marks: impl Iterator<Item = (&'p Path, Mark)>) -> Fingerprint {
    let mut all = Hasher::new();
    for (path, mark) in marks {
        all.part(path.as_os_str().as_bytes());
        all.part(&mark);
    }
    Fingerprint(all.finish())
}

/// The mark of what is there now.
pub(super) fn mark(path: &Path) -> Mark {
    if let Ok(found) = expand(path) {
        let mut all = Hasher::new();
        for path in &found {
            all.part(path.as_os_str().as_bytes());
            all.part(&mark_file(path));
        }
        return all.finish();
    }
    mark_file(path)
}

fn mark_file(path: &Path) -> Mark {
    let read = || -> std::io::Result<Mark> {
        // Asked before it is opened: opening a pipe would wait for somebody to write.
        if !std::fs::metadata(path)?.is_file() {
            return Ok(mark_bytes(0, b"no file"));
        }
        let file = File::open(path)?;
        let (mode, mut bytes) = (file.metadata()?.mode(), Vec::new());
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(mark_bytes(mode, &bytes))
    };
    read().unwrap_or_else(|_| mark_bytes(0, b"unreadable"))
}

/// The mark of what was read.
pub(super) fn mark_bytes(mode: u32, bytes: &[u8]) -> Mark {
    let mut all = Hasher::new();
    all.part(&mode.to_be_bytes());
    all.part(bytes);
    all.finish()
}

/// Why a path stands for no files.
pub(super) enum NoPattern {
    /// Its directory cannot be read.
    Directory(PathBuf, std::io::Error),
    /// It has a `*` before its last part.
    Early,
    /// It has no `*`.
    None,
}

/// The files that a path with `*` in its last part stands for, in the order of their names.
pub(super) fn expand(path: &Path) -> Result<Vec<PathBuf>, NoPattern> {
    let (folder, last) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
    if folder.to_string_lossy().contains('*') {
        return Err(NoPattern::Early);
    }
    let Some(last) = last.to_str().filter(|last| last.contains('*')) else { return Err(NoPattern::None) };
    let searched = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries =
        std::fs::read_dir(searched).map_err(|error| NoPattern::Directory(searched.to_owned(), error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        // Like a shell: what begins with a full stop is an editor's or a config map's own.
        .filter(|name| !name.starts_with('.') && matches(last, name))
        .collect();
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect())
}

/// Whether a name is what a pattern with `*` stands for.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_counts_as_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["one", "two", "same-as-two"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a.toml"), if version == "one" { "a = 1" } else { "a = 2" }).unwrap();
        }
        symlink(at("one"), at("data")).unwrap();
        for files in
            [vec![at("data").join("a.toml"), at("data").join("*.toml")], vec![at("data").join("*.toml")]]
        {
            let swap = |to: &str| {
                symlink(at(to), at("new")).unwrap();
                fs::rename(at("new"), at("data")).unwrap();
                fingerprint(&files)
            };
            let first = swap("one");
            assert_eq!(first, fingerprint(&files));
            let second = swap("two");
            assert_ne!(first, second);
            assert_eq!(second, swap("same-as-two"));
            fs::write(at("data").join("b.toml"), "").unwrap();
            let third = fingerprint(&files);
            assert_ne!(second, third);
            fs::write(at("data").join("b.toml"), "b = 1").unwrap();
            let fourth = fingerprint(&files);
            assert_ne!(third, fourth);
            fs::write(at("data").join("cardea.db"), "not ours").unwrap();
            assert_eq!(fourth, fingerprint(&files));
            fs::set_permissions(at("data").join("a.toml"), fs::Permissions::from_mode(0o600)).unwrap();
            let fifth = fingerprint(&files);
            assert_ne!(fourth, fifth);
            fs::rename(at("data").join("a.toml"), at("aside")).unwrap();
            assert_ne!(fifth, fingerprint(&files));
            fs::rename(at("aside"), at("data").join("a.toml")).unwrap();
            fs::set_permissions(at("data").join("a.toml"), fs::Permissions::from_mode(0o644)).unwrap();
            fs::remove_file(at("data").join("b.toml")).unwrap();
        }
    }

    #[test]
    fn stars() {
        for (pattern, name, yes) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml.bak", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("*", "anything", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }
}
