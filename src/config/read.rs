//! Files into text, with errors that name file and line.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Reads a file of UTF-8 text of at most this many bytes.
pub fn text(path: &Path, max_bytes: u64, hint: &str) -> Result<String> {
    let name = path.display();
    let cannot = |e: std::io::Error| {
        Error::config(format!("cannot read {name}"))
            .with_cause(e)
            .with_hint(hint)
    };
    let file = File::open(path).map_err(cannot)?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(Error::config(format!("{name} is a folder, not a file")).with_hint(hint));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Error::config(format!("{name} is larger than {} MiB", max_bytes >> 20)).with_hint(hint));
    }
    if let Some(at) = bytes.iter().position(|&b| b == 0) {
        return Err(broken(path, &bytes[..at], "holds a zero byte"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        broken(path, valid, "is not UTF-8")
    })?;
    // Windows editors put a byte order mark in front, which is neither YAML nor SQL.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn broken(path: &Path, before: &[u8], what: &str) -> Error {
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    Error::config(format!("{}:{line}:{column}: the file {what} here", path.display()))
        .with_hint("Save it as plain text in UTF-8.")
}
