//! The operating system's users: who runs the process, and whose home is where.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Who runs the process, in the operating system's eyes.
pub(super) struct Account {
    pub(super) name: Option<String>,
    pub(super) home: Option<PathBuf>,
}

impl Account {
    /// As libpq has it: the name of the effective user id, not `$USER`; the home directory is `$HOME` first.
    pub(super) fn current(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let entry = own_uid().and_then(|uid| {
            let passwd = fs::read("/etc/passwd").ok()?;
            passwd_entry(&String::from_utf8_lossy(&passwd), |_, id| id == uid)
        });
        let (name, home) = match entry {
            Some((name, _, home)) => (Some(name), Some(home)),
            // Users of LDAP and the like are in no file.
            None => (env("USER").or_else(|| env("LOGNAME")), None),
        };
        Self {
            name,
            home: env("HOME").or(home).map(PathBuf::from),
        }
    }
}

/// The kernel makes `/proc/self` belong to the effective user.
pub(super) fn own_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

/// Name, id and home directory of the first user that fits.
pub(super) fn passwd_entry(passwd: &str, fits: impl Fn(&str, u32) -> bool) -> Option<(String, u32, String)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, uid, _, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let uid = uid.parse().ok()?;
        fits(name, uid).then(|| ((*name).to_owned(), uid, (*home).to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::conninfo::tests::{resolve, short};

    #[test]
    fn the_user_is_the_operating_system_s() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# odd\n\nbroken\nbad:x:NaN:0::/:\n\
            dba:x:1000:1000:A DBA,,,:/home/dba:/bin/sh\n";
        let of = |uid| passwd_entry(passwd, |_, id| id == uid).map(|(name, _, home)| (name, home));
        assert_eq!(of(1000), Some(("dba".to_owned(), "/home/dba".to_owned())));
        assert_eq!(of(0), Some(("root".to_owned(), "/root".to_owned())));
        assert_eq!(of(7), None);
        assert_eq!(
            passwd_entry(passwd, |name, _| name == "dba").map(|(_, uid, _)| uid),
            Some(1000)
        );

        // $USER does not count where the system knows better.
        let own = own_uid().unwrap();
        let known = passwd_entry(&fs::read_to_string("/etc/passwd").unwrap(), |_, id| id == own);
        let expected = known.map_or("liar".to_owned(), |(name, ..)| name);
        assert_eq!(
            short(&resolve("host=h", &[("USER", "liar")]).unwrap()),
            format!("{expected}@h:5432/{expected}")
        );
    }
}
