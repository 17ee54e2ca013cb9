//! `completions` and `man`: generated from the command line itself.

use std::fs;
use std::path::Path;

use clap::CommandFactory;

use super::Status;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::ui::Ui;

/// Prints a shell's completion script.
///
/// # Errors
/// When stdout cannot be written.
pub fn completions(ui: &Ui, args: &CompletionsArgs) -> Result<Status> {
    ui.stdout(&String::from_utf8_lossy(&completion_script(args.shell)))?;
    Ok(Status::Done)
}

/// Prints the main manual page, or writes all of them.
///
/// # Errors
/// Kind `store` when the folder or stdout cannot be written.
pub fn man(ui: &Ui, args: &ManArgs) -> Result<Status> {
    let pages = man_pages()?;
    match &args.dir {
        Some(dir) => {
            for (name, page) in &pages {
                write(dir, name, page)?;
            }
            ui.note(&format!(
                "{} written to {}",
                crate::ui::count(pages.len(), "page"),
                dir.display()
            ));
        }
        None => {
            if let Some((_, page)) = pages.first() {
                ui.stdout(&String::from_utf8_lossy(page))?;
            }
        }
    }
    Ok(Status::Done)
}

fn write(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = dir.join(name);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&path, content))
        .map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", path.display())).with_cause(e))
}

/// The completion script of a shell.
pub fn completion_script(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tenantctl", &mut script);
    script
}

/// The manual pages by file name, the main one first.
///
/// # Errors
/// When a page cannot be rendered.
pub fn man_pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    collect(&command, "tenantctl", &mut pages)?;
    Ok(pages)
}

fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().bin_name(name.replace('-', " ")))
        .title(name.to_uppercase())
        .source(concat!("tenantctl ", env!("CARGO_PKG_VERSION")))
        .manual("tenantctl manual")
        .date("")
        .render(&mut page)
        .map_err(|e| Error::new(ErrorKind::Unknown, "cannot render the manual").with_cause(e))?;
    pages.push((format!("{name}.1"), page));
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        collect(sub, &format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}
