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
