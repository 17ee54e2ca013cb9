//! Text that is shown anew again and again: in the same place of a terminal, one below the other where there is none.

use std::io::IsTerminal;

use super::{Ui, harmless};
use crate::error::Result;

/// Columns and lines of the terminal that stdout is; none where it is no terminal.
pub fn size() -> Option<(usize, usize)> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stdout)
        .map(|(width, height)| (usize::from(width.0), usize::from(height.0)))
        .filter(|(width, height)| *width > 0 && *height > 0)
}

/// Where the text is shown.
pub struct Screen {
    ui: Ui,
    drawn: bool,
}

impl Screen {
    /// A screen that nothing was drawn on yet.
    pub fn new(ui: &Ui) -> Self {
        Self { ui: *ui, drawn: false }
    }

    /// Shows the text instead of the one before, or below it. Lines that find no room on the terminal are left out, all
    /// but the last one.
    ///
    /// # Errors
    /// Kind `store` when stdout cannot be written; a reader that went away is no error.
    pub fn draw(&mut self, text: &str) -> Result<()> {
        let text = harmless(text);
        let frame = match size() {
            Some((_, height)) => frame(&text, height, self.drawn),
            None if self.drawn => format!("{}\n{text}\n", "-".repeat(72)),
            None => format!("{text}\n"),
        };
        self.drawn = true;
        self.ui.stdout(&frame)
    }
}

/// What makes a terminal show the text from its first line on. The cursor stays visible and ends below the text, so
/// that nothing has to be put right whenever the process ends.
fn frame(text: &str, height: usize, drawn: bool) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(1).max(1);
    let mut shown: Vec<&str> = lines.iter().take(room).copied().collect();
    if lines.len() > room
        && let (Some(place), Some(last)) = (shown.last_mut(), lines.last())
    {
        *place = last;
    }
    // What the terminal shows before the first frame scrolls away instead of being overwritten.
    let mut frame = if drawn { String::new() } else { "\n".repeat(height) };
    // Lines that are too long end at the edge instead of pushing the others down.
    frame.push_str("\u{1b}[?7l\u{1b}[H");
    for line in shown {
        frame.push_str(line);
        frame.push_str("\u{1b}[K\r\n");
    }
    frame.push_str("\u{1b}[J\u{1b}[?7h");
    frame
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_frame_replaces_the_one_before() {
        let first = frame("a\nb", 24, false);
        assert!(first.starts_with(&"\n".repeat(24)), "{first:?}");
        assert_eq!(
            frame("a\nb", 24, true),
            "\u{1b}[?7l\u{1b}[Ha\u{1b}[K\r\nb\u{1b}[K\r\n\u{1b}[J\u{1b}[?7h"
        );
    }

    #[test]
    fn a_frame_is_never_taller_than_the_terminal() {
        let text: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        let shown = frame(&text.join("\n"), 10, true);
        assert_eq!(shown.matches('\n').count(), 9);
        assert!(shown.contains("line 0\u{1b}") && shown.contains("line 99\u{1b}") && !shown.contains("line 9\u{1b}"));
        assert!(frame(&text.join("\n"), 1, true).contains("line 99"));
    }
}
