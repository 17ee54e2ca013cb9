//! Metrics as Prometheus reads them: OpenMetrics 1.0.0, and text format 0.0.4 made from it.
//!
//! Of each tenant there are at most [`SERIES_PER_TENANT`] series whatever tables it has, one more for each business query
//! and each alert that fires, and, of so many tenants as were asked for, [`super::durations::SERIES_PER_TENANT`] of the
//! histogram. A figure that is unknown has no sample.

mod families;
mod page;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use self::page::Page;
use super::Fleet;
use super::durations::Durations;
use super::exporter::State;
use crate::error::{Error, ErrorKind, Result};

/// The media type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of text format 0.0.4.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one tenant, beside business queries, alerts that fire, and the histogram: 6 of backups, one for each type of
/// backup and one for any; 18 of limits, three for each; 12 others.
pub const SERIES_PER_TENANT: usize = 36;

/// Bytes of text that are packed at a time, and unpacked at a time for each scrape that is being answered.
const PIECE: usize = 128 << 10;
/// Of zstd: the text is so regular that more gains little.
const PACK_LEVEL: i32 = 1;

/// What was measured as OpenMetrics text, with the final `# EOF`. `durations` and `state` are an exporter's: whoever
/// measures once has neither.
///
/// # Errors
/// When the text cannot be put together.
pub fn openmetrics(fleet: &Fleet, durations: Option<&Durations>, state: Option<&State>) -> Result<String> {
    let mut page = Page::of_fleet(fleet, durations);
    if let Some(state) = state {
        page.families.append(&mut Page::of_state(state).families);
    }
    let mut text = String::new();
    page.encode(&mut text, true)?;
    Ok(text)
}

/// The same samples as text format 0.0.4.
pub fn plain_text(openmetrics: &str) -> String {
    families(openmetrics)
        .map(|(comments, samples)| plain_comments(comments) + samples)
        .collect()
}

/// The samples of a fleet, which is not needed any more for their text.
pub(super) struct Samples(Page);

impl Samples {
    /// Takes them from a fleet.
    pub(super) fn of(fleet: &Fleet, durations: &Durations) -> Self {
        Self(Page::of_fleet(fleet, Some(durations)))
    }

    /// An exporter's own, which are made anew for each scrape.
    pub(super) fn of_exporter(state: &State) -> Self {
        Self(Page::of_state(state))
    }

    /// Their text, with the final `# EOF` if it is the end.
    ///
    /// # Errors
    /// When the text cannot be put together.
    pub(super) fn pack(self, end: bool) -> Result<Exposition> {
        let mut packer = Packer::default();
        self.0.encode(&mut packer, end)?;
        packer.finish()
    }
}

/// A form that samples are sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Text format 0.0.4.
    Plain,
}

impl Format {
    /// The best of what a client takes: OpenMetrics for one whose `Accept` names it without refusing it.
    pub fn accepted(accept: Option<&str>) -> Self {
        let names_it = |range: &str| {
            let mut parameters = range.split(';').map(str::trim);
            let refused = |p: &str| {
                p.strip_prefix("q=")
                    .and_then(|q| q.trim().parse::<f64>().ok())
                    .is_some_and(|q| q <= 0.0)
            };
            parameters
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"))
                && !parameters.any(refused)
        };
        match accept {
            Some(accept) if accept.split(',').any(names_it) => Self::OpenMetrics,
            _ => Self::Plain,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPENMETRICS,
            Self::Plain => PLAIN,
        }
    }
}

/// Text in both formats, of which the samples, nearly all of it, are the same and are held once, packed: ten thousand
/// tenants have some 25 MB of it, and there are two while one takes the place of the other.
#[derive(Debug, Default)]
pub struct Exposition(Vec<Part>);

/// A family or a piece of one: what is said of it in each format, and its samples.
#[derive(Debug)]
struct Part {
    openmetrics: Bytes,
    plain: Bytes,
    packed: Box<[u8]>,
    /// Bytes of the samples when they are unpacked.
    length: usize,
}

impl Part {
    fn comments(&self, format: Format) -> &Bytes {
        match format {
            Format::OpenMetrics => &self.openmetrics,
            Format::Plain => &self.plain,
        }
    }
}

impl Exposition {
    /// The pieces that make up the text, each unpacked when it is its turn.
    pub fn pieces(self: Arc<Self>, format: Format) -> impl Iterator<Item = std::io::Result<Bytes>> + Send {
        (0..self.0.len()).map(move |at| {
            let part = &self.0[at];
            let comments = part.comments(format);
            let mut piece = Vec::with_capacity(comments.len() + part.length);
            piece.extend_from_slice(comments);
            piece.extend_from_slice(&zstd::bulk::decompress(&part.packed, part.length)?);
            Ok(Bytes::from(piece))
        })
    }

    /// Bytes of the text.
    pub fn length(&self, format: Format) -> usize {
        self.0
            .iter()
            .map(|part| part.comments(format).len() + part.length)
            .sum()
    }
}

/// Packs text while it is being written.
#[derive(Default)]
struct Packer {
    text: String,
    /// Where the last line begins.
    line: usize,
    parts: Vec<Part>,
    failed: Option<std::io::Error>,
}

impl Packer {
    fn pack(&mut self) {
        for (comments, samples) in families(&self.text) {
            match zstd::bulk::compress(samples.as_bytes(), PACK_LEVEL) {
                Ok(packed) => self.parts.push(Part {
                    openmetrics: Bytes::copy_from_slice(comments.as_bytes()),
                    plain: Bytes::from(plain_comments(comments)),
                    // Room for the worst case comes with it.
                    packed: packed.into_boxed_slice(),
                    length: samples.len(),
                }),
                Err(error) => self.failed = Some(error),
            }
        }
        self.text.clear();
        self.line = 0;
    }

    fn finish(mut self) -> Result<Exposition> {
        self.pack();
        match self.failed {
            Some(error) => Err(Error::new(ErrorKind::Unknown, "cannot pack the metrics").with_cause(error)),
            None => Ok(Exposition(self.parts)),
        }
    }
}

impl fmt::Write for Packer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        if text.ends_with('\n') {
            // What is said of a family stays together with its first samples.
            let said = self.text[self.line..].starts_with('#');
            self.line = self.text.len();
            if !said && self.text.len() >= PIECE {
                self.pack();
            }
        }
        Ok(())
    }
}

/// The families of a text: the lines that begin with `#`, and the samples after them.
fn families(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (comments, after) = rest.split_at(lines_while(rest, |line| line.starts_with('#')));
        let (samples, after) = after.split_at(lines_while(after, |line| !line.starts_with('#')));
        rest = after;
        Some((comments, samples))
    })
}

/// Bytes of the first lines that are so.
fn lines_while(text: &str, so: impl Fn(&str) -> bool) -> usize {
    text.split_inclusive('\n')
        .take_while(|line| so(line))
        .map(str::len)
        .sum()
}

/// What text format 0.0.4 says of a family: a counter goes by the name of its samples, units and the end are not known.
fn plain_comments(openmetrics: &str) -> String {
    let lines = || openmetrics.lines().filter_map(|line| line.strip_prefix("# "));
    let counters: Vec<&str> = lines()
        .filter_map(|line| line.strip_prefix("TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut plain = String::new();
    for line in lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let total = if counters.contains(&name) { "_total" } else { "" };
        let rest = if (what, rest) == ("TYPE", "unknown") {
            "untyped"
        } else {
            rest
        };
        plain.push_str(&format!("# {what} {name}{total} {rest}\n"));
    }
    plain
}
