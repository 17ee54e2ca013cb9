//! Metrics as Prometheus reads them: OpenMetrics 1.0.0, and text format 0.0.4 made from it.
//!
//! Of each tenant there are at most [`SERIES_PER_TENANT`] series whatever tables it has, one more for each business query
//! and each alert that fires, and, of so many tenants as were asked for, [`super::durations::SERIES_PER_TENANT`] of the
//! histogram. A figure that is unknown has no sample.

mod families;
mod page;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::page::Page;
use super::Fleet;
use super::durations::Durations;
use super::exporter::State;
use crate::error::Result;

/// The media type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of text format 0.0.4.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one tenant, beside business queries, alerts that fire, and the histogram: 6 of backups, one for each type of
/// backup and one for any; 18 of limits, three for each; 12 others.
pub const SERIES_PER_TENANT: usize = 36;

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
    page.encode(true, 0)
}

/// The same samples as text format 0.0.4.
pub fn plain_text(openmetrics: &str) -> String {
    let exposition = Exposition::new(openmetrics.to_owned());
    let mut text = String::with_capacity(openmetrics.len());
    for piece in exposition.pieces(Format::Plain) {
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    text
}

/// The text of an exporter's own figures, which is made anew for each scrape, with the final `# EOF`.
///
/// # Errors
/// When the text cannot be put together.
pub(super) fn state_text(state: &State) -> Result<String> {
    Page::of_state(state).encode(true, 0)
}

/// The samples of a fleet, which is not needed any more for their text.
pub(super) struct Samples(Page);

impl Samples {
    /// Takes them from a fleet.
    pub(super) fn of(fleet: &Fleet, durations: &Durations) -> Self {
        Self(Page::of_fleet(fleet, Some(durations)))
    }

    /// Their text without `# EOF`; `capacity` is about how long it will be.
    ///
    /// # Errors
    /// When the text cannot be put together.
    pub(super) fn text(self, capacity: usize) -> Result<String> {
        self.0.encode(false, capacity)
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

/// Text in both formats, of which the samples, nearly all of it, are the same bytes and are held once.
#[derive(Debug, Default)]
pub struct Exposition(Vec<Part>);

/// A family: what is said of it in each format, and its samples.
#[derive(Debug)]
struct Part {
    openmetrics: Bytes,
    plain: Bytes,
    samples: Bytes,
}

impl Exposition {
    /// Takes OpenMetrics text.
    pub fn new(openmetrics: String) -> Self {
        let whole = Bytes::from(openmetrics);
        let mut parts = Vec::new();
        let mut at = 0;
        while at < whole.len() {
            let samples = at + end_of_comments(&whole[at..]);
            let next = samples + end_of_samples(&whole[samples..]);
            parts.push(Part {
                openmetrics: whole.slice(at..samples),
                plain: Bytes::from(plain_comments(&String::from_utf8_lossy(&whole[at..samples]))),
                samples: whole.slice(samples..next),
            });
            at = next;
        }
        Self(parts)
    }

    /// The pieces that make up the text.
    pub fn pieces(&self, format: Format) -> impl Iterator<Item = Bytes> {
        self.0.iter().flat_map(move |part| {
            let comments = match format {
                Format::OpenMetrics => &part.openmetrics,
                Format::Plain => &part.plain,
            };
            [comments.clone(), part.samples.clone()]
        })
    }

    /// Bytes of the text.
    pub fn len(&self) -> usize {
        self.pieces(Format::OpenMetrics).map(|piece| piece.len()).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where the lines that begin with `#` end.
fn end_of_comments(text: &[u8]) -> usize {
    let mut at = 0;
    while text.get(at) == Some(&b'#') {
        at += line_length(&text[at..]);
    }
    at
}

/// Where the next line begins that begins with `#`.
fn end_of_samples(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() && text[at] != b'#' {
        at += line_length(&text[at..]);
    }
    at
}

fn line_length(text: &[u8]) -> usize {
    text.iter().position(|&b| b == b'\n').map_or(text.len(), |end| end + 1)
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
