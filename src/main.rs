//! The binary: parses, starts the runtime, listens for signals, exits.

use std::process::ExitCode;

use clap::Parser;
use tenantctl::cli::Cli;
use tenantctl::interrupt::Interrupt;

fn main() -> ExitCode {
    // Usage errors exit with 2, help and version with 0, as clap does.
    let cli = Cli::parse();
    // As many threads as processors: a backup compresses on them.
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::from(4);
        }
    };
    let code = runtime.block_on(async {
        let interrupt = Interrupt::listen().unwrap_or_else(|_| Interrupt::never());
        tenantctl::run(cli, interrupt).await
    });
    // Sessions close with the process; waiting for their tasks would only delay the exit.
    runtime.shutdown_background();
    ExitCode::from(code)
}
