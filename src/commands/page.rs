//! Pages for browsers, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;

/// Where a page goes.
pub enum Target {
    /// A file that is there whole or as it was: what it is called in the end, links followed.
    File(PathBuf),
    /// A pipe or a device, which cannot be replaced.
    Stream(PathBuf),
}

impl Target {
    /// Looks before anything is measured. `option` names the file, such as `--html`; `example` is a file that hints may name.
    ///
    /// # Errors
    /// Kind `usage` when it cannot be a file, kind `store` when its folder is not there.
    pub fn of(path: &Path, option: &str, example: &str) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Error::usage(format!("{option} names no file"))
                .with_hint(format!("Name one, such as {option} {example}.")));
        }
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Error::usage(format!("{} is a folder", path.display()))
                .with_hint(format!("Name a file in it: {option} {}.", path.join(example).display()))),
            Ok(found) if found.is_file() => {
                let path = fs::canonicalize(path).map_err(|error| cannot_write(path, &error))?;
                Ok(Self::File(path))
            }
            Ok(_) => Ok(Self::Stream(path.to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot_write(path, &error)),
            Err(_) => {
                let folder = folder(path);
                if path.file_name().is_none() || path.to_string_lossy().ends_with('/') || !folder.is_dir() {
                    return Err(Error::new(ErrorKind::Store, format!("cannot write {}", path.display()))
                        .with_cause(format!("there is no folder {}", folder.display()))
                        .with_hint("Make the folder first."));
                }
                Ok(Self::File(path.to_owned()))
            }
        }
    }

    /// Writes the page. Of a pipe, which nobody may ever read from, the user can stop it.
    ///
    /// # Errors
    /// Kind `store` when the system refuses, kind `interrupted` when the user stopped it.
    pub async fn write_or_stop(self, page: Vec<u8>, interrupt: &Interrupt) -> Result<()> {
        if matches!(self, Self::File(_)) {
            return self.write(&page);
        }
        let writing = tokio::task::spawn_blocking(move || self.write(&page));
        tokio::select! {
            written = writing => written.map_err(|e| Error::new(ErrorKind::Unknown, "cannot write the page").with_cause(e))?,
            () = interrupt.times(1) => Err(Error::interrupted()),
        }
    }

    fn write(&self, page: &[u8]) -> Result<()> {
        match self {
            Self::Stream(path) => {
                let written = OpenOptions::new().write(true).open(path);
                let written = written.and_then(|mut stream| stream.write_all(page).and_then(|()| stream.flush()));
                written.map_err(|error| cannot_write(path, &error))
            }
            Self::File(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let beside = folder(path).join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
                let written = whole(&beside, page, path).and_then(|()| fs::rename(&beside, path));
                written.map_err(|error| {
                    // What is left over is of no use to anybody.
                    let _ = fs::remove_file(&beside);
                    cannot_write(path, &error)
                })
            }
        }
    }
}

/// Writes the file, which is new, with the rights of the one that it will replace, else those that the umask leaves.
fn whole(beside: &Path, page: &[u8], path: &Path) -> io::Result<()> {
    let mut file = File::create_new(beside)?;
    if let Ok(replaced) = fs::metadata(path) {
        file.set_permissions(replaced.permissions())?;
    }
    file.write_all(page)?;
    file.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("cannot write {}", path.display()))
        .with_cause(error)
        .with_hint("Check the folder's rights and the space that is left.")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let dir = std::env::temp_dir().join(format!("tenantctl-page-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&dir).expect("a folder");
        let write = |path: &Path, text: &str| {
            Target::of(path, "--html", "page.html").and_then(|target| target.write(text.as_bytes()))
        };
        let file = dir.join("page.html");
        write(&file, "one").expect("a new file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("rights");
        let link = dir.join("link.html");
        symlink(&file, &link).expect("a link");
        write(&link, "two").expect("the file behind the link");
        assert_eq!(fs::read_to_string(&file).expect("the file"), "two");
        assert!(link.is_symlink());
        assert_eq!(
            fs::metadata(&file).expect("the file").permissions().mode() & 0o777,
            0o640
        );
        write(Path::new("/dev/null"), "three").expect("a device");
        for (wrong, says) in [
            (dir.clone(), "is a folder"),
            (dir.join("none/page.html"), "cannot write"),
            (dir.join("none/"), "cannot write"),
            (PathBuf::new(), "names no file"),
        ] {
            let error = write(&wrong, "four").expect_err("no file");
            assert!(error.message().contains(says), "{error}");
            assert!(error.hint().is_some());
        }
        // Nothing is left beside.
        assert_eq!(fs::read_dir(&dir).expect("the folder").count(), 2);
        fs::remove_dir_all(&dir).expect("removed");
    }
}
