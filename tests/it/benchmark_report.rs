//! The page of `bench --report`: self-contained, escaped, readable in a real browser.

use std::time::Duration;

use tenantctl::bench::baseline::Baseline;
use tenantctl::bench::{Curve, Document, Environment, FailedSuite, Figure, Latencies, Line, Measured, Point, report};
use tenantctl::error::{Error, ErrorKind};

use crate::support::browser::browse;

fn environment() -> Environment {
    Environment {
        server_version: "15.18".into(),
        server_major: 15,
        settings: vec!["fsync = on".into(), "shared_buffers = 128MB".into()],
        extensions: vec!["timescaledb 2.28.3".into()],
        server_is_local: true,
        client_cpus: 2,
        client_memory_bytes: Some(8 << 30),
        tenantctl_version: "0.1.0",
        build: "release",
        started_at: "2026-01-02T03:04:05Z".into(),
        duration_s: 61.0,
        arguments: vec!["provisioning".into(), "--count 50".into()],
    }
}

fn latencies(around: f64, n: u32) -> Latencies {
    let mut latencies = Latencies::new().unwrap();
    for i in 0..n {
        // Skewed to the right, as latencies are.
        let x = f64::from(i) / f64::from(n.max(2) - 1);
        latencies.record(Duration::from_secs_f64(around * (1.0 + x.powi(9) * 6.0) / 1000.0));
    }
    latencies
}

/// A run with everything that a page can show.
fn run() -> Document {
    let point = |x: f64, y: f64| Point::measured(x, y);
    let guess = |x: f64, y: f64| Point {
        extrapolated: true,
        ..Point::measured(x, y)
    };
    let measured = Measured {
        figures: vec![
            Figure::new("provisioning", "p50", "ms", 8.1, None),
            Figure::new("provisioning", "p95", "ms", 12.3, Some(10_000.0)),
            Figure::new("provisioning", "p50 against raw DDL", "ratio", 1.31, Some(1.2)),
            Figure::new("provisioning", "raw DDL p50", "ms", 6.2, None).of_others(),
            Figure::new("scale", "tenants a second", "1/s", 93.0, Some(50.0)),
            Figure::new("scale", "nothing", "s", 0.0, Some(0.0)),
        ],
        histograms: vec![
            latencies(8.0, 500).histogram("provisioning", "one by one: tenantctl"),
            latencies(6.0, 500).histogram("provisioning", "one by one: raw DDL"),
            latencies(3.0, 1).histogram("provisioning", "only one"),
            latencies(3.0, 0).histogram("provisioning", "none at all"),
        ],
        curves: vec![
            Curve {
                suite: "scale",
                name: "validate --all".into(),
                x: "tenants",
                unit: "s",
                lines: vec![
                    Line {
                        name: "tenantctl".into(),
                        points: vec![
                            point(10.0, 0.02),
                            point(100.0, 0.08),
                            point(1000.0, 0.7),
                            point(10_000.0, 7.5),
                            guess(100_000.0, 75.0),
                        ],
                    },
                    Line {
                        name: "another".into(),
                        points: vec![point(10.0, 0.5), point(100.0, f64::NAN), point(1000.0, 41.0)],
                    },
                ],
            },
            Curve {
                suite: "scale",
                name: "backup of one tenant".into(),
                x: "tenants",
                unit: "ms",
                lines: vec![Line {
                    name: "tenantctl".into(),
                    points: vec![point(10.0, 61.0), point(1000.0, 63.0), point(10_000.0, 66.0)],
                }],
            },
        ],
    };
    let error = Error::new(ErrorKind::Store, "too little room").with_cause("the disk is full");
    let mut made = Document::new(environment(), measured, vec![FailedSuite::new("backup", &error)]);
    let earlier = r#"{"environment":{"client_cpus":64,"settings":["fsync = off"],"started_at":"2025-01-01T00:00:00Z"},"results":[
        {"suite":"provisioning","metric":"p50","unit":"ms","value":4.0},
        {"suite":"provisioning","metric":"p95","unit":"ms","value":40.0},
        {"suite":"scale","metric":"gone","unit":"ms","value":40.0}]}"#;
    Baseline::parse(earlier, "earlier.json").unwrap().compare(
        &mut made,
        "earlier.json",
        25,
        &["provisioning", "scale"],
    );
    made
}

#[test]
fn a_browser_shows_all_of_it() {
    let page = report::html(&run());
    if let Some(dir) = std::env::var_os("TENANTCTL_KEEP_PAGES") {
        std::fs::write(std::path::Path::new(&dir).join("bench.html"), &page).unwrap();
    }
    for text in [
        "Benchmark of PostgreSQL 15.18",
        "2026-01-02T03:04:05Z",
        // Of four targets one is missed; the one of nought by nothing is met.
        ">3</span> <small>of 4",
        "too little room",
        "+102 %",
        "worse",
        "better",
        "Missing: 1 figure",
        "processors of this machine: 2, then 64",
        "setting fsync = on, then fsync = off",
        "~75.0",
        "dashed: extrapolated",
        "shared_buffers",
        "timescaledb 2.28.3",
        "--count 50",
    ] {
        assert!(page.contains(text), "{text} is not on the page");
    }
    assert!(page.contains("at least 50.0 1/s") && page.contains("at most 1.20"));
    // The missed target comes first.
    let targets = &page[page.find("<h2>Targets").unwrap()..];
    assert!(targets.find("NO").unwrap() < targets.find(">yes").unwrap());
    // No chart of nothing.
    assert!(!page.contains("none at all"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "a figure is no number");
    let Some((dom, console)) = browse(&page, "") else {
        return;
    };
    assert_eq!(console, "");
    assert_eq!(dom.matches("<figure>").count(), 5);
    // Every figure is in the table of its suite.
    let rows = dom.matches("<th scope=\"row\">").count();
    assert!(rows >= run().results.len() + 5, "{rows} rows");
}

#[test]
fn histograms_of_one_kind_share_an_axis() {
    let page = report::html(&run());
    let ticks = |name: &str| {
        let from = page.find(&format!("aria-label=\"{name}")).unwrap();
        let chart = &page[from..from + page[from..].find("milliseconds").unwrap()];
        chart
            .split("text-anchor=\"middle\">")
            .skip(1)
            // The last one is the name of the axis, of which nothing is left.
            .filter_map(|rest| Some(rest[..rest.find('<')?].to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(ticks("one by one: tenantctl"), ticks("one by one: raw DDL"));
    assert_ne!(ticks("one by one: tenantctl"), ticks("only one"));
    assert!(!ticks("only one").is_empty());
}

#[test]
fn nothing_on_it_is_markup_of_others_or_comes_from_elsewhere() {
    let evil = "</style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u{202e}\u{1b}[2J'\"&";
    let mut made = run();
    made.environment.server_version = evil.into();
    made.environment.started_at = evil.into();
    made.environment.settings = vec![format!("{evil} = {evil}")];
    made.environment.extensions = vec![evil.into()];
    made.environment.arguments = vec![evil.into()];
    made.failed[0].message = evil.into();
    made.results[0].metric = evil.into();
    made.histograms[0].name = evil.into();
    made.curves[0].name = evil.into();
    made.curves[0].lines[0].name = evil.into();
    if let Some(baseline) = &mut made.baseline {
        baseline.file = evil.into();
        baseline.started_at = Some(evil.into());
        baseline.environment = vec![evil.into()];
        baseline.missing[0].metric = evil.into();
    }
    let page = report::html(&made);
    assert_eq!(page.matches("<script").count(), 0);
    assert_eq!(page.matches("<img").count(), 0);
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'));
    for outside in ["http:", "https:", "//", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'") && !page.contains("script-src"));
    let Some((dom, console)) = browse(&page, "") else {
        return;
    };
    assert_eq!(console, "");
    assert!(!dom.contains("<img") && !dom.contains("<title>owned"));
    // What is put into it from elsewhere neither runs nor loads.
    let foreign = page.replace("<footer>", "<script>document.title='owned'</script><footer>");
    let (dom, console) = browse(&foreign, "").unwrap();
    assert!(console.contains("Content Security Policy"), "{console}");
    assert!(!dom.contains("<title>owned"));
}

#[test]
fn a_run_of_little_has_a_page_too() {
    let made = Document::new(
        environment(),
        Measured::from(vec![Figure::new("audit", "p50", "ms", 1.0, None)]),
        Vec::new(),
    );
    let page = report::html(&made);
    assert!(!page.contains("<h2>Targets") && !page.contains("Failed suites") && !page.contains("baseline"));
    let Some((_, console)) = browse(&page, "") else { return };
    assert_eq!(console, "");
}
