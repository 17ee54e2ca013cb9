//! What the documents tell people to type is what the binary takes: every command line, every option of theirs, every name of a check.

use std::path::Path;
use std::process::Command;

use clap::Parser;
use tenantctl::cli::Cli;
use tenantctl::config::Config;

use crate::support::{Cmd, loud};

const DOCUMENTS: [(&str, &str); 2] = [
    ("README.md", include_str!("../../README.md")),
    ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md")),
];

/// The fenced blocks of a language, in the order in which they stand there.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (name, body) = after.split_once('\n').unwrap();
        let (body, after) = body.split_once("\n```").unwrap();
        if name == language {
            found.push(body);
        }
        // The line of the end has a newline of its own, which may begin the next one.
        rest = after;
    }
    found
}

/// The words of a command as a shell makes them, up to where its output goes or a comment begins; none if a quote stays open.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | ';' | '&' | '`') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    // `2>/dev/null` leaves its number behind.
    words.extend(word.filter(|word| !(word == "2" && line.contains("2>"))));
    quote.is_none().then_some(words)
}

/// Every command line of a document: in blocks for shells, in units and pipelines, and in the text between backticks.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for language in ["sh", "console", "cron", "ini", "yaml"] {
        let joined = |block: &str| block.replace("\\\n", " ");
        for line in blocks(text, language)
            .into_iter()
            .map(joined)
            .flat_map(|b| b.lines().map(str::to_owned).collect::<Vec<_>>())
        {
            // What a console shows is an answer unless it was typed.
            if language == "console" && !line.starts_with("$ ") {
                continue;
            }
            for (at, _) in line.match_indices("tenantctl ") {
                let (before, rest) = line.split_at(at);
                let typed = before
                    .chars()
                    .next_back()
                    .is_none_or(|c| c.is_whitespace() || "/;|(".contains(c));
                // In a crontab the user stands before the command.
                let user = rest.split_whitespace().nth(1) == Some("tenantctl");
                let comment = before.contains('#') || before.contains("Description=");
                if typed && !user && !comment {
                    found.push(words(rest).unwrap_or_else(|| panic!("a quote stays open: {line}")));
                }
            }
        }
    }
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if !fenced && !line.starts_with("```") {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.filter(|span| span.starts_with("tenantctl ")).filter_map(words));
        }
    }
    found
}

#[test]
fn every_command_line_is_one_that_the_binary_takes() {
    let (mut taken, mut wrong) = (0, Vec::new());
    for (name, text) in DOCUMENTS {
        for command in commands(text) {
            // Words in capitals and dots stand for what the reader has.
            let command: Vec<String> = command
                .into_iter()
                .filter(|word| word != "..." && word != "[...]")
                .collect();
            // Such as `tenantctl metrics`, which names a command and is none.
            let alone = command.len() == 2 && !command[1].starts_with('-');
            match Cli::try_parse_from(&command) {
                Ok(_) => taken += 1,
                Err(error) if !error.use_stderr() => taken += 1,
                Err(error)
                    if alone
                        && matches!(
                            error.kind(),
                            clap::error::ErrorKind::MissingRequiredArgument
                                | clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        ) => {}
                Err(error) => wrong.push(format!("{name}: {}\n{error}", command.join(" "))),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken > 80, "only {taken} command lines were found");
}

#[test]
fn every_configuration_is_one_that_is_read() {
    let mut read = 0;
    for (_, text) in DOCUMENTS {
        for block in blocks(text, "yaml")
            .into_iter()
            .filter(|block| block.starts_with("# tenant_templates.yaml"))
        {
            let dir = std::env::temp_dir().join(format!("tenantctl-readme-{}-{read}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            let file = dir.join("tenant_templates.yaml");
            std::fs::write(&file, block).unwrap();
            let config = Config::load(Some(&file));
            std::fs::remove_dir_all(&dir).unwrap();
            config.unwrap_or_else(|e| panic!("{}\n{block}", e.one_line()));
            read += 1;
        }
    }
    assert!(read > 0);
}

#[test]
fn every_check_that_is_named_is_there() {
    let list = |args: &[&str]| Cmd::new(args).finish().success().stdout();
    let known = list(&["validate", "--list"])
        + &list(&["validate", "--preflight", "--list"])
        + &list(&["validate", "--post-deploy", "--list"]);
    let (_, readme) = DOCUMENTS[0];
    for flag in ["--check ", "--skip "] {
        for (at, _) in readme.match_indices(flag) {
            let names = readme[at + flag.len()..].split([' ', '`', '\n']).next().unwrap();
            for name in names
                .split(',')
                .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            {
                assert!(known.contains(name), "{flag}{name}");
            }
        }
    }
}

#[test]
fn the_units_are_ones_that_systemd_reads() {
    let verify = Command::new("systemd-analyze").arg("--version").output();
    if !verify.is_ok_and(|output| output.status.success()) {
        loud("SKIPPED readme::the_units_are_ones_that_systemd_reads: systemd-analyze is not installed on this machine");
        return;
    }
    let dir = std::env::temp_dir().join(format!("tenantctl-units-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut files = Vec::new();
    for block in blocks(DOCUMENTS[0].1, "ini") {
        // Each begins with the name of its file.
        for unit in block.split("# /etc/systemd/system/").skip(1) {
            let (name, body) = unit.split_once('\n').unwrap();
            // The binary of the test, as systemd looks for it; no user of that name is on this machine.
            let body = body
                .replace("/usr/local/bin/tenantctl", env!("CARGO_BIN_EXE_tenantctl"))
                .replace("User=tenantctl\n", "");
            let file = dir.join(name.trim());
            std::fs::write(&file, body).unwrap();
            files.push(file);
        }
    }
    assert!(files.len() >= 3, "{files:?}");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(&files)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<_> = said
        .lines()
        .filter(|line| files.iter().any(|f| line.contains(&*file_name(f))))
        .collect();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap().to_string_lossy()
}
