//! Tables for people.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

use super::Ui;

/// A table without rules: a header in capitals, columns two spaces apart, as psql users and pipes like it.
pub struct Grid {
    ui: Ui,
    table: Table,
    right: Vec<usize>,
}

impl Grid {
    /// A table with these headers; those that start with `>` are right-aligned.
    pub fn new(ui: &Ui, headers: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).force_no_tty();
        let right = headers
            .iter()
            .enumerate()
            .filter(|(_, h)| h.starts_with('>'))
            .map(|(i, _)| i)
            .collect();
        table.set_header(headers.iter().map(|h| h.trim_start_matches('>').to_uppercase()));
        Self { ui: *ui, table, right }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.add_row(cells.into_iter().enumerate().map(|(i, text)| {
            let cell = Cell::new(text);
            if self.right.contains(&i) {
                cell.set_alignment(CellAlignment::Right)
            } else {
                cell
            }
        }));
    }

    /// The text, without trailing spaces. Only a last column may hold coloured text.
    pub fn render(mut self) -> String {
        for (i, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((u16::from(i > 0), 1));
            if self.right.contains(&i) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Colour is put on whole lines afterwards: inside cells its escapes would count as width.
        let lines = self.table.lines().enumerate();
        let lines = lines.map(|(i, line)| {
            if i == 0 {
                self.ui.bold(line.trim_end())
            } else {
                line.trim_end().to_owned()
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
