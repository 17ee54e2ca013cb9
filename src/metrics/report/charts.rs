//! The charts of the page, as SVG that takes its colours from the page.

use std::fmt::Write;

use super::escape;
use crate::figures::{bytes, count, grouped};
use crate::metrics::{TenantMetrics, limit_label};

/// Units that a chart is wide.
const WIDTH: f64 = 520.0;

/// Tenants in the chart of the largest.
const TOP: usize = 20;

/// All charts.
pub fn all(page: &mut String, tenants: &[TenantMetrics]) -> std::fmt::Result {
    page.push_str("<section class=\"charts\" aria-label=\"Charts\">\n");
    sizes(page, tenants)?;
    ages(page, tenants)?;
    limits(page, tenants)?;
    largest(page, tenants)?;
    page.push_str("</section>\n");
    Ok(())
}

/// One column of a histogram.
struct Bin {
    label: String,
    tenants: usize,
    /// Whether it holds what is not on the scale: unknown, none.
    apart: bool,
}

impl Bin {
    fn new(label: impl Into<String>, tenants: usize) -> Self {
        Self {
            label: label.into(),
            tenants,
            apart: false,
        }
    }
}

/// How many tenants are how large, in powers of two.
fn sizes(page: &mut String, tenants: &[TenantMetrics]) -> std::fmt::Result {
    const COLUMNS: u32 = 9;
    let known: Vec<u64> = tenants.iter().filter_map(|t| t.database.size_bytes).collect();
    let of = |n: u64| n.max(1).ilog2();
    let lowest = known.iter().map(|n| of(*n)).min().unwrap_or(0);
    let highest = known.iter().map(|n| of(*n)).max().unwrap_or(0);
    let step = ((highest - lowest) / COLUMNS + 1).max(1);
    // A unit's own steps make labels that can be read: 1, 4, 16 KiB and so on.
    let lowest = lowest - lowest % step;
    let mut bins: Vec<Bin> = (lowest..=highest)
        .step_by(step as usize)
        .map(|power| Bin::new(short_bytes(1_u64.checked_shl(power).unwrap_or(u64::MAX)), 0))
        .collect();
    for n in &known {
        bins[((of(*n) - lowest) / step) as usize].tenants += 1;
    }
    if known.is_empty() {
        bins.clear();
    }
    let unknown = tenants.len() - known.len();
    if unknown > 0 {
        bins.push(Bin {
            apart: true,
            ..Bin::new("unknown", unknown)
        });
    }
    histogram(page, "Sizes", "tenants from this size on", &bins)
}

/// `4 KiB`: a power of two without digits behind the point.
fn short_bytes(n: u64) -> String {
    bytes(n).replace(".0 ", " ")
}

/// How many tenants have a backup of which age.
fn ages(page: &mut String, tenants: &[TenantMetrics]) -> std::fmt::Result {
    const HOUR: f64 = 3600.0;
    const DAY: f64 = 24.0 * HOUR;
    let steps = [
        ("0\u{2013}6 h", 6.0 * HOUR),
        ("6\u{2013}12 h", 12.0 * HOUR),
        ("12\u{2013}24 h", DAY),
        ("1\u{2013}2 d", 2.0 * DAY),
        ("2\u{2013}7 d", 7.0 * DAY),
        ("7\u{2013}30 d", 30.0 * DAY),
        ("30 d on", f64::INFINITY),
    ];
    let mut bins: Vec<Bin> = steps.iter().map(|(label, _)| Bin::new(*label, 0)).collect();
    let mut none = 0;
    for t in tenants {
        match t.backup.age_seconds {
            Some(age) => {
                let at = steps.iter().position(|(_, end)| age < *end).unwrap_or(steps.len() - 1);
                bins[at].tenants += 1;
            }
            None => none += 1,
        }
    }
    bins.push(Bin {
        apart: true,
        ..Bin::new("none", none)
    });
    histogram(page, "Age of the newest good backup", "tenants", &bins)
}

fn histogram(page: &mut String, title: &str, what: &str, bins: &[Bin]) -> std::fmt::Result {
    const HEIGHT: f64 = 150.0;
    const TOP_EDGE: f64 = 18.0;
    let most = bins.iter().map(|b| b.tenants).max().unwrap_or(0).max(1);
    let slot = WIDTH / bins.len().max(1) as f64;
    let gap = (slot * 0.14).clamp(2.0, 12.0);
    let base = TOP_EDGE + HEIGHT;
    open(page, title, what, base + 22.0)?;
    for (at, bin) in bins.iter().enumerate() {
        let height = match bin.tenants {
            0 => 0.0,
            // One among ten thousand can still be seen.
            n => (HEIGHT * n as f64 / most as f64).max(1.5),
        };
        let middle = slot * (at as f64 + 0.5);
        let width = (slot - gap).min(90.0);
        let class = if bin.apart { "n" } else { "b" };
        // A nought would only be in the way of the eye.
        let figure = if bin.tenants == 0 {
            String::new()
        } else {
            grouped(bin.tenants as f64)
        };
        write!(
            page,
            "<g><title>{}: {}</title><rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"1\"/>\
<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"s\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
            escape(&bin.label),
            count(bin.tenants, "tenant"),
            middle - width / 2.0,
            base - height,
            width,
            base - height - 5.0,
            figure,
            base + 16.0,
            escape(&bin.label)
        )?;
    }
    writeln!(
        page,
        "<line class=\"l\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{base}\" y2=\"{base}\"/></svg>\n</figure>"
    )
}

fn open(page: &mut String, title: &str, what: &str, height: f64) -> std::fmt::Result {
    writeln!(
        page,
        "<figure>\n<figcaption>{title} <span>{what}</span></figcaption>\n<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}: {what}\">"
    )
}

/// The ids of the largest tenants with their sizes.
fn largest(page: &mut String, tenants: &[TenantMetrics]) -> std::fmt::Result {
    const LINE: f64 = 18.0;
    const FIGURE: f64 = 66.0;
    const LONGEST: usize = 23;
    let mut known: Vec<(&TenantMetrics, u64)> = tenants
        .iter()
        .filter_map(|t| Some((t, t.database.size_bytes?)))
        .collect();
    known.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.tenant_id.cmp(&b.tenant_id)));
    known.truncate(TOP);
    if known.is_empty() {
        return Ok(());
    }
    let most = known.first().map_or(1, |(_, n)| (*n).max(1));
    // About what a letter takes, at most what the longest that is shown does.
    let longest = known.iter().map(|(t, _)| t.tenant_id.as_str().len().min(LONGEST)).max();
    let label = 10.0 + 6.4 * longest.unwrap_or(0) as f64;
    open(page, "Largest tenants", "by size", LINE * known.len() as f64)?;
    for (at, (t, n)) in known.iter().enumerate() {
        let y = LINE * at as f64;
        let id = t.tenant_id.as_str();
        let shown = match id.len() > LONGEST {
            true => format!("{}\u{2026}", &id[..LONGEST - 1]),
            false => id.to_owned(),
        };
        let width = ((WIDTH - label - FIGURE) * *n as f64 / most as f64).max(1.0);
        write!(
            page,
            "<g><title>{}: {}</title><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"b\" x=\"{label:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"1\"/>\
<text class=\"s\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            escape(id),
            bytes(*n),
            label - 8.0,
            y + 13.0,
            escape(&shown),
            y + 3.0,
            LINE - 6.0,
            label + width + 6.0,
            y + 13.0,
            bytes(*n)
        )?;
    }
    page.push_str("</svg>\n</figure>\n");
    Ok(())
}

/// Shares of a limit, from and to which.
const SHARES: [(&str, f64); 5] = [
    ("below 50 %", 0.5),
    ("50\u{2013}80 %", 0.8),
    ("80\u{2013}90 %", 0.9),
    ("90\u{2013}100 %", 1.0),
    ("100 % and more", f64::INFINITY),
];

/// How many tenants have used how much of each limit.
fn limits(page: &mut String, tenants: &[TenantMetrics]) -> std::fmt::Result {
    const LINE: f64 = 46.0;
    const BAR: f64 = 14.0;
    let rows: Vec<(&str, [usize; 5], usize, usize)> = super::LIMITS
        .iter()
        .map(|(name, ..)| {
            let (mut shares, mut unlimited, mut unknown) = ([0; 5], 0, 0);
            for usage in tenants.iter().filter_map(|t| t.limits.get(*name)) {
                match usage.ratio {
                    Some(ratio) => {
                        shares[SHARES
                            .iter()
                            .position(|(_, end)| ratio < *end)
                            .unwrap_or(SHARES.len() - 1)] += 1;
                    }
                    None if usage.max.is_none() => unlimited += 1,
                    None => unknown += 1,
                }
            }
            (*name, shares, unlimited, unknown)
        })
        .filter(|(_, shares, ..)| shares.iter().any(|n| *n > 0))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    open(
        page,
        "Usage of limits",
        "shares of the tenants that have the limit",
        LINE * rows.len() as f64 - 8.0,
    )?;
    for (at, (name, shares, unlimited, unknown)) in rows.iter().enumerate() {
        let y = LINE * at as f64;
        let all = shares.iter().sum::<usize>() + unknown;
        let near: usize = shares[2..].iter().sum();
        let mut note = vec![format!("{} at 80 % or above", grouped(near as f64))];
        if *unknown > 0 {
            note.push(format!("{} unknown", grouped(*unknown as f64)));
        }
        if *unlimited > 0 {
            note.push(format!("{} without the limit", grouped(*unlimited as f64)));
        }
        write!(
            page,
            "<text x=\"0\" y=\"{:.1}\">{}</text><text class=\"s\" x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            y + 12.0,
            limit_label(name),
            y + 12.0,
            note.join(", ")
        )?;
        let mut x = 0.0;
        let parts = SHARES.iter().zip(shares).enumerate();
        let parts = parts.map(|(at, ((label, _), n))| (format!("a{at}"), *label, *n));
        for (class, label, n) in parts.chain([("n".to_owned(), "unknown", *unknown)]) {
            if n == 0 {
                continue;
            }
            let width = (WIDTH * n as f64 / all as f64).max(1.5).min(WIDTH - x);
            write!(
                page,
                "<g><title>{}, {label}: {}</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/></g>",
                limit_label(name),
                count(n, "tenant"),
                y + 18.0
            )?;
            x += width;
        }
    }
    page.push_str("</svg>\n<ul class=\"key\">");
    let classes = ["a0", "a1", "a2", "a3", "n"];
    let labels = [
        "below 50 %",
        "50\u{2013}80 %",
        "80\u{2013}90 %",
        "90 % and more",
        "unknown",
    ];
    for (class, label) in classes.iter().zip(labels) {
        write!(
            page,
            "<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"10\" height=\"10\"/></svg>{label}</li>"
        )?;
    }
    page.push_str("</ul>\n</figure>\n");
    Ok(())
}
