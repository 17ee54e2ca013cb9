//! `metrics --watch`: measures again and again until Ctrl-C.

use std::time::Duration;

use super::{Outcome, Scope, round, screen, show, view};
use crate::cli::{MetricsShowArgs, OutputFormat};
use crate::commands::{Context, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::ui::Render;
use crate::ui::screen::Screen;

/// Runs until the user asks to stop.
///
/// # Errors
/// What is wrong in the first round, or will not go away by itself in a later one.
pub async fn run(ctx: &Context<'_>, args: &MetricsShowArgs, scope: &Scope, seconds: u32) -> Result<Status> {
    let mut screen = Screen::new(ctx.ui);
    let mut shown: Option<String> = None;
    loop {
        // A session of its own each time: it finds the server again after a restart, and none grows with its caches.
        let measured = tokio::select! {
            measured = round(ctx, args, scope) => measured,
            () = ctx.interrupt.times(1) => return Ok(Status::Stopped),
        };
        let trouble = match measured {
            // Planned is only what --enforce would do, which is not watched.
            Ok(Outcome::Planned(_)) => return Ok(Status::Done),
            Ok(Outcome::Measured(round)) if ctx.ui.output() == OutputFormat::Json => {
                show(ctx, args, scope, &round)?;
                shown = Some(String::new());
                round.warnings
            }
            Ok(Outcome::Measured(round)) => {
                shown = Some(view(args, scope, &round).text(ctx.ui));
                round.warnings
            }
            Err(error) if shown.is_some() && passes(&error) => vec![error.one_line()],
            Err(error) if ctx.interrupt.requested() => {
                debug_assert_eq!(error.kind(), ErrorKind::Interrupted);
                return Ok(Status::Stopped);
            }
            Err(error) => return Err(error),
        };
        if ctx.ui.output() == OutputFormat::Json {
            trouble.iter().for_each(|text| ctx.ui.warn(text));
        } else {
            screen.draw(&picture(ctx, shown.as_deref().unwrap_or_default(), &trouble, seconds))?;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds.into())) => {}
            () = ctx.interrupt.times(1) => return Ok(Status::Stopped),
        }
    }
}

/// Whether waiting may help: the server restarts, fails over, or is slow.
fn passes(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::ReadOnly | ErrorKind::Unknown
    )
}

/// The last that was measured, and what went wrong since.
fn picture(ctx: &Context<'_>, measured: &str, trouble: &[String], seconds: u32) -> String {
    let mut text = measured.to_owned();
    text.push('\n');
    for line in trouble {
        text.push_str(&format!("\n{}", ctx.ui.bad(&format!("trouble: {line}"))));
    }
    // Whoever reads a file needs no telling how to end it.
    if screen::size().is_some() {
        text.push_str(&format!(
            "\n{}",
            ctx.ui.dim(&format!("every {seconds} s; Ctrl-C ends it"))
        ));
    }
    text.trim_end().to_owned()
}
