//! What a run found out, for people.

use crate::bench::baseline::{Comparison, Verdict};
use crate::bench::{Document, Environment, Figure};
use crate::figures::{bytes, count, grouped, significant};
use crate::ui::table::Grid;
use crate::ui::{Render, Ui};

/// Names that are told of missing and new figures; of more, only how many.
const NAMED: usize = 5;

impl Render for Document {
    fn text(&self, ui: &Ui) -> String {
        let mut parts = vec![ui.dim(&environment(&self.environment))];
        if !self.results.is_empty() {
            parts.push(table(ui, &self.results, self.baseline.is_some()));
        }
        if let Some(comparison) = &self.baseline {
            parts.push(beside(ui, comparison, &self.results));
        }
        let (met, targets) = self.targets();
        if targets == 0 {
            return parts.join("\n\n");
        }
        let sentence = format!("{met} of {} met", count(targets, "target"));
        parts.push(if met == targets {
            ui.good(&sentence)
        } else {
            ui.bad(&sentence)
        });
        parts.join("\n\n")
    }
}

fn environment(e: &Environment) -> String {
    let memory = e
        .client_memory_bytes
        .map_or_else(String::new, |n| format!(", {}", bytes(n)));
    let mut known = vec![
        format!("PostgreSQL {}", e.server_version),
        format!("client: {}{memory}", count(e.client_cpus, "processor")),
        format!("tenantctl {}", e.tenantctl_version),
    ];
    if e.build == "debug" {
        known.push("a DEBUG build: its figures are good for nothing".to_owned());
    }
    if !e.extensions.is_empty() {
        known.push(format!("extensions {}", e.extensions.join(", ")));
    }
    // What an operator would ask about a figure first; JSON and page have all.
    let telling = [
        "fsync",
        "synchronous_commit",
        "shared_buffers",
        "max_connections",
        "wal_level",
    ];
    let named = |setting: &&String| telling.iter().any(|name| setting.split(' ').next() == Some(name));
    known.extend(e.settings.iter().filter(named).cloned());
    known.join("; ")
}

fn table(ui: &Ui, figures: &[Figure], compared: bool) -> String {
    let mut headers = vec!["suite", "metric", ">value", "unit", ">target"];
    if compared {
        headers.extend([">baseline", ">change"]);
    }
    headers.push("pass");
    let mut grid = Grid::new(ui, &headers);
    for f in figures {
        let mut cells = vec![
            f.suite.to_owned(),
            f.metric.clone(),
            significant(f.value),
            f.unit.to_owned(),
            f.target.map_or_else(String::new, significant),
        ];
        if compared {
            let known = f.baseline.as_ref();
            cells.push(known.map_or_else(String::new, |b| significant(b.value)));
            cells.push(known.and_then(|b| b.change_percent).map_or_else(String::new, change));
        }
        let mut last = match f.pass {
            Some(true) => ui.good("yes"),
            Some(false) => ui.bad("NO"),
            None => String::new(),
        };
        match f.baseline.map(|b| b.verdict) {
            Some(Verdict::Worse) => last = format!("{last} {}", ui.bad("worse")).trim_start().to_owned(),
            Some(Verdict::Better) => last = format!("{last} better").trim_start().to_owned(),
            _ => {}
        }
        cells.push(last);
        grid.row(cells);
    }
    grid.render()
}

/// `+12 %`.
fn change(percent: f64) -> String {
    format!("{percent:+.0} %")
}

fn beside(ui: &Ui, c: &Comparison, figures: &[Figure]) -> String {
    let when = c.started_at.as_ref().map_or_else(String::new, |at| format!(" of {at}"));
    let mut lines = vec![format!(
        "beside {}{when}, within {} % the same: {} worse, {} better, {} the same",
        c.file,
        c.noise_percent,
        grouped(c.worse as f64),
        grouped(c.better as f64),
        grouped(c.same as f64)
    )];
    for f in figures {
        if let Some(b) = f.baseline.filter(|b| b.verdict == Verdict::Worse) {
            let change = b
                .change_percent
                .map_or_else(String::new, |p| format!(" ({})", change(p)));
            let (is, was) = (significant(f.value), significant(b.value));
            lines.push(ui.bad(&format!(
                "worse: {} {}: {is} {}, was {was}{change}",
                f.suite, f.metric, f.unit
            )));
        }
    }
    for (what, singles) in [("missing", &c.missing), ("new", &c.new)] {
        if !singles.is_empty() {
            let named = singles.iter().take(NAMED).map(|s| format!("{} {}", s.suite, s.metric));
            let mut named: Vec<String> = named.collect();
            if singles.len() > NAMED {
                named.push(format!("{} more", singles.len() - NAMED));
            }
            lines.push(format!("{what}: {}", named.join(", ")));
        }
    }
    lines.extend(
        c.environment
            .iter()
            .map(|difference| format!("not alike: {difference}")),
    );
    lines.join("\n")
}
