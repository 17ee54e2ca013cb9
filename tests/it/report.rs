//! The page of `metrics report`: self-contained, escaped, sortable in a real browser, usable with ten thousand tenants.

use std::path::Path;
use std::process::Command;

use tenantctl::metrics::{AlertSeverity, Fleet, report};

use crate::support::browser::browse;
use crate::support::fleet::{alert, fleet};
use crate::support::{Db, unique, wait_for};

/// Tenants of all kinds.
fn varied(n: u64) -> Fleet {
    use tenantctl::metrics::Usage;
    let mut made = fleet(n);
    for (at, t) in made.tenants.iter_mut().enumerate().skip(2) {
        let x = (at as u64).wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) % 10_000;
        let r = x as f64 / 10_000.0;
        let size = 160_000.0 * (r * 11.0).exp();
        t.database.size_bytes = Some(size as u64);
        let max = [10.0, 100.0, 1000.0][at % 3] * 1_073_741_824.0;
        t.limits
            .insert("schema_size".into(), Usage::of(Some(size.floor()), Some(max)));
        t.limits
            .insert("portfolios".into(), Usage::of(Some((r * 5.9).floor()), Some(5.0)));
        t.limits.insert(
            "trades_per_day".into(),
            Usage::of(Some((r * r * 1000.0).floor()), Some(1000.0)),
        );
        if at % 3 == 2 {
            t.limits
                .insert("portfolios".into(), Usage::of(Some((r * 50.0).floor()), None));
            t.limits
                .insert("trades_per_day".into(), Usage::of(Some((r * 5000.0).floor()), None));
        }
        t.database.total_rows = Some((size / 120.0) as u64);
        t.backup.age_seconds = Some(3600.0 * (r * 30.0 + (x % 7) as f64));
        if x.is_multiple_of(211) {
            t.backup.age_seconds = None;
        }
        if t.limits["portfolios"].ratio == Some(1.0) {
            t.alerts = vec![alert(
                "portfolio_limit",
                AlertSeverity::Critical,
                Some(t),
                "5 portfolios are 100 % of 5",
            )];
            made.alerts.extend(t.alerts.clone());
        }
    }
    made
}

/// The ids of the table's rows, in order.
fn rows(dom: &str) -> Vec<&str> {
    let table = &dom[dom.find("id=\"tenants\"").unwrap()..];
    let ids = table[..table.find("</table>").unwrap()]
        .split("<th scope=\"row\">")
        .skip(1);
    ids.map(|rest| &rest[..rest.find('<').unwrap()]).collect()
}

fn heading<'a>(dom: &'a str, key: &str) -> &'a str {
    let at = dom.find(&format!("data-key=\"{key}\"")).unwrap();
    let from = dom[..at].rfind('<').unwrap();
    &dom[from..at + dom[at..].find('>').unwrap()]
}

#[test]
fn a_browser_sorts_it_as_the_address_says() {
    let page = report::html(&fleet(5));
    let Some((dom, console)) = browse(&page, "") else {
        return;
    };
    assert_eq!(console, "");
    // Largest first, what is unknown last.
    let by_size = [
        "tenant-00000",
        "tenant-00002",
        "tenant-00003",
        "tenant-00004",
        "tenant-00001",
    ];
    assert_eq!(rows(&dom), by_size);
    assert!(heading(&dom, "size").contains("aria-sort=\"descending\""));
    assert!(heading(&dom, "size").contains("scope=\"col\""));
    assert!(dom.contains("1\u{2013}5 of 5"));
    for (hash, key, direction, wanted) in [
        (
            "#sort=size&dir=asc",
            "size",
            "ascending",
            ["00004", "00003", "00002", "00000", "00001"],
        ),
        (
            "#sort=tenant",
            "tenant",
            "ascending",
            ["00000", "00001", "00002", "00003", "00004"],
        ),
        (
            "#sort=tenant&dir=desc",
            "tenant",
            "descending",
            ["00004", "00003", "00002", "00001", "00000"],
        ),
        // A tenant without a backup has waited longest.
        (
            "#sort=backup",
            "backup",
            "descending",
            ["00001", "00004", "00003", "00002", "00000"],
        ),
        (
            "#sort=alerts",
            "alerts",
            "descending",
            ["00000", "00002", "00003", "00004", "00001"],
        ),
        (
            "#sort=nonsense&dir=%22",
            "size",
            "descending",
            ["00000", "00002", "00003", "00004", "00001"],
        ),
    ] {
        let (dom, console) = browse(&page, hash).unwrap();
        assert_eq!(console, "", "{hash}");
        let shown: Vec<&str> = rows(&dom).iter().map(|id| &id[7..]).collect();
        assert_eq!(shown, wanted, "{hash}");
        assert!(heading(&dom, key).contains(direction), "{hash}: {}", heading(&dom, key));
        assert_eq!(
            dom.matches("aria-sort").count() - dom.matches("[aria-sort").count() - dom.matches("\"aria-sort\"").count(),
            1
        );
    }
    let (dom, _) = browse(&page, "#alerts=1").unwrap();
    assert_eq!(rows(&dom), ["tenant-00000"]);
    let (dom, _) = browse(&page, "#q=0003").unwrap();
    assert_eq!(rows(&dom), ["tenant-00003"]);
}

#[test]
fn nothing_on_it_is_markup_or_script_but_its_own() {
    let mut made = fleet(2);
    let evil = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u{202e}\u{1b}[2J'\"&";
    made.cluster.database = evil.to_owned();
    made.cluster.standbys[0].name = evil.to_owned();
    made.cluster.standbys[0].state = Some(evil.to_owned());
    made.unknown.push(evil.to_owned());
    made.timestamp = evil.to_owned();
    for t in &mut made.tenants {
        t.tier = evil.to_owned();
        t.business.insert(evil.to_owned(), Some(1.0));
        t.alerts = vec![alert(evil, AlertSeverity::Critical, Some(t), evil)];
    }
    made.alerts = made.tenants.iter().flat_map(|t| t.alerts.clone()).collect();
    let page = report::html(&made);
    assert_eq!(page.matches("<script>").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert_eq!(page.matches("<img").count(), 0);
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'));
    let Some((dom, console)) = browse(&page, "") else {
        return;
    };
    assert_eq!(console, "");
    assert!(!dom.contains("<img"));
    let title = &dom[dom.find("<title>").unwrap()..dom.find("</title>").unwrap()];
    assert!(title.contains("&lt;/script&gt;"), "{title}");
}

#[test]
fn it_asks_nothing_of_the_network() {
    let page = report::html(&fleet(3));
    for outside in ["http:", "https:", "//", "@import", "url("] {
        // Of comments in its own script there are some.
        let found = page.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found: Vec<&str> = found.filter(|line| line.contains(outside)).collect();
        assert!(found.is_empty(), "{outside} in {found:?}");
    }
    assert!(page.contains("default-src 'none'"));
    // What is not its own is refused, be it a script, a picture or a style from elsewhere.
    for (foreign, said) in [
        ("<script>document.title='owned'</script>", "script"),
        (
            "<img src=\"https://example.invalid/x.png\">",
            "https://example.invalid/x.png",
        ),
        (
            "<link rel=\"stylesheet\" href=\"https://example.invalid/x.css\">",
            "https://example.invalid/x.css",
        ),
        (
            "<p onclick=\"1\">x</p><script src=\"https://example.invalid/x.js\"></script>",
            "https://example.invalid/x.js",
        ),
    ] {
        let Some((dom, console)) = browse(&page.replace("<footer>", &format!("{foreign}<footer>")), "") else {
            return;
        };
        assert!(
            console.contains("Content Security Policy") && console.contains(said),
            "{foreign}: {console}"
        );
        assert!(!dom.contains("<title>owned"));
    }
}

#[test]
fn ten_thousand_tenants() {
    let page = report::html(&varied(10_000));
    assert!(page.len() <= 6_000_000, "{} bytes", page.len());
    // All of them can be read without a script.
    assert_eq!(page.matches("<th scope=row>").count(), 10_000);
    let Some((dom, console)) = browse(&page, "#sort=rows&page=3") else {
        return;
    };
    assert_eq!(console, "");
    assert_eq!(rows(&dom).len(), 100);
    assert!(dom.contains("201\u{2013}300 of 10,000"));
}

#[test]
fn the_command_writes_it_whole_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt;
    let db = Db::initialized();
    db.provision(&["acme", "globex"]);
    let run = db.run(&["metrics", "report", "--html", "page.html"]).success();
    assert!(
        run.stdout().starts_with("wrote page.html: ") && run.stdout().contains("2 tenants"),
        "{}",
        run.stdout()
    );
    let file = db.dir.join("page.html");
    let rights = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    let other = std::env::temp_dir().join(unique(&format!("tenantctl-umask-{}-", std::process::id())));
    std::fs::write(&other, "").unwrap();
    // Those that the umask leaves, as any other new file has them.
    assert_eq!(rights(&file), rights(&other));
    std::fs::remove_file(other).unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    assert_eq!(page.matches("<th scope=row>").count(), 2);
    let json = db
        .run(&["-o", "json", "metrics", "report", "acme", "--html", "page.html"])
        .success()
        .json();
    assert_eq!(
        (json["tenants"].as_u64(), json["file"].as_str()),
        (Some(1), Some("page.html"))
    );
    db.run(&["metrics", "report", "--html", "."])
        .exits(2)
        .says(&[". is a folder", "./tenants.html"]);
    db.run(&["metrics", "report", "--html", "none/page.html"])
        .exits(5)
        .says(&["no folder none"]);
    db.run(&["metrics", "report", "nobody", "--html", "page.html"]).exits(4);
    assert_eq!(
        std::fs::read_to_string(&file)
            .unwrap()
            .matches("<th scope=row>")
            .count(),
        1
    );
    assert_eq!(std::fs::read_dir(&db.dir).unwrap().count(), 1);
    let Some((dom, console)) = browse(&page, "#sort=tenant") else {
        return;
    };
    assert_eq!((rows(&dom), console.as_str()), (vec!["acme", "globex"], ""));
}

#[test]
fn ctrl_c_ends_it_while_nobody_reads_from_the_pipe() {
    let db = Db::initialized();
    let pipe = db.dir.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut cmd = db.command(&["metrics", "report", "--html", "pipe"]);
    let mut child = cmd.command.spawn().unwrap();
    // All is measured: its session has had nothing to do for longer than that takes.
    wait_for("the page", || {
        db.value(
            "SELECT count(*) = 1 AND bool_and(state_change < now() - interval '1 second') FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'",
        ) == "t"
    });
    let asked = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(asked.unwrap().success());
    let mut code = None;
    for _ in 0..100 {
        code = child.try_wait().unwrap();
        if code.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let _ = child.kill();
    assert_eq!(code.and_then(|code| code.code()), Some(130));
}

#[test]
fn an_empty_database_has_a_page_too() {
    let mut made = fleet(0);
    made.alerts.clear();
    let page = report::html(&made);
    assert!(page.contains("There are no tenants."));
    let Some((_, console)) = browse(&page, "") else { return };
    assert_eq!(console, "");
}
