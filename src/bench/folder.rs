//! A folder of the benchmark's own for what the contenders write.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::random_hex;

const PREFIX: &str = "tenantctl_bench_";
/// Held locked by the run whose folder it is.
const LOCK: &str = "lock";

/// Removed with everything in it when it is dropped; what a killed run has left is removed by the next one that is given
/// the same parent.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes a folder in `parent`, after removing those of runs that were killed.
    ///
    /// # Errors
    /// Kind `store` when it cannot be made.
    pub fn create(parent: &Path) -> Result<Self> {
        // The store's URL needs a path that does not depend on where we are.
        let parent = fs::canonicalize(parent).map_err(|e| refused(parent, &e))?;
        remove_left(&parent);
        let path = parent.join(format!("{PREFIX}{}", random_hex(8)));
        fs::create_dir(&path).map_err(|e| refused(&path, &e))?;
        let lock = File::create(path.join(LOCK)).and_then(|file| file.lock().map(|()| file));
        match lock {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(refused(&path, &error))
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn refused(path: &Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("cannot use the folder {}", path.display()))
        .with_cause(error)
        .with_hint("--folder names another one.")
}

/// Whatever cannot be looked at or removed is left: it may be somebody else's.
fn remove_left(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && File::open(entry.path().join(LOCK)).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Bytes of all files below a path, or of the file itself.
///
/// # Errors
/// Kind `store` when something cannot be looked at.
pub fn size_of(path: &Path) -> Result<u64> {
    let refused = |e: std::io::Error| refused(path, &e);
    let about = fs::symlink_metadata(path).map_err(refused)?;
    if !about.is_dir() {
        return Ok(about.len());
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path).map_err(refused)? {
        bytes += size_of(&entry.map_err(refused)?.path())?;
    }
    Ok(bytes)
}

/// The file system that a path is on, and the bytes that are free on it, by `df`; none where that is not to be had. Blocks.
pub fn free(path: &Path) -> Option<(String, u64)> {
    let output = Command::new("df")
        .arg("-Pk")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.lines().nth(1)?.split_whitespace();
    let device = words.next()?.to_owned();
    let kib: u64 = words.nth(2)?.parse().ok()?;
    Some((device, kib << 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_run_and_a_dead_one_with_the_next() {
        let parent = std::env::temp_dir().join(format!("tenantctl_folder_{}", random_hex(8)));
        fs::create_dir(&parent).expect("new");
        let first = Folder::create(&parent).expect("made");
        fs::write(first.path().join("dump"), "12345").expect("written");
        assert_eq!(size_of(first.path()).expect("readable"), 5);
        let dead = parent.join("tenantctl_bench_dead");
        fs::create_dir(&dead).expect("new");
        fs::write(dead.join(LOCK), "").expect("written");
        let second = Folder::create(&parent).expect("made");
        assert!(first.path().exists() && second.path().exists() && !dead.exists());
        drop((first, second));
        assert_eq!(fs::read_dir(&parent).expect("there").count(), 0);
        fs::remove_dir(&parent).expect("empty");
        Folder::create(&parent).expect_err("its parent is gone");
        assert!(free(&std::env::temp_dir()).is_none_or(|(device, bytes)| !device.is_empty() && bytes > 0));
    }
}
