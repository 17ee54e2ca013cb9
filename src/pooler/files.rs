//! Writes PgBouncer's files: first all of them beside the old ones, then each into its place.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::random_hex;

/// A file as it is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its text.
    pub text: String,
    /// Who may read it.
    pub mode: u32,
    /// Whether its lines may not be shown.
    pub secret: bool,
}

/// What becomes of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Its path.
    pub path: PathBuf,
    /// `created`, `changed` or `unchanged`.
    pub status: &'static str,
    /// Lines that are new.
    pub added: usize,
    /// Lines that are gone.
    pub removed: usize,
    /// The lines, `+` or `-` in front; without those of a secret.
    #[serde(skip)]
    pub diff: Vec<String>,
}

/// Compares the files of a folder with what they are to be; changes nothing.
///
/// # Errors
/// Kind `store` for a file that cannot be read.
pub fn compare(folder: &Path, wanted: &[Wanted]) -> Result<Vec<Change>> {
    let compare = |file: &Wanted| {
        let path = folder.join(file.name);
        let old = read(&path)?;
        let (added, removed) = difference(old.as_deref().unwrap_or_default(), &file.text);
        let mode_differs = fs::metadata(&path).is_ok_and(|m| m.permissions().mode() & 0o7777 != file.mode);
        let shown = |sign: char, line: &&str| {
            let line = if file.secret { "(a password)" } else { *line };
            format!("{sign}{line}")
        };
        let diff = removed
            .iter()
            .map(|l| shown('-', l))
            .chain(added.iter().map(|l| shown('+', l)));
        Ok(Change {
            status: match &old {
                None => "created",
                Some(old) if *old == file.text && !mode_differs => "unchanged",
                Some(_) => "changed",
            },
            added: added.len(),
            removed: removed.len(),
            diff: diff.collect(),
            path,
        })
    };
    wanted.iter().map(compare).collect()
}

/// The files that are about to change as they are, to be put back; a password file is not among them, as its password has
/// been changed in the server, too.
///
/// # Errors
/// Kind `store`.
pub fn before(wanted: &[Wanted], changes: &[Change]) -> Result<Vec<Wanted>> {
    let mut before = Vec::new();
    for (file, change) in wanted.iter().zip(changes) {
        if change.status == "changed"
            && !file.secret
            && let Some(text) = read(&change.path)?
        {
            before.push(Wanted { text, ..file.clone() });
        }
    }
    Ok(before)
}

/// A file's text; none where there is no such file.
///
/// # Errors
/// Kind `store`.
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(ErrorKind::Store, format!("cannot read {}", path.display()))
            .with_cause(error)
            .with_hint("Run tenantctl as the user that owns PgBouncer's files, or as root.")),
    }
}

/// Lines that only the new text has, and lines that only the old one has, each in their order; lines that moved are neither.
fn difference<'a>(old: &'a str, new: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    fn beyond<'a>(text: &'a str, other: &str) -> Vec<&'a str> {
        let mut left: HashMap<&str, usize> = HashMap::new();
        for line in other.lines() {
            *left.entry(line).or_default() += 1;
        }
        let mut beyond = Vec::new();
        for line in text.lines() {
            match left.get_mut(line) {
                Some(n) if *n > 0 => *n -= 1,
                _ => beyond.push(line),
            }
        }
        beyond
    }
    (beyond(new, old), beyond(old, new))
}

/// Files that lie beside their places, written and synced. Dropped without [`Staged::commit`] they are taken away.
#[derive(Debug)]
pub struct Staged {
    folder: PathBuf,
    files: Vec<(PathBuf, PathBuf)>,
}

impl Staged {
    /// Writes the files that differ beside their places.
    ///
    /// # Errors
    /// Kind `store`; nothing has changed then.
    pub fn write(folder: &Path, wanted: &[Wanted], changes: &[Change]) -> Result<Self> {
        // Whatever the umask: who may write into the folder may put other files into it.
        let mut made = fs::DirBuilder::new();
        made.recursive(true).mode(0o755);
        made.create(folder).map_err(|e| unwritable(folder, e))?;
        let mut staged = Self {
            folder: folder.to_owned(),
            files: Vec::new(),
        };
        for (file, change) in wanted
            .iter()
            .zip(changes)
            .filter(|(_, change)| change.status != "unchanged")
        {
            let beside = folder.join(format!(".{}.{}", file.name, random_hex(6)));
            let owner = owner_of(&change.path, folder);
            staged.files.push((beside.clone(), change.path.clone()));
            let write = || -> std::io::Result<()> {
                let mut out = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&beside)?;
                // Before the text, so that it is never anybody else's to read.
                if let Some((uid, gid)) = owner {
                    // Only root may; others write files of their own anyway.
                    let _ = fchown(&out, Some(uid), Some(gid));
                }
                out.write_all(file.text.as_bytes())?;
                out.set_permissions(fs::Permissions::from_mode(file.mode))?;
                out.sync_all()
            };
            write().map_err(|e| unwritable(&change.path, e))?;
        }
        Ok(staged)
    }

    /// Puts the files into their places.
    ///
    /// # Errors
    /// Kind `store`.
    pub fn commit(mut self) -> Result<()> {
        for (beside, path) in std::mem::take(&mut self.files) {
            fs::rename(&beside, &path).map_err(|e| unwritable(&path, e))?;
        }
        let synced = fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| unwritable(&self.folder, e))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (beside, _) in &self.files {
            let _ = fs::remove_file(beside);
        }
    }
}

/// Whose a new file is to be: as the old one's, else as the folder's other files of PgBouncer, else the folder's.
fn owner_of(path: &Path, folder: &Path) -> Option<(u32, u32)> {
    let owner = |path: &Path| fs::metadata(path).ok().map(|m| (m.uid(), m.gid()));
    owner(path)
        .or_else(|| owner(&folder.join(super::INI_FILE)))
        .or_else(|| owner(&folder.join(super::USERLIST_FILE)))
        .or_else(|| owner(folder))
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("cannot write {}", path.display()))
        .with_cause(error)
        .with_hint("Run tenantctl as the user that owns PgBouncer's files, or as root; the folder must exist or be one it may create.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> [Wanted; 2] {
        let file = |name, text: &str, secret| Wanted {
            name,
            text: text.to_owned(),
            mode: if secret { 0o600 } else { 0o640 },
            secret,
        };
        [
            file("pgbouncer.ini", text, false),
            file("userlist.txt", "\"a\" \"hush\"\n", true),
        ]
    }

    #[test]
    fn files_are_written_whole_and_only_where_they_differ() {
        let folder = std::env::temp_dir().join(format!("tenantctl-files-{}", random_hex(6)));
        let first = wanted("a\nb\nc\n");
        let changes = compare(&folder, &first).expect("a comparison");
        assert!(changes.iter().all(|c| c.status == "created"));
        assert!(
            changes[1].diff.iter().all(|line| line == "+(a password)"),
            "{:?}",
            changes[1].diff
        );
        drop(Staged::write(&folder, &first, &changes).expect("staged"));
        assert_eq!(
            fs::read_dir(&folder).expect("the folder").count(),
            0,
            "what was not committed is gone"
        );
        Staged::write(&folder, &first, &changes)
            .expect("staged")
            .commit()
            .expect("written");
        let mode = |name: &str| fs::metadata(folder.join(name)).expect("a file").permissions().mode() & 0o7777;
        assert_eq!((mode("pgbouncer.ini"), mode("userlist.txt")), (0o640, 0o600));
        let second = wanted("a\nc\nd\n");
        let changes = compare(&folder, &second).expect("a comparison");
        assert_eq!((changes[0].status, changes[1].status), ("changed", "unchanged"));
        assert_eq!(changes[0].diff, ["-b", "+d"]);
        // A file that others may read is not left so.
        fs::set_permissions(folder.join("userlist.txt"), fs::Permissions::from_mode(0o644)).expect("a mode");
        let changes = compare(&folder, &second).expect("a comparison");
        assert_eq!(changes[1].status, "changed");
        Staged::write(&folder, &second, &changes)
            .expect("staged")
            .commit()
            .expect("written");
        assert_eq!(mode("userlist.txt"), 0o600);
        assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 2);
        fs::remove_dir_all(&folder).expect("cleaned up");
    }
}
