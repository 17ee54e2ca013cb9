//! A progress bar that knows when to stay silent.

use indicatif::{ProgressBar, ProgressStyle};

/// Counts finished items.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    pub(super) fn new(visible: bool, total: usize, what: &'static str) -> Self {
        if !visible || total < 2 {
            return Self(None);
        }
        let bar = ProgressBar::new(total as u64).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}  {per_sec}  eta {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(Some(bar))
    }

    /// A bar of bytes, of which about `total` are expected; rows are its message.
    pub(super) fn bytes(visible: bool, total: u64) -> Self {
        if !visible {
            return Self(None);
        }
        let bar = ProgressBar::new(total);
        let template = "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(Some(bar))
    }

    /// Sets a bar of bytes. What was expected is raised to what there is.
    pub fn set(&self, bytes: u64, message: String) {
        if let Some(bar) = &self.0 {
            if bar.length().is_some_and(|expected| bytes > expected) {
                bar.set_length(bytes);
            }
            bar.set_position(bytes);
            bar.set_message(message);
        }
    }

    /// One more is done.
    pub fn tick(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
