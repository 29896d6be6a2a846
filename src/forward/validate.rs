//! Checks in the background whether the intake accepts a key.

use super::client::Client;
use super::endpoint_queue::EndpointQueue;
use super::key_status::KeyStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Time for all keys of one round together.
const ROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// While a key is refused it is checked at least this often, so that payloads kept for it go out
/// soon after it is accepted again, even if nothing new comes.
const REFUSED_INTERVAL: Duration = Duration::from_secs(60);

/// Checks keys at start, every interval, and when one changed.
pub(super) struct Validator {
    interval: Duration,
    requested: Mutex<bool>,
    wake: Condvar,
    stopped: AtomicBool,
}

impl Validator {
    pub fn new(interval: Duration) -> Self {
        Validator {
            interval,
            requested: Mutex::new(false),
            wake: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Checks all keys soon.
    pub fn check_soon(&self) {
        *self.requested.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Ends the thread after the request in flight.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.check_soon();
    }

    /// The thread: a round, then a pause, until stopped.
    pub fn run(&self, endpoints: &[(Arc<EndpointQueue>, Arc<Client>)]) {
        let timeout = ROUND_TIMEOUT / u32::try_from(endpoints.len().max(1)).unwrap_or(u32::MAX);
        while !self.stopped.load(Ordering::Acquire) {
            for (queue, client) in endpoints {
                if self.stopped.load(Ordering::Acquire) {
                    return;
                }
                check(queue, client, timeout);
            }
            self.pause(endpoints);
        }
    }

    /// Waits for the interval to end, for a request to check, or for a minute while a key is refused.
    fn pause(&self, endpoints: &[(Arc<EndpointQueue>, Arc<Client>)]) {
        let started = Instant::now();
        let mut requested = self.requested.lock().unwrap_or_else(PoisonError::into_inner);
        while !*requested {
            let left = self.interval.saturating_sub(started.elapsed());
            let refused =
                |(queue, _): &(Arc<EndpointQueue>, _)| queue.key().2 == KeyStatus::Invalid;
            let is_due = started.elapsed() >= REFUSED_INTERVAL && endpoints.iter().any(refused);
            if left.is_zero() || is_due {
                break;
            }
            let waited = self.wake.wait_timeout(requested, left.min(REFUSED_INTERVAL));
            requested = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *requested = false;
    }
}

fn check(queue: &EndpointQueue, client: &Client, timeout: Duration) {
    let (key, generation, before) = queue.key();
    let status = if key.is_fake() { KeyStatus::Valid } else { client.validate(&key, timeout) };
    queue.key_checked(generation, status.clone());
    let endpoint = &client.endpoint().name;
    if before == status {
        return;
    }
    match &status {
        KeyStatus::Valid => info!(target: "forward", %endpoint, "API key ending in {key} is valid"),
        KeyStatus::Invalid => error!(
            target: "forward", %endpoint,
            "API key ending in {key} is refused (403): payloads are kept until it is accepted \
             or changed; check api_key and site"
        ),
        KeyStatus::Unknown(reason) => warn!(
            target: "forward", %endpoint,
            "API key ending in {key} could not be checked ({reason}): sending continues"
        ),
    }
}
