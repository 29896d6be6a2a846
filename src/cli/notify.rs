//! What a service manager such as systemd is told (`NOTIFY_SOCKET`); nothing without one.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};

use sd_notify::NotifyState;

/// Started, or done with reloading.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again. The manager takes the time for a proof that this is no
/// message of an earlier reload.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(target: "server", "cannot read the monotonic clock: {error}"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(target: "server", "cannot notify the service manager: {error}; check NOTIFY_SOCKET");
    }
}

/// Tells the manager twice per `WATCHDOG_USEC` that all is well, as long as every thread of the
/// server is alive. Drop what is returned to end it.
pub(super) fn watchdog(
    is_alive: impl Fn() -> bool + Send + 'static,
) -> io::Result<Option<Sender<()>>> {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
        return Ok(None);
    };
    let (alive, end) = mpsc::channel();
    let watch = move || {
        while end.recv_timeout(period / 2) == Err(RecvTimeoutError::Timeout) {
            if is_alive() {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::error!(target: "server", "a thread does not answer; the watchdog is not notified");
            }
        }
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
    Ok(Some(alive))
}
