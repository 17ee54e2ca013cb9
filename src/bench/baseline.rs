//! Figures beside those of an earlier run: which are worse by more than noise makes them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::Document;
use super::environment::Environment;
use super::{Better, Figure};
use crate::error::{Error, Result};

/// Per cent by which a figure may differ for no reason, where nobody says how much.
pub const NOISE_PERCENT: u16 = 25;

/// An earlier run, read from its JSON. Runs of other versions may lack what is not needed here.
#[derive(Clone, Debug, Deserialize)]
pub struct Baseline {
    #[serde(default)]
    environment: Value,
    results: Vec<Earlier>,
}

/// A figure of it.
#[derive(Clone, Debug, Deserialize)]
struct Earlier {
    suite: String,
    metric: String,
    unit: String,
    /// Not a number is written as null.
    value: Option<f64>,
}

/// How one figure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Better by more than noise.
    Better,
    /// The same but for noise.
    Same,
    /// Worse by more than noise.
    Worse,
    /// Not judged: no merit of ours.
    Neither,
}

/// A figure's predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// What it was.
    pub value: f64,
    /// By how many per cent the new one is larger; null where it was 0.
    pub change_percent: Option<f64>,
    /// What to make of that.
    pub verdict: Verdict,
}

/// A figure that only one of both runs has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Single {
    /// Its suite.
    pub suite: String,
    /// What was measured.
    pub metric: String,
}

/// How a run stands beside an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The file that was compared with.
    pub file: String,
    /// When the earlier run began; null where it does not say.
    pub started_at: Option<String>,
    /// Per cent by which a figure may differ for no reason; twice as much for a p99, four times for a maximum.
    pub noise_percent: u16,
    /// Figures that are worse.
    pub worse: usize,
    /// Figures that are better.
    pub better: usize,
    /// Figures that are the same but for noise.
    pub same: usize,
    /// Figures of the earlier run that this one lacks, of the suites that were run.
    pub missing: Vec<Single>,
    /// Figures that the earlier run lacks.
    pub new: Vec<Single>,
    /// What else was different, a sentence each: then a difference of figures need not be tenantctl's doing.
    pub environment: Vec<String>,
}

impl Baseline {
    /// Reads the JSON of an earlier run.
    ///
    /// # Errors
    /// Kind `config` when it is something else; `name` is what the file is called.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let read: Self = serde_json::from_str(text).map_err(|e| not_ours(name).with_cause(e))?;
        if read.results.is_empty() {
            return Err(not_ours(name).with_cause("it has no figures"));
        }
        Ok(read)
    }

    /// Refuses one that has no figure of any of these suites: nothing would be compared, and that would pass.
    ///
    /// # Errors
    /// Kind `config`; `name` is what the file is called.
    pub fn require_any_of(&self, suites: &[&str], name: &str) -> Result<()> {
        let known = |e: &Earlier| e.value.is_some() && suites.contains(&e.suite.as_str());
        if self.results.iter().any(known) {
            return Ok(());
        }
        let has: BTreeSet<&str> = self.results.iter().map(|e| e.suite.as_str()).collect();
        let has: Vec<&str> = has.into_iter().collect();
        Err(Error::config(format!("{name} has no figure of {}", suites.join(", ")))
            .with_cause(format!("it has figures of {}", has.join(", ")))
            .with_hint("Compare with a run of the same suites."))
    }

    /// Compares the figures of a run with these, and notes in each how it stands.
    pub fn compare(&self, run: &mut Document, file: &str, noise_percent: u16, suites: &[&str]) {
        let noise = f64::from(noise_percent) / 100.0;
        let mut comparison = Comparison {
            file: file.to_owned(),
            started_at: self.environment["started_at"].as_str().map(str::to_owned),
            noise_percent,
            worse: 0,
            better: 0,
            same: 0,
            missing: Vec::new(),
            new: Vec::new(),
            environment: differences(&self.environment, &run.environment),
        };
        let mut seen = BTreeSet::new();
        for figure in &mut run.results {
            let same = |e: &&Earlier| e.suite == figure.suite && e.metric == figure.metric && e.unit == figure.unit;
            let Some((earlier, value)) = self.results.iter().find(same).and_then(|e| Some((e, e.value?))) else {
                comparison.new.push(Single {
                    suite: figure.suite.to_owned(),
                    metric: figure.metric.clone(),
                });
                continue;
            };
            seen.insert((&earlier.suite, &earlier.metric, &earlier.unit));
            let verdict = judge(figure, value, noise);
            match verdict {
                Verdict::Worse => comparison.worse += 1,
                Verdict::Better => comparison.better += 1,
                Verdict::Same => comparison.same += 1,
                Verdict::Neither => {}
            }
            figure.baseline = Some(Compared {
                value,
                change_percent: (value != 0.0).then(|| (figure.value - value) / value.abs() * 100.0),
                verdict,
            });
        }
        comparison.missing = self
            .results
            .iter()
            .filter(|e| suites.contains(&e.suite.as_str()) && !seen.contains(&(&e.suite, &e.metric, &e.unit)))
            .map(|e| Single {
                suite: e.suite.clone(),
                metric: e.metric.clone(),
            })
            .collect();
        run.baseline = Some(comparison);
    }
}

fn not_ours(name: &str) -> Error {
    Error::config(format!("{name} is not the result of a benchmark"))
        .with_hint("It must be what `tenantctl -o json bench ...` printed to stdout.")
}

/// What two figures may differ by although the share is large: a millisecond is nothing to be told of.
fn floor(unit: &str) -> f64 {
    match unit {
        "ms" => 1.0,
        "s" => 0.05,
        "MB" | "MiB" => 2.0,
        "ratio" => 0.05,
        "%" => 1.0,
        _ => 0.0,
    }
}

fn judge(figure: &Figure, was: f64, noise: f64) -> Verdict {
    // One slow moment makes a maximum, and with few samples a p99.
    let last = figure.metric.rsplit([' ', ':']).find(|word| !word.is_empty());
    let noise = match last {
        Some("max") => noise * 4.0,
        Some("p99") => noise * 2.0,
        _ => noise,
    };
    let (cost, earlier) = match figure.better {
        Better::Less => (figure.value, was),
        Better::More => (was, figure.value),
        Better::Neither => return Verdict::Neither,
    };
    // What could be measured then and cannot be now is no improvement.
    if !figure.value.is_finite() {
        Verdict::Worse
    } else if (figure.value - was).abs() <= floor(figure.unit) {
        Verdict::Same
    } else if cost > earlier * (1.0 + noise) {
        Verdict::Worse
    } else if earlier > cost * (1.0 + noise) {
        Verdict::Better
    } else {
        Verdict::Same
    }
}

/// A sentence for each thing that was different when the earlier run was made.
fn differences(was: &Value, is: &Environment) -> Vec<String> {
    let mut told = Vec::new();
    let is = serde_json::to_value(is).unwrap_or_default();
    for (key, name) in [
        ("server_version", "the server's version"),
        ("client_cpus", "processors of this machine"),
        ("client_memory_bytes", "bytes of memory of this machine"),
        ("server_is_local", "a server on the same machine"),
        ("build", "the build of tenantctl"),
    ] {
        if !was[key].is_null() && was[key] != is[key] {
            told.push(format!("{name}: {}, then {}", shown(&is[key]), shown(&was[key])));
        }
    }
    for (key, name) in [
        ("settings", "setting"),
        ("extensions", "extension"),
        ("arguments", "argument"),
    ] {
        let texts = |value: &Value| -> Option<BTreeSet<String>> {
            let all = value[key].as_array()?;
            Some(all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
        };
        let (Some(then), Some(now)) = (texts(was), texts(&is)) else {
            continue;
        };
        // A setting that only one of both has recorded says nothing.
        let name_of = |text: &str| text.split([' ', '=']).next().unwrap_or_default().to_owned();
        let known: BTreeSet<String> = then.iter().map(|t| name_of(t)).collect();
        for text in now.difference(&then) {
            let before = then.iter().find(|t| name_of(t) == name_of(text));
            match before {
                Some(before) => told.push(format!("{name} {text}, then {before}")),
                None if key != "settings" => told.push(format!("{name} {text}, then none")),
                None => {}
            }
        }
        let now_known: BTreeSet<String> = now.iter().map(|t| name_of(t)).collect();
        if key != "settings" {
            for gone in known.difference(&now_known) {
                let text = then.iter().find(|t| name_of(t) == *gone);
                told.extend(text.map(|text| format!("{name} {text} then, none now")));
            }
        }
    }
    told
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Measured;

    fn environment() -> Environment {
        Environment {
            server_version: "15.1".into(),
            server_major: 15,
            settings: vec!["fsync = on".into(), "jit = on".into()],
            extensions: Vec::new(),
            server_is_local: true,
            client_cpus: 2,
            client_memory_bytes: Some(1 << 30),
            tenantctl_version: "0",
            build: "release",
            started_at: "2026-01-01T00:00:00Z".into(),
            duration_s: 1.0,
            arguments: vec!["--count 50".into()],
        }
    }

    fn run(figures: Vec<Figure>) -> Document {
        Document::new(environment(), Measured::from(figures), Vec::new())
    }

    fn verdict(metric: &str, unit: &'static str, was: f64, is: f64) -> Verdict {
        judge(&Figure::new("s", metric, unit, is, None), was, 0.25)
    }

    #[test]
    fn what_noise_and_floor_explain_is_the_same() {
        for (metric, unit, was, is, wanted) in [
            ("p50", "ms", 10.0, 12.4, Verdict::Same),
            ("p50", "ms", 10.0, 12.6, Verdict::Worse),
            ("p50", "ms", 12.6, 10.0, Verdict::Better),
            ("p50", "ms", 12.4, 10.0, Verdict::Same),
            // Twice as much, and still nothing.
            ("p50", "ms", 0.5, 1.4, Verdict::Same),
            ("p50", "ms", 0.5, 1.6, Verdict::Worse),
            ("x: p99", "ms", 10.0, 14.9, Verdict::Same),
            ("x: p99", "ms", 10.0, 15.1, Verdict::Worse),
            ("max", "ms", 10.0, 19.9, Verdict::Same),
            ("max", "ms", 10.0, 20.1, Verdict::Worse),
            // More is better.
            ("rate", "1/s", 100.0, 79.0, Verdict::Worse),
            ("rate", "1/s", 100.0, 81.0, Verdict::Same),
            ("rate", "1/s", 100.0, 126.0, Verdict::Better),
            ("stored", "MB", 0.0, 1.9, Verdict::Same),
            ("stored", "MB", 0.0, 2.1, Verdict::Worse),
            ("p50", "ms", 10.0, f64::NAN, Verdict::Worse),
            ("rate", "1/s", 10.0, f64::INFINITY, Verdict::Worse),
        ] {
            assert_eq!(verdict(metric, unit, was, is), wanted, "{metric} {was} {is} {unit}");
        }
        let others = Figure::new("s", "pg_dump", "s", 100.0, None).of_others();
        assert_eq!(judge(&others, 1.0, 0.25), Verdict::Neither);
    }

    #[test]
    fn each_figure_is_compared_and_those_without_another_are_named() {
        let mut earlier = run(vec![
            Figure::new("a", "p50", "ms", 10.0, None),
            Figure::new("a", "gone", "ms", 10.0, None),
            Figure::new("b", "not run now", "ms", 10.0, None),
            Figure::new("a", "other unit", "ms", 10.0, None),
        ]);
        earlier.environment.settings = vec!["fsync = off".into()];
        earlier.environment.client_cpus = 64;
        let text = serde_json::to_string(&earlier).expect("serializes");
        let baseline = Baseline::parse(&text, "b.json").expect("reads");
        let mut now = run(vec![
            Figure::new("a", "p50", "ms", 20.0, None),
            Figure::new("a", "new", "ms", 1.0, None),
            Figure::new("a", "other unit", "s", 10.0, None),
        ]);
        assert!(!now.has_findings());
        baseline.compare(&mut now, "b.json", 25, &["a"]);
        assert!(now.has_findings());
        let first = now.results[0].baseline.expect("compared");
        assert_eq!(
            (first.value, first.change_percent, first.verdict),
            (10.0, Some(100.0), Verdict::Worse)
        );
        assert_eq!(now.results[1].baseline, None);
        let comparison = now.baseline.expect("there");
        let names = |singles: &[Single]| singles.iter().map(|s| s.metric.clone()).collect::<Vec<_>>();
        assert_eq!(names(&comparison.missing), ["gone", "other unit"]);
        assert_eq!(names(&comparison.new), ["new", "other unit"]);
        assert_eq!((comparison.worse, comparison.better, comparison.same), (1, 0, 0));
        assert_eq!(
            comparison.environment,
            [
                "processors of this machine: 2, then 64",
                "setting fsync = on, then fsync = off"
            ]
        );
    }

    #[test]
    fn what_is_no_run_is_refused_and_an_old_one_is_read() {
        for text in ["", "[]", "{}", "{\"results\":[]}", "{\"results\":[{\"suite\":\"a\"}]}"] {
            let error = Baseline::parse(text, "b.json").expect_err(text);
            assert_eq!(error.kind().exit_code(), 2, "{text}");
            assert!(error.message().contains("b.json"));
        }
        let old = r#"{"environment":{"server_version":"15.1","settings":[],"client_cpus":2},
            "results":[{"suite":"a","metric":"m","unit":"ms","value":1.5,"target":null,"pass":null},
            {"suite":"a","metric":"n","unit":"ms","value":null,"target":null,"pass":null}]}"#;
        let baseline = Baseline::parse(old, "b.json").expect("reads");
        assert!(baseline.require_any_of(&["b", "a"], "b.json").is_ok());
        let error = baseline.require_any_of(&["b"], "b.json").expect_err("another suite");
        assert_eq!(
            (error.kind().exit_code(), error.cause()),
            (2, Some("it has figures of a"))
        );
        let mut now = run(vec![
            Figure::new("a", "m", "ms", 1.5, None),
            Figure::new("a", "n", "ms", 1.5, None),
        ]);
        baseline.compare(&mut now, "b.json", 25, &["a"]);
        let comparison = now.baseline.expect("there");
        assert_eq!((comparison.same, comparison.new.len()), (1, 1));
        assert_eq!(comparison.environment, Vec::<String>::new());
    }
}
