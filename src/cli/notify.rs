//! Notifications to a service manager such as systemd (`NOTIFY_SOCKET`); none without one.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};

use sd_notify::NotifyState;

/// Startup or a reload is complete.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The configuration is being reloaded. The time lets the manager tell this reload from an earlier
/// one.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(target: "server", "cannot read the monotonic clock: {error}"),
    }
}

/// Shutdown has begun.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(target: "server", "cannot notify the service manager: {error}; check NOTIFY_SOCKET");
    }
}

/// Notifies the manager twice per `WATCHDOG_USEC`, as long as every thread of the server is alive. Drop
/// the returned sender to stop it.
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
                notify(&[NotifyState::Watchdog]);
            } else {
                tracing::error!(target: "server", "a thread does not answer; the watchdog is not notified");
            }
        }
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
    Ok(Some(alive))
}
