//! What measured growth comes to beyond the last measurement: a straight line through the last factor of ten, said to be one.

use super::{Curve, Figure, Line, Point};

/// The number of tenants that figures are worked out for, if a line reaches so far.
pub const TO: f64 = 100_000.0;
/// Beyond so many times the last measurement a line says nothing: the noise of a moment is as much as the growth.
const REACH: f64 = 100.0;
/// How far a line reaches that every place is on, as of what is counted: there is no noise.
const REACH_EXACT: f64 = 10_000_000.0;
/// What the figures are called that say at how many tenants something breaks, the first one coming first, and their unit.
const BREAKS: &str = "breaks at";
const BREAKS_UNIT: &str = "tenants";
/// How much steeper the end of the last factor of ten may be than its beginning before growth counts as more than linear.
const BEND: f64 = 1.5;

/// A measured growth and what it must not exceed.
#[derive(Clone, Debug)]
pub struct Series {
    /// What was measured, such as `validate --all`.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What breaks when the limit is exceeded, and the limit itself; none for what breaks nothing.
    pub limit: Option<(f64, String)>,
    /// Tenants and values, tenants rising.
    pub points: Vec<(f64, f64)>,
}

/// A line `at0 + slope * x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The value without tenants.
    pub at0: f64,
    /// The growth with each tenant.
    pub slope: f64,
    /// The growth gets steeper within the points: the line is too low.
    pub bends: bool,
    /// The number of tenants up to which the line says something.
    pub reach: f64,
}

impl Fit {
    /// The value at a number of tenants.
    pub fn at(self, x: f64) -> f64 {
        self.at0 + self.slope * x
    }

    /// The number of tenants at which a value is reached; none if it is not, or farther away than the line reaches.
    pub fn reaches(self, value: f64) -> Option<f64> {
        let x = (value - self.at0) / self.slope;
        (self.slope > 0.0 && x < self.reach).then_some(x.max(0.0))
    }

    /// The number of tenants that figures are worked out for.
    fn target(self) -> f64 {
        TO.min(self.reach)
    }
}

/// Least squares over the last factor of ten; none with fewer than two places in it.
pub fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let last = points.last()?.0;
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, _)| *x >= last / 10.0).collect();
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    if spread <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
    let steepness = |pair: &[(f64, f64)]| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0);
    let steps: Vec<f64> = points.windows(2).map(steepness).collect();
    let bends = match (steps.first(), steps.last()) {
        (Some(first), Some(end)) if steps.len() > 1 => *first > 0.0 && *end > *first * BEND,
        _ => false,
    };
    let at0 = y - slope * x;
    let exact = points.len() > 2
        && points
            .iter()
            .all(|p| (p.1 - at0 - slope * p.0).abs() <= p.1.abs() * 1e-6);
    Some(Fit {
        at0,
        slope,
        bends,
        reach: if exact { REACH_EXACT } else { last * REACH },
    })
}

/// Figures at [`TO`] tenants, or as many as can be told of, and what breaks at how many, what breaks first coming first.
pub fn figures(suite: &'static str, series: &[Series]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut breaks: Vec<(f64, String)> = Vec::new();
    for one in series {
        let Some(fit) = fit(&one.points) else { continue };
        let measured = one.points.last().map_or(0.0, |p| p.0);
        let to = fit.target();
        if measured < to {
            // What does not grow is noise around a level: a line that falls is taken for flat.
            let value = if fit.slope > 0.0 { fit.at(to) } else { fit.at(measured) };
            let bends = if fit.bends { ", at least: it bends upwards" } else { "" };
            let metric = format!("{} at {to} tenants (extrapolated from {measured}{bends})", one.name);
            // A baseline judges what was measured; here its noise is a multiple of itself.
            figures.push(Figure::new(suite, metric, one.unit, value, None).of_others());
        }
        if let Some((limit, what)) = &one.limit
            && let Some(at) = fit.reaches(*limit)
        {
            let how = if at > measured { " (extrapolated)" } else { "" };
            breaks.push((at, format!("{BREAKS}{how}: {what}")));
        }
    }
    breaks.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, what) in breaks {
        figures.push(Figure::new(suite, what, BREAKS_UNIT, at.floor(), None).of_others());
    }
    figures
}

/// The figure of what breaks first, in words; none where nothing does.
pub fn first(figures: &[Figure]) -> Option<String> {
    let first = figures.iter().find(|figure| figure.unit == BREAKS_UNIT)?;
    let (_, what) = first.metric.split_once(": ")?;
    Some(format!("first of all, at about {:.0} tenants: {what}", first.value))
}

/// Some series as the lines of one curve, with the point that figures are worked out for where it was not measured.
pub fn curve(suite: &'static str, name: &str, unit: &'static str, series: &[&Series]) -> Curve {
    let line = |one: &&Series| {
        let mut points: Vec<Point> = one.points.iter().map(|&(x, y)| Point::measured(x, y)).collect();
        let last = one.points.last().map_or(TO, |p| p.0);
        if let Some(fit) = fit(&one.points)
            && last < fit.target()
        {
            let to = fit.target();
            points.push(Point {
                x: to,
                y: if fit.slope > 0.0 { fit.at(to) } else { fit.at(last) },
                extrapolated: true,
            });
        }
        Line {
            name: one.name.to_owned(),
            points,
        }
    };
    Curve {
        suite,
        name: name.to_owned(),
        x: "tenants",
        unit,
        lines: series.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &'static str, limit: Option<f64>, points: &[(f64, f64)]) -> Series {
        Series {
            name,
            unit: "s",
            limit: limit.map(|limit| (limit, format!("{name} exceeds {limit}"))),
            points: points.to_vec(),
        }
    }

    #[test]
    fn only_the_last_factor_of_ten_is_fitted() {
        // What few tenants take is start-up, and far from the line.
        let points = [
            (10.0, 9.0),
            (100.0, 9.0),
            (1000.0, 3.0),
            (5000.0, 11.0),
            (10_000.0, 21.0),
        ];
        let fit = fit(&points).expect("three points");
        assert!((fit.at(100_000.0) - 201.0).abs() < 1.0, "{fit:?}");
        assert!(
            (fit.reaches(101.0).expect("reached") - 50_000.0).abs() < 300.0,
            "{fit:?}"
        );
        assert!(!fit.bends);
    }

    #[test]
    fn growth_that_gets_steeper_is_said_to() {
        let square = [(1000.0, 1.0), (5000.0, 25.0), (10_000.0, 100.0)];
        assert!(fit(&square).expect("three points").bends);
        assert_eq!(fit(&[(10.0, 1.0)]), None);
        assert_eq!(fit(&[]), None);
        let flat = fit(&[(1000.0, 2.0), (10_000.0, 2.0)]).expect("two points");
        assert_eq!(flat.reaches(10.0), None);
    }

    #[test]
    fn nothing_is_told_of_what_is_too_far_away_and_no_baseline_judges_the_rest() {
        // A tenth of a second of noise would be minutes at 100,000 tenants.
        let few = [series("show", Some(10.0), &[(10.0, 0.1), (50.0, 0.16), (100.0, 0.2)])];
        let figures = figures("scale", &few);
        let metrics: Vec<&str> = figures.iter().map(|f| f.metric.as_str()).collect();
        assert_eq!(
            metrics,
            [
                "show at 10000 tenants (extrapolated from 100)",
                "breaks at (extrapolated): show exceeds 10"
            ]
        );
        assert!(figures.iter().all(|f| f.better == crate::bench::Better::Neither));
        let further = [series("show", Some(100.0), &[(10.0, 0.1), (50.0, 0.16), (100.0, 0.2)])];
        assert_eq!(super::figures("scale", &further).len(), 1);
        let curve = curve("scale", "all", "s", &[&few[0]]);
        assert!((curve.lines[0].points[3].x - 10_000.0).abs() < 1e-6);
        // What is counted has no noise.
        let counted = [series(
            "tables",
            Some(6400.0),
            &[(10.0, 60.0), (50.0, 300.0), (100.0, 600.0)],
        )];
        let counted = super::figures("scale", &counted);
        assert!(
            (counted[0].value - 600_000.0).abs() < 1.0 && counted.len() == 2,
            "{counted:?}"
        );
    }

    #[test]
    fn what_breaks_first_comes_first_and_is_said_to_be_extrapolated() {
        let all = [
            series("a", Some(100.0), &[(1000.0, 1.0), (10_000.0, 10.0)]),
            series("b", Some(100.0), &[(1000.0, 4.0), (10_000.0, 40.0)]),
            series("c", None, &[(1000.0, 3.0), (10_000.0, 2.0)]),
        ];
        let figures = figures("scale", &all);
        let text: Vec<String> = figures
            .iter()
            .map(|f| format!("{}: {:.0}", f.metric, f.value))
            .collect();
        assert_eq!(
            text,
            [
                "a at 100000 tenants (extrapolated from 10000): 100",
                "b at 100000 tenants (extrapolated from 10000): 400",
                "c at 100000 tenants (extrapolated from 10000): 2",
                "breaks at (extrapolated): b exceeds 100: 25000",
                "breaks at (extrapolated): a exceeds 100: 100000",
            ]
        );
        assert_eq!(
            first(&figures).expect("one breaks"),
            "first of all, at about 25000 tenants: b exceeds 100"
        );
        assert_eq!(first(&figures[..3]), None);
        // Within what was measured nothing is extrapolated.
        let early = [series("d", Some(5.0), &[(1000.0, 1.0), (10_000.0, 10.0)])];
        let metrics: Vec<String> = super::figures("scale", &early).into_iter().map(|f| f.metric).collect();
        assert_eq!(metrics.last().map(String::as_str), Some("breaks at: d exceeds 5"));
        assert!(figures.iter().all(|f| f.target.is_none()));
        let curve = curve("scale", "all", "s", &[&all[0]]);
        let last = curve.lines[0].points.last().expect("points");
        assert!(last.extrapolated && (last.y - 100.0).abs() < 1e-6, "{last:?}");
    }
}
