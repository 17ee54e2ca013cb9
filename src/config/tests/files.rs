//! Which file is read, and files that cannot be.

use std::path::{Path, PathBuf};

use super::super::Config;
use super::{TIER, builtin, good};
use crate::error::ErrorKind;

/// A folder that goes with its value.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tenantctl-config-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("temporary folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("folder");
        std::fs::write(&path, content).expect("file");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("removed");
    }
}

#[test]
fn the_first_file_found_is_read() {
    let dir = Dir::new();
    let explicit = dir.write("explicit.yaml", "provisioning: {jobs: 1}");
    let first = dir.path().join("first.yaml");
    let second = dir.write("second.yaml", "provisioning: {jobs: 3}");
    let defaults = [first.as_path(), second.as_path()];
    let jobs = |path: Option<&Path>| {
        let config = Config::load_from(path, &defaults).expect("valid");
        (config.provisioning.jobs, config.source)
    };
    assert_eq!(jobs(None), (3, second.display().to_string()));
    dir.write("first.yaml", "provisioning: {jobs: 2}");
    assert_eq!(jobs(None), (2, first.display().to_string()));
    assert_eq!(jobs(Some(Path::new(""))), (2, first.display().to_string()));
    assert_eq!(jobs(Some(&explicit)), (1, explicit.display().to_string()));
    let config = Config::load_from(None, &[]).expect("built in");
    assert_eq!(config, builtin());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = Dir::new();
    let load = |path: &Path| {
        let error = Config::load_from(Some(path), &[]).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint().is_some());
        error.message().replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(load(&dir.path().join("missing.yaml")), "cannot read missing.yaml");
    std::fs::create_dir(dir.path().join("folder")).expect("folder");
    assert_eq!(load(&dir.path().join("folder")), "folder is a folder, not a file");
    assert_eq!(
        load(&dir.write("latin1.yaml", b"# eins\nx: \xe4\n")),
        "latin1.yaml:2:4: the file is not UTF-8 here"
    );
    assert_eq!(
        load(&dir.write("nul.yaml", b"x: a\0\n")),
        "nul.yaml:1:5: the file holds a zero byte here"
    );
    assert_eq!(
        load(&dir.write("big.yaml", vec![b'#'; 2 << 20])),
        "big.yaml is larger than 1 MiB"
    );
    assert_eq!(load(&dir.write("empty.yaml", "")), "empty.yaml is empty");
    assert_eq!(
        load(&dir.write("comments.yaml", "# nothing\n---\n")),
        "comments.yaml is empty"
    );
    assert_eq!(
        load(&dir.write("key.yaml", "\u{feff}x: 1\n")),
        "key.yaml:1:1: unknown key \"x\""
    );
    // A default file that is there in some form is never passed over.
    let link = dir.path().join("link.yaml");
    std::os::unix::fs::symlink("nowhere", &link).expect("link");
    let error = Config::load_from(None, &[&link]).expect_err("dangling");
    assert!(error.message().starts_with("cannot read") && error.hint().expect("hint").contains("--config"));
    let below = explicit_below_file(&dir);
    assert_eq!(Config::load_from(None, &[&below]).expect("absent"), builtin());
}

/// A path whose parent is a file: absent, like one whose parent is missing.
fn explicit_below_file(dir: &Dir) -> PathBuf {
    dir.write("file", "").join("tenant_templates.yaml")
}

#[test]
fn modules_come_from_the_users_folder() {
    let dir = Dir::new();
    let policy = format!(
        "{}template:\n  name: shop\n  directory: modules\n  modules:\n  - {{name: orders, feature: portfolios}}\n  - name: prices\n",
        TIER
    );
    let path = dir.write("conf/tenant_templates.yaml", policy);
    let template = || Config::load(Some(&path)).expect("valid").template();
    let refused = || {
        let error = template().expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        error.message().replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(refused(), "cannot read conf/modules/orders.sql");
    dir.write("conf/modules/orders.sql", "\u{feff}CREATE TABLE orders ();\r\n");
    assert_eq!(refused(), "cannot read conf/modules/prices.sql");
    dir.write("conf/modules/prices.sql", " \n");
    assert_eq!(refused(), "conf/modules/prices.sql is empty");
    dir.write("conf/modules/prices.sql", b"-- \xff");
    assert_eq!(refused(), "conf/modules/prices.sql:1:4: the file is not UTF-8 here");
    dir.write("conf/modules/prices.sql", "CREATE TABLE prices ();");
    let template = template().expect("both there");
    let modules: Vec<[&str; 2]> = template.modules.iter().map(|m| [m.name.as_str(), &m.sql]).collect();
    assert_eq!(
        modules,
        [
            ["orders", "CREATE TABLE orders ();\r\n"],
            ["prices", "CREATE TABLE prices ();"]
        ]
    );
    assert_eq!(
        (template.name.as_str(), template.modules[1].feature.as_deref()),
        ("shop", None)
    );
    assert!(template.hypertables.is_empty() && template.bulk_load.is_empty());
    // The built-in list of modules, read from a folder: for changed copies of them.
    let config = good("template: {directory: /nowhere}");
    assert_eq!(config.template.modules, builtin().template.modules);
    assert_eq!(
        config.template().expect_err("no folder").message(),
        "cannot read /nowhere/portfolios.sql"
    );
}
