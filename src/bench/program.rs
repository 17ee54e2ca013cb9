//! Programs measured from outside: how long they take, and how much memory they hold at most.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::error::{Error, ErrorKind, Result};

/// How often a program's memory is looked at; the kernel keeps the peak, so only the last moments can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What is repeated of a program's complaints.
const COMPLAINT_MAX_CHARS: usize = 2000;

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From start to exit.
    pub seconds: f64,
    /// The largest resident size in bytes, all processes together; none where the system has no `/proc`.
    pub peak_memory: Option<u64>,
}

/// Runs programs whose output each is the next one's input, and waits for all of them. They inherit nothing of `PG*`. What
/// they complain of goes to the file `log`. Dropping the future kills them.
///
/// # Errors
/// When one cannot be started or fails; the end of the log is the cause.
pub async fn run(what: &str, commands: Vec<Command>, log: &Path) -> Result<Cost> {
    run_accepting(what, commands, log, &[0]).await
}

/// The same for programs that may end with any of these codes.
///
/// # Errors
/// When one cannot be started or ends with another code; the end of the log is the cause.
pub async fn run_accepting(what: &str, commands: Vec<Command>, log: &Path, accepted: &[i32]) -> Result<Cost> {
    let failed = |cause: String| Error::new(ErrorKind::Unknown, format!("{what} failed")).with_cause(cause);
    let file = fs::File::create(log).map_err(|e| failed(format!("{}: {e}", log.display())))?;
    let last = commands.len().saturating_sub(1);
    let mut children: Vec<Child> = Vec::new();
    let started = Instant::now();
    let mut input = Stdio::null();
    for (i, mut command) in commands.into_iter().enumerate() {
        let complaints = file.try_clone().map_err(|e| failed(e.to_string()))?;
        command.stdin(input).stderr(complaints).kill_on_drop(true);
        if i < last {
            command.stdout(Stdio::piped());
        }
        let mut child = command
            .spawn()
            .map_err(|e| failed(format!("{}: {e}", command.as_std().get_program().to_string_lossy())))?;
        input = match child.stdout.take() {
            Some(out) if i < last => out.try_into().map_err(|e: std::io::Error| failed(e.to_string()))?,
            _ => Stdio::null(),
        };
        children.push(child);
    }
    let mut peaks: Vec<Option<u64>> = vec![None; children.len()];
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut ended = Ok(());
    for i in 0..children.len() {
        let status = loop {
            tokio::select! {
                status = children[i].wait() => break status,
                _ = ticks.tick() => for (child, peak) in children.iter().zip(&mut peaks) {
                    *peak = (*peak).max(child.id().and_then(peak_memory));
                },
            }
        };
        match status {
            Ok(status) if status.code().is_some_and(|code| accepted.contains(&code)) => {}
            Ok(status) if ended.is_ok() => ended = Err(failed(format!("{status}: {}", end_of(log)))),
            Ok(_) => {}
            Err(error) => ended = Err(failed(error.to_string())),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    ended.map(|()| Cost {
        seconds,
        peak_memory: peaks.into_iter().sum(),
    })
}

/// The peak of a process and of those that it has forked, in bytes.
fn peak_memory(pid: u32) -> Option<u64> {
    let forked = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let forked = forked.split_whitespace().filter_map(|pid| own_peak(pid.parse().ok()?));
    Some(own_peak(pid)? + forked.sum::<u64>())
}

/// The largest resident size that a process has had, in bytes; none where the system has no `/proc`.
pub(super) fn own_peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The end of what a program has complained of.
pub(super) fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let skip = text.chars().count().saturating_sub(COMPLAINT_MAX_CHARS);
    let end: String = text.chars().skip(skip).collect();
    end.trim().replace('\n', " / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_pipeline_is_measured_and_its_failures_are_told() {
        let log = std::env::temp_dir().join(format!("tenantctl_program_{}", crate::pg::password::random_hex(8)));
        let run_it = async |commands| run("the pipeline", commands, &log).await;
        let cost = run_it(vec![
            shell("printf abc; sleep 0.1"),
            shell("test \"$(cat)\" = abc; sleep 0.1"),
        ])
        .await;
        let cost = cost.expect("both succeed");
        assert!(cost.seconds >= 0.1, "{cost:?}");
        if Path::new("/proc/self/status").exists() {
            assert!(cost.peak_memory.is_some_and(|bytes| bytes > 100_000), "{cost:?}");
        }
        let error = run_it(vec![shell("echo no >&2; exit 3"), shell("cat >/dev/null")]).await;
        let error = error.expect_err("the first fails");
        assert_eq!(error.to_string(), "the pipeline failed");
        assert!(
            error.cause().is_some_and(|c| c.contains("3") && c.contains("no")),
            "{error:?}"
        );
        run_it(vec![Command::new("/nowhere/at/all")])
            .await
            .expect_err("there is no such program");
        fs::remove_file(&log).expect("the log is there");
    }
}
