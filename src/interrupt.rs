//! Ctrl-C and SIGTERM: the first asks to finish what is under way, the second ends it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the process was asked to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<u8>);

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(0_u8);
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                sender.send_modify(|count| *count = count.saturating_add(1));
            }
        });
        Ok(Self(receiver))
    }

    /// One that never fires.
    pub fn never() -> Self {
        let (sender, receiver) = watch::channel(0);
        drop(sender);
        Self(receiver)
    }

    /// Whether the process was asked to stop.
    pub fn requested(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until the process is asked to stop once more than it was by now.
    pub async fn again(&self) {
        let now = *self.0.borrow();
        self.times(now.saturating_add(1)).await;
    }

    /// Waits until the process was asked to stop this many times.
    pub async fn times(&self, n: u8) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|count| *count >= n).await.is_err() {
            // The sender is gone: nothing will ever interrupt.
            std::future::pending::<()>().await;
        }
    }
}
