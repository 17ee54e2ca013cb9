//! `completions/` and `man/` are what the command line generates. `make docs` renews them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap_complete::Shell;
use tenantctl::commands::docs::{completion_script, man_pages};

fn expected() -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = man_pages()
        .unwrap()
        .into_iter()
        .map(|(name, page)| (format!("man/{name}"), page))
        .collect();
    for (shell, name) in [
        (Shell::Bash, "tenantctl.bash"),
        (Shell::Zsh, "_tenantctl"),
        (Shell::Fish, "tenantctl.fish"),
    ] {
        files.insert(format!("completions/{name}"), completion_script(shell));
    }
    files
}

#[test]
fn generated_docs_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = expected();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        for dir in ["man", "completions"] {
            let _ = fs::remove_dir_all(root.join(dir));
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for (name, content) in &expected {
            fs::write(root.join(name), content).unwrap();
        }
        return;
    }
    let mut found = BTreeMap::new();
    for dir in ["man", "completions"] {
        for entry in fs::read_dir(root.join(dir)).unwrap().flatten() {
            found.insert(
                format!("{dir}/{}", entry.file_name().to_string_lossy()),
                fs::read(entry.path()).unwrap(),
            );
        }
    }
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "run `make docs`"
    );
    for (name, content) in &expected {
        assert!(found[name] == *content, "{name} is out of date: run `make docs`");
    }
}
