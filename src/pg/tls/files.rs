//! Reads PEM files.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};

use crate::error::{Error, Result};
use crate::pg::conninfo::ConnInfo;

/// A file of `~/.postgresql`.
pub(super) fn default_file(info: &ConnInfo, name: &str) -> Option<PathBuf> {
    info.home.as_ref().map(|home| home.join(".postgresql").join(name))
}

/// Whether a file that need not exist does. One that cannot be looked at is an error, not an absence.
pub(super) fn exists(file: &Path) -> Result<bool> {
    file.try_exists().map_err(|error| unreadable("file", file, error))
}

pub(super) fn unreadable(what: &str, file: &Path, cause: impl std::fmt::Display) -> Error {
    Error::config(format!("cannot read {what} {file:?}"))
        .with_cause(cause)
        .with_hint("Check the path and the permissions; it has to be in PEM format.")
}

pub(super) fn read(what: &str, file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| unreadable(what, file, error))
}

/// All sections of a kind in a PEM file; at least one.
pub(super) fn read_pem<T: PemObject>(what: &str, file: &Path) -> Result<Vec<T>> {
    let items: std::result::Result<Vec<T>, pem::Error> = T::pem_slice_iter(&read(what, file)?).collect();
    match items {
        Ok(items) if items.is_empty() => Err(unreadable(what, file, "nothing of that kind is in it")),
        Ok(items) => Ok(items),
        Err(error) => Err(unreadable(what, file, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::KeyPair;

    use crate::error::ErrorKind;
    use crate::pg::tls::tests::{Home, authority};

    #[test]
    fn unusable_files_are_refused() {
        let home = Home::new();
        let root = authority("Root");
        home.file("root.crt", &root.pem());
        home.file("empty", "");
        home.file(
            "garbage",
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        );
        home.file(
            "nonsense",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        home.file("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        let key = KeyPair::generate().unwrap().serialize_pem();
        home.file("key", &key);
        fs::create_dir(home.0.join("dir")).unwrap();
        for (text, message) in [
            (
                "sslmode=require sslrootcert=~/absent",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/absent",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/dir",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/empty",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/garbage",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/cut",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/key",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/nonsense",
                "cannot read the root certificates",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrl=~/absent",
                "cannot read certificate revocation list",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrl=~/root.crt",
                "cannot read certificate revocation list",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrldir=~/absent",
                "cannot read certificate revocation list",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrldir=~/dir",
                "cannot read certificate revocation list",
            ),
            ("sslmode=prefer sslcert=~/absent", "cannot read client certificate"),
            ("sslmode=prefer sslcert=~/key", "cannot read client certificate"),
            (
                "sslmode=prefer sslcert=~/nonsense sslkey=~/key",
                "cannot read client certificate",
            ),
            ("sslmode=prefer sslcert=~/root.crt", "cannot read private key"),
            (
                "sslmode=prefer sslcert=~/root.crt sslkey=~/dir",
                "cannot read private key",
            ),
            (
                "sslmode=prefer sslcert=~/root.crt sslkey=~/empty",
                "cannot read private key",
            ),
        ] {
            let error = home.config(&format!("host=db {text}")).unwrap_err();
            assert!(error.message().starts_with(message), "{text}: {error}");
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(
                error.cause().is_some() && error.hint().is_some_and(|hint| hint.ends_with('.')),
                "{text}"
            );
        }
        let error = home
            .config("hostaddr=10.0.0.1 sslmode=verify-full sslrootcert=~/root.crt")
            .unwrap_err();
        assert_eq!(
            error.message(),
            "no host name to verify the server's certificate against"
        );
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
