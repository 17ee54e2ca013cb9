//! All terminal code: results to stdout, everything else to stderr. Only `commands` and `lib` use it.

pub mod log;
pub mod progress;
pub mod screen;
pub mod table;

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::cli::{Color, Global, LogFormat, OutputFormat};
use crate::error::{Error, ErrorKind, Result};
pub use crate::figures::{bytes, count, grouped, milliseconds, span};

/// A result that can be shown: `Serialize` for programs, this for people.
pub trait Render: Serialize {
    /// The text for people, without a final newline; empty when there is nothing to say.
    fn text(&self, ui: &Ui) -> String;
}

/// How this process talks.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    output: OutputFormat,
    log_format: LogFormat,
    quiet: bool,
    color: bool,
    error_color: bool,
    progress: bool,
}

impl Ui {
    /// Decides from flags, NO_COLOR and whether stdout and stderr are terminals.
    pub fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color_for = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !no_color,
        };
        let stderr_terminal = std::io::stderr().is_terminal();
        Self {
            output: global.output,
            log_format: global.log_format,
            quiet: global.quiet,
            color: color_for(std::io::stdout().is_terminal()) && global.output == OutputFormat::Text,
            error_color: color_for(stderr_terminal),
            progress: stderr_terminal && !global.no_progress && !global.quiet && global.log_format == LogFormat::Text,
        }
    }

    /// Whether results are to be for people or for programs.
    pub fn output(&self) -> OutputFormat {
        self.output
    }

    /// The same, without colour on stdout: for text that goes elsewhere.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { color: false, ..*self }
    }

    /// Prints a result to stdout.
    ///
    /// # Errors
    /// Kind `store` when stdout cannot be written; a reader that went away is no error.
    pub fn result(&self, result: &impl Render) -> Result<()> {
        let text = match self.output {
            OutputFormat::Json => plain_json(
                &serde_json::to_string_pretty(result)
                    .map_err(|e| Error::new(ErrorKind::Unknown, "cannot write the result as JSON").with_cause(e))?,
            ),
            OutputFormat::Text | OutputFormat::Prometheus => harmless(&result.text(self)),
        };
        if text.is_empty() {
            Ok(())
        } else {
            self.stdout(&format!("{text}\n"))
        }
    }

    /// Writes text to stdout as it is.
    ///
    /// # Errors
    /// Kind `store` when stdout cannot be written; a reader that went away is no error.
    pub fn stdout(&self, text: &str) -> Result<()> {
        match self.must_stdout(text) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(ErrorKind::Store, "cannot write to stdout").with_cause(error))
            }
            _ => Ok(()),
        }
    }

    /// Prints a result that exists nowhere else; a reader that went away is an error too.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn must_result(&self, result: &impl Render) -> std::io::Result<()> {
        let text = match self.output {
            OutputFormat::Json => plain_json(&serde_json::to_string_pretty(result)?),
            OutputFormat::Text | OutputFormat::Prometheus => harmless(&result.text(self)),
        };
        if text.is_empty() {
            Ok(())
        } else {
            self.must_stdout(&format!("{text}\n"))
        }
    }

    /// Writes to stdout piece by piece, for what is too large to hold as text.
    ///
    /// # Errors
    /// Kind `store` when stdout cannot be written; a reader that went away is no error.
    pub fn stream(&self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
        match write(&mut stdout).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(ErrorKind::Store, "cannot write to stdout").with_cause(error))
            }
            _ => Ok(()),
        }
    }

    fn must_stdout(&self, text: &str) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Whether what is written to stdout goes nowhere: `>/dev/null`, or `>&-`, which looks the same from here.
    pub fn stdout_is_discarded(&self) -> bool {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let device = |path: &str| {
            std::fs::metadata(path)
                .ok()
                .filter(|m| m.file_type().is_char_device())
                .map(|m| m.rdev())
        };
        device("/dev/stdout").is_some_and(|out| device("/dev/null") == Some(out))
    }

    /// A line for people on stderr, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet && self.log_format == LogFormat::Text {
            Self::stderr(&format!("{text}\n"));
        }
    }

    /// Something the user should know although the command goes on.
    pub fn warn(&self, text: &str) {
        match self.log_format {
            LogFormat::Json => tracing::warn!("{text}"),
            LogFormat::Text => Self::stderr(&format!("{} {text}\n", self.paint_error("33", "warning:"))),
        }
    }

    /// An error: what, why, what to do, and the id under which the log and the registry have it.
    pub fn error(&self, error: &Error) {
        match self.log_format {
            LogFormat::Json => tracing::error!(
                error_id = %error.id(),
                error_type = error.kind().as_str(),
                severity = error.kind().severity().as_str(),
                sqlstate = error.sqlstate(),
                cause = error.cause(),
                hint = error.hint(),
                "{}",
                error.message()
            ),
            LogFormat::Text => {
                let mut text = format!("{} {}\n", self.paint_error("31;1", "error:"), error.message());
                if let Some(cause) = error.cause() {
                    text.push_str(&format!("{} {cause}\n", self.paint_error("1", "cause:")));
                }
                if let Some(hint) = error.hint().filter(|_| !self.quiet) {
                    text.push_str(&format!("{} {hint}\n", self.paint_error("36", "hint:")));
                }
                let sqlstate = error
                    .sqlstate()
                    .map_or_else(String::new, |code| format!(" (SQLSTATE {code})"));
                text.push_str(&format!(
                    "{} {}{sqlstate}\n",
                    self.paint_error("2", "error_id:"),
                    error.id()
                ));
                Self::stderr(&text);
            }
        }
    }

    /// Emphasis on stdout, where colour is on.
    pub fn bold(&self, text: &str) -> String {
        paint(self.color, "1", text)
    }

    /// Good news on stdout.
    pub fn good(&self, text: &str) -> String {
        paint(self.color, "32", text)
    }

    /// Bad news on stdout.
    pub fn bad(&self, text: &str) -> String {
        paint(self.color, "31", text)
    }

    /// What needs a look on stdout.
    pub fn caution(&self, text: &str) -> String {
        paint(self.color, "33", text)
    }

    /// Less important text on stdout.
    pub fn dim(&self, text: &str) -> String {
        paint(self.color, "2", text)
    }

    /// A progress bar on stderr, invisible where it would be in the way.
    pub fn progress(&self, total: usize, what: &'static str) -> progress::Progress {
        progress::Progress::new(self.progress, total, what)
    }

    /// A progress bar of bytes on stderr, invisible where it would be in the way.
    pub fn byte_progress(&self, total: u64) -> progress::Progress {
        progress::Progress::bytes(self.progress, total)
    }

    fn paint_error(&self, code: &str, text: &str) -> String {
        paint(self.error_color, code, text)
    }

    fn stderr(text: &str) {
        // Nobody left to tell when stderr is gone.
        let _ = std::io::stderr().lock().write_all(harmless(text).as_bytes());
    }
}

fn paint(on: bool, code: &str, text: &str) -> String {
    if on {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// What a terminal may be shown: lines, and the colours that [`paint`] makes. Names and values of tenants, and what the
/// server quotes of them, may hold control characters that a terminal would obey; they become `\u{..}`.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| is_obeyed(c) && c != '\n') {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let colour = rest.strip_prefix("\u{1b}[").and_then(|code| {
            let end = code.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            code[end..].starts_with('m').then_some("\u{1b}[".len() + end + 1)
        });
        let taken = if let Some(length) = colour {
            shown.push_str(&rest[..length]);
            length
        } else {
            let control: String = rest.chars().take(1).collect();
            shown.push_str(&printable(&control));
            control.len()
        };
        rest = &rest[taken..];
    }
    shown.push_str(rest);
    shown
}

/// JSON whose strings hold no control character as it is; serde leaves those above ASCII.
fn plain_json(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match c {
            '\n' => "\n".to_owned(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

/// Takes JSON in pieces of whole characters and passes it on without control characters in its strings.
pub struct JsonOut<'a>(pub &'a mut dyn Write);

impl Write for JsonOut<'_> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        match std::str::from_utf8(piece) {
            Ok(text) => self.0.write_all(plain_json(text).as_bytes())?,
            Err(_) => self.0.write_all(piece)?,
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Text of somebody else's for a terminal: what it would obey, or what would reverse the direction of writing, as `\u{..}`.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_shown_nothing_that_they_obey() {
        assert_eq!(
            harmless("a\u{1b}[31mred\u{1b}[0m\n\u{1b}[2J\u{9b}5m\u{7}é"),
            "a\u{1b}[31mred\u{1b}[0m\n\\u{1b}[2J\\u{9b}5m\\u{7}é"
        );
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
        assert_eq!(plain_json("\"\u{9b}\"\n"), "\"\\u009b\"\n");
    }
}
