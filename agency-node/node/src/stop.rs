//! Being asked to stop: first a running attempt may come to its end, then the session ends, and if
//! even that takes too long the process does.
//!
//! Nothing is lost either way: what must survive is durable before anything that depends on it is
//! sent, so an end in the middle of training is no worse than a power cut. It knows signals and time,
//! no session and no engine.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

/// After this long a computation that does not come to its end is cut off.
const CUT: Duration = Duration::from_secs(5);

/// How urgently this node is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    No,
    /// As soon as the running attempt is over.
    Drain,
    /// At once.
    Now,
}

/// Tells the daemon how urgently it is to stop.
pub type Stopping = watch::Receiver<Stop>;

/// Turns SIGTERM and Ctrl-C into [`Stop`]: the first means [`Stop::Drain`], the second, or the time
/// `drain`, [`Stop::Now`].
///
/// # Errors
/// If the operating system lets nobody listen to signals.
pub fn on_signals(drain: Duration) -> anyhow::Result<Stopping> {
    let (tell, stopping) = watch::channel(Stop::No);
    #[cfg(unix)]
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    let mut signalled = async move || {
        #[cfg(unix)]
        tokio::select! {
            _ = term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::spawn(async move {
        signalled().await;
        tell.send_replace(Stop::Drain);
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            () = signalled() => {}
        }
        tell.send_replace(Stop::Now);
        tokio::time::sleep(CUT).await;
        tracing::warn!(
            "a computation was cut off; the node's state is durable, the attempt is lost"
        );
        std::process::exit(0);
    });
    Ok(stopping)
}

/// Returns once this node was asked to stop, however urgently.
pub async fn asked(stopping: &mut Stopping) {
    // A sender that is gone means that the process ends, too.
    let _ = stopping.wait_for(|stop| *stop >= Stop::Drain).await;
}

/// Returns once this node is to stop at once.
pub async fn at_once(stopping: &mut Stopping) {
    let _ = stopping.wait_for(|stop| *stop == Stop::Now).await;
}
