//! Charts of latencies and of growth, as SVG that takes its colours from the page.

use std::fmt::Write;

use crate::bench::{Curve, Histogram};
use crate::figures::{count, grouped, significant};
use crate::metrics::report::escape;

/// Units that a chart is wide and high, and the room for its labels at the left, at the right, above and below.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 40.0;

/// Colours that lines have; further ones begin anew, with the name to tell them by.
const COLOURS: usize = 6;

/// A logarithmic axis where the largest value is so many times the smallest.
const LOG_X: f64 = 20.0;
const LOG_Y: f64 = 50.0;

/// Values on an axis, and where they are.
struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
    /// Where `from` and `to` are drawn.
    places: (f64, f64),
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.places.0 + (self.places.1 - self.places.0) * share.clamp(0.0, 1.0)
    }

    /// Round values to write at the axis: about half a dozen.
    fn ticks(&self) -> Vec<f64> {
        let all = |steps: &[f64]| -> Vec<f64> {
            let decades = (self.from.log10().floor() as i32)..=(self.to.log10().ceil() as i32);
            decades
                .flat_map(|n| steps.iter().map(move |step| step * 10_f64.powi(n)))
                .filter(|v| (self.from * 0.999..=self.to * 1.001).contains(v))
                .collect()
        };
        let (fine, coarse) = match self.logarithmic {
            true => (all(&[1.0, 2.0, 5.0]), all(&[1.0])),
            false => (Vec::new(), Vec::new()),
        };
        if fine.len() > 10 {
            coarse
        } else if fine.len() > 2 {
            fine
        } else {
            let raw = (self.to - self.from) / 5.0;
            let power = 10_f64.powf(raw.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0]
                .map(|n| n * power)
                .into_iter()
                .find(|s| *s >= raw * 0.999);
            let step = step.unwrap_or(raw);
            let first = (self.from / step).ceil() as i64;
            let last = (self.to / step + 1e-9).floor() as i64;
            (first..=last).map(|n| n as f64 * step).collect()
        }
    }
}

/// From the smallest to the largest of some values. A linear axis begins at 0.
fn axis(values: impl Iterator<Item = f64> + Clone, ratio: f64, places: (f64, f64), room: f64) -> Axis {
    let values = values.filter(|v| v.is_finite());
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(f64::NEG_INFINITY, f64::max);
    if least > 0.0 && most / least >= ratio {
        // Values at the edge could not be told from the frame.
        return Axis {
            from: least / room,
            to: most * room,
            logarithmic: true,
            places,
        };
    }
    Axis {
        from: least.min(0.0),
        to: if most > 0.0 { most * room } else { 1.0 },
        logarithmic: false,
        places,
    }
}

/// The range of a histogram's axis: that of all which are named alike up to a colon, lest they could not be compared by eye.
pub fn range(histogram: &Histogram, all: &[&Histogram]) -> (f64, f64) {
    let kind = |h: &Histogram| {
        h.name
            .split_once(": ")
            .map_or_else(String::new, |(kind, _)| kind.to_owned())
    };
    let like: Vec<_> = all
        .iter()
        .filter(|h| h.name == histogram.name || (!kind(h).is_empty() && kind(h) == kind(histogram)))
        .flat_map(|h| &h.buckets)
        .collect();
    let from = like.iter().map(|b| b.from_ms).fold(f64::INFINITY, f64::min);
    let to = like.iter().map(|b| b.to_ms).fold(f64::NEG_INFINITY, f64::max);
    (from, to)
}

/// How many latencies were how long, on a logarithmic axis that reaches from and to so many milliseconds.
pub fn histogram(page: &mut String, h: &Histogram, (from, to): (f64, f64)) -> std::fmt::Result {
    let x = Axis {
        from,
        // One range alone would have no width to be placed in.
        to: to.max(from * 1.5),
        logarithmic: true,
        places: (LEFT, WIDTH - RIGHT),
    };
    let most = h.buckets.iter().map(|b| b.count).max().unwrap_or(0);
    let y = Axis {
        from: 0.0,
        to: (most as f64).max(1.0) * 1.05,
        logarithmic: false,
        places: (HEIGHT - BOTTOM, TOP),
    };
    let spoken = format!(
        "p50 {}, p95 {}, p99 {}, max {} ms",
        significant(h.p50),
        significant(h.p95),
        significant(h.p99),
        significant(h.max)
    );
    let note = format!("{}: {spoken}", grouped(h.count as f64));
    open(page, &h.name, &note)?;
    // Counts are whole.
    let whole: Vec<f64> = y.ticks().into_iter().filter(|n| n.fract() == 0.0).collect();
    frame(page, &x, &x.ticks(), "milliseconds", &y, &whole, "count")?;
    for b in h.buckets.iter().filter(|b| b.count > 0) {
        let (left, right) = (x.place(b.from_ms), x.place(b.to_ms));
        // One among thousands can still be seen.
        let top = y.place(b.count as f64).min(y.places.0 - 1.5);
        writeln!(
            page,
            "<g><title>{} to {} ms: {}</title><rect class=\"b\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></g>",
            significant(b.from_ms),
            significant(b.to_ms),
            count(usize::try_from(b.count).unwrap_or(usize::MAX), "time"),
            (right - left - 1.0).max(0.5),
            y.places.0 - top
        )?;
    }
    // Labels of marks that are close together go to different heights.
    for (no, (name, value)) in (0_u8..).zip([("p50", h.p50), ("p95", h.p95), ("p99", h.p99)]) {
        let at = x.place(value);
        let height = 10.0 + 13.0 * f64::from(no);
        let (anchor, shift) = if at > WIDTH - 64.0 {
            ("end", -4.0)
        } else {
            ("start", 4.0)
        };
        writeln!(
            page,
            "<line class=\"pct\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text x=\"{:.1}\" y=\"{height:.1}\" text-anchor=\"{anchor}\">{name} {}</text>",
            height - 8.0,
            y.places.0,
            at + shift,
            significant(value)
        )?;
    }
    page.push_str("</svg>\n<details>\n<summary>Values</summary>\n<table>\n<thead><tr><th scope=\"col\">from ms<th scope=\"col\">to ms<th scope=\"col\">count</thead>\n<tbody>\n");
    for b in h.buckets.iter().filter(|b| b.count > 0) {
        writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}",
            significant(b.from_ms),
            significant(b.to_ms),
            grouped(b.count as f64)
        )?;
    }
    page.push_str("</tbody>\n</table>\n</details>\n</figure>\n");
    Ok(())
}

/// How something grows.
pub fn curve(page: &mut String, c: &Curve) -> std::fmt::Result {
    let points = || c.lines.iter().flat_map(|l| &l.points);
    if points().all(|p| !p.y.is_finite()) {
        return Ok(());
    }
    let x = axis(points().map(|p| p.x), LOG_X, (LEFT, WIDTH - RIGHT), 1.08);
    let y = axis(points().map(|p| p.y), LOG_Y, (HEIGHT - BOTTOM, TOP - 24.0), 1.15);
    open(page, &c.name, &format!("{} by {}", c.unit, c.x))?;
    // Where it was measured is what people look for.
    let mut places: Vec<f64> = points().map(|p| p.x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let ticks = if places.len() <= 8 { places.clone() } else { x.ticks() };
    frame(page, &x, &ticks, c.x, &y, &y.ticks(), c.unit)?;
    for (no, line) in c.lines.iter().enumerate() {
        let colour = no % COLOURS;
        let known: Vec<_> = line.points.iter().filter(|p| p.y.is_finite()).collect();
        for pair in known.windows(2) {
            let class = if pair[1].extrapolated { " guess" } else { "" };
            writeln!(
                page,
                "<line class=\"line c{colour}{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
                x.place(pair[0].x),
                y.place(pair[0].y),
                x.place(pair[1].x),
                y.place(pair[1].y)
            )?;
        }
        for p in known {
            let class = if p.extrapolated {
                format!("line guess c{colour}")
            } else {
                format!("d{colour}")
            };
            writeln!(
                page,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}, {} {}: {} {}{}</title></circle>",
                x.place(p.x),
                y.place(p.y),
                escape(&line.name),
                grouped(p.x),
                escape(c.x),
                significant(p.y),
                escape(c.unit),
                if p.extrapolated { ", extrapolated" } else { "" }
            )?;
        }
    }
    page.push_str("</svg>\n<ul class=\"key\">");
    for (no, line) in c.lines.iter().enumerate() {
        write!(
            page,
            "<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"d{}\" width=\"10\" height=\"10\"/></svg>{}</li>",
            no % COLOURS,
            escape(&line.name)
        )?;
    }
    if points().any(|p| p.extrapolated) {
        page.push_str("<li>dashed: extrapolated</li>");
    }
    write!(
        page,
        "</ul>\n<details>\n<summary>Values in {}</summary>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\" class=\"t\">{}",
        escape(c.unit),
        escape(c.x)
    )?;
    for place in &places {
        write!(page, "<th scope=\"col\">{}", grouped(*place))?;
    }
    page.push_str("</thead>\n<tbody>\n");
    for line in &c.lines {
        write!(page, "<tr><th scope=row>{}", escape(&line.name))?;
        for place in &places {
            let at = line.points.iter().find(|p| (p.x - place).abs() < f64::EPSILON);
            let text = at.map_or_else(String::new, |p| {
                let mark = if p.extrapolated { "~" } else { "" };
                format!("{mark}{}", significant(p.y))
            });
            write!(page, "<td>{text}")?;
        }
        page.push('\n');
    }
    page.push_str("</tbody>\n</table></div>\n</details>\n</figure>\n");
    Ok(())
}

fn open(page: &mut String, title: &str, note: &str) -> std::fmt::Result {
    let (title, note) = (escape(title), escape(note));
    writeln!(
        page,
        "<figure>\n<figcaption>{title} <span>{note}</span></figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {note}\">"
    )
}

/// Lines and labels of both axes.
fn frame(
    page: &mut String,
    x: &Axis,
    x_ticks: &[f64],
    x_name: &str,
    y: &Axis,
    y_ticks: &[f64],
    y_name: &str,
) -> std::fmt::Result {
    let (base, right) = (y.places.0, x.places.1);
    for value in y_ticks {
        let at = y.place(*value);
        writeln!(
            page,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"s\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            short(*value)
        )?;
    }
    for value in x_ticks {
        let at = x.place(*value);
        writeln!(
            page,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{base}\" y2=\"{:.1}\"/><text class=\"s\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            base + 4.0,
            base + 16.0,
            short(*value)
        )?;
    }
    writeln!(
        page,
        "<line class=\"l\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{base}\" y2=\"{base}\"/>\
<text class=\"s\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"s\" x=\"0\" y=\"10\">{}</text>",
        f64::midpoint(LEFT, right),
        base + 34.0,
        escape(x_name),
        escape(y_name)
    )
}

/// `10,000`, `2`, `0.5`: a round number without noughts behind the point.
fn short(value: f64) -> String {
    let text = significant(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let linear = axis([0.0, 87.0].into_iter(), LOG_Y, (0.0, 100.0), 1.0);
        assert_eq!(linear.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert!((linear.place(43.5) - 50.0).abs() < 1e-9);
        let decades = axis([10.0, 10_000.0].into_iter(), LOG_X, (0.0, 300.0), 1.0);
        assert!(decades.logarithmic);
        let ticks = decades.ticks();
        assert_eq!((ticks.first(), ticks.last()), (Some(&10.0), Some(&10_000.0)));
        assert!((decades.place(100.0) - 100.0).abs() < 1e-9);
        // Less than from 1 to 5 has round values too.
        let narrow = Axis {
            from: 2.9,
            to: 4.1,
            logarithmic: true,
            places: (0.0, 100.0),
        };
        let ticks: Vec<String> = narrow.ticks().into_iter().map(short).collect();
        assert_eq!(ticks, ["3", "3.5", "4"]);
        // Nothing but noughts still has an axis.
        let noughts = axis([0.0, 0.0].into_iter(), LOG_Y, (0.0, 100.0), 1.1);
        assert!(noughts.place(0.0).abs() < 1e-9 && !noughts.ticks().is_empty());
        assert_eq!(
            [short(0.5), short(10_000.0), short(2.0), short(100.0)],
            ["0.5", "10,000", "2", "100"]
        );
    }
}
