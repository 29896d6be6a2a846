//! The delivery thread of one endpoint: take a job, post it, settle it, log the result.

use super::ForwarderConfig;
use super::client::Client;
use super::endpoint_queue::{EndpointQueue, Step};
use super::log_limiter::LogLimiter;
use super::outage::Recovery;
use super::outcome::{Attempt, DropReason, Outcome};
use super::queue_state::{Job, QueueNews, Settled};
use crate::clock::Clock;
use crate::encode::Payload;
use crate::telemetry::{Event, EventKind, RetryCause};
use crate::text::grouped;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

/// What one delivery thread owns.
pub(super) struct DeliveryWorker {
    pub queue: Arc<EndpointQueue>,
    pub client: Arc<Client>,
    pub config: Arc<ForwarderConfig>,
    pub clock: Clock,
    pub limiter: LogLimiter,
}

impl DeliveryWorker {
    /// Works until the queue is stopped and empty.
    pub fn run(mut self) {
        loop {
            match self.queue.next() {
                Step::Send(job) => self.deliver(*job),
                Step::Report(news) => self.log_news(news),
                Step::Stop => return,
            }
        }
    }

    fn deliver(&mut self, job: Job) {
        let payload = job.item.payload.clone();
        let (number, began) = (job.item.attempts + 1, self.clock.monotonic());
        // The queue has looked at the lease, but this thread may have slept since.
        if !job.item.may_leave(began) {
            return self.queue.fence(job);
        }
        // The lease may also end while a connection is made, or before the body has left.
        let may_leave = || job.item.may_leave(self.clock.monotonic());
        let may_leave: Option<&dyn Fn() -> bool> = job.item.ticket.is_some().then_some(&may_leave);
        let unix = self.clock.unix();
        let posted = self.client.post(&payload, &job.key, job.timeout, unix, may_leave);
        if posted.was_held_back && !matches!(posted.attempt, Attempt::Answered { .. }) {
            return self.queue.fence(job);
        }
        if let Attempt::Answered { .. } = posted.attempt {
            self.queue.answered(self.clock.monotonic().saturating_sub(began));
        }
        let parts = match posted.attempt.outcome() {
            Outcome::Split => self.halve(&payload),
            _ => Ok(None),
        };
        let took = self.clock.monotonic().saturating_sub(began);
        let settled = self.queue.settle(job, &posted.attempt, posted.was_stale, parts);
        self.emit(&payload, &posted.attempt, settled, number, took);
        self.log(&payload, &posted.attempt, settled);
    }

    /// Drops are reported by the queue, which counts all of them.
    fn emit(
        &self,
        payload: &Payload,
        attempt: &Attempt,
        settled: Settled,
        number: u32,
        took: Duration,
    ) {
        let (hub, destination) = (&self.config.hub, self.client.endpoint().name.as_str());
        let delay = match (settled, attempt) {
            (Settled::Delivered, Attempt::Answered { status, .. }) => {
                return hub.emit(EventKind::PayloadSent, || Event::PayloadSent {
                    destination,
                    bytes: payload.body.len(),
                    status: *status,
                    duration: took,
                    attempt: number,
                });
            }
            (Settled::Waits { delay, .. }, _) => Some(delay),
            (Settled::Split, _) => Some(Duration::ZERO),
            (Settled::HeldForKey | Settled::Spooled, _) => None,
            _ => return,
        };
        let cause = cause(attempt);
        hub.emit(EventKind::PayloadRetried, || Event::PayloadRetried { destination, cause, delay });
    }

    fn halve(&mut self, payload: &Payload) -> Result<Option<(Payload, Payload)>, ()> {
        (self.config.halve)(payload).map_err(|problem| {
            let route = payload.route.label();
            if let Some(suppressed) = self.permit("split_failed", 0) {
                error!(target: "forward", route, suppressed, "cannot split the payload: {problem}");
            }
        })
    }

    /// Whether to log it, and how many like it were suppressed, if any were.
    fn permit(&mut self, reason: &'static str, detail: u16) -> Option<Option<u64>> {
        let suppressed = self.limiter.permit(reason, detail, self.clock.monotonic())?;
        Some((suppressed > 0).then_some(suppressed))
    }

    /// One line per kind of failure and minute: endpoint, answer, what happens next, remedy.
    fn log(&mut self, payload: &Payload, attempt: &Attempt, settled: Settled) {
        let client = Arc::clone(&self.client);
        let (endpoint, route) = (&client.endpoint().name, payload.route.label());
        if settled == Settled::Delivered {
            return;
        }
        let (reason, detail, answer) = describe(attempt);
        let Some(suppressed) = self.permit(reason, detail) else { return };
        let next = next_step(settled, payload, self.config.age_max);
        let remedy = remedy(attempt, settled);
        match settled {
            Settled::Dropped(_) | Settled::HeldForKey => {
                error!(target: "forward", %endpoint, route, suppressed, "{answer}: {next}; {remedy}");
            }
            _ => {
                warn!(target: "forward", %endpoint, route, suppressed, "{answer}: {next}; {remedy}")
            }
        }
    }

    fn log_news(&mut self, news: QueueNews) {
        let client = Arc::clone(&self.client);
        let endpoint = &client.endpoint().name;
        if news.key_accepted {
            info!(target: "forward", %endpoint, "key accepted again");
        }
        if let Some(recovery) = news.recovery
            && let Some(suppressed) = self.permit("recovered", 0)
        {
            let Recovery { lasted, delivered, lost } = recovery;
            info!(
                target: "forward", %endpoint, suppressed,
                "intake back after {}: {} payloads ({} points) delivered, {} lost",
                human(lasted), grouped(delivered.payloads), grouped(delivered.points),
                grouped(lost.payloads),
            );
        }
        let full = news.queue_full;
        if full.payloads > 0
            && let Some(suppressed) = self.permit("queue_full", 0)
        {
            warn!(
                target: "forward", %endpoint, suppressed,
                "dropped the {} oldest payloads ({} points): the retry queue holds at most {} \
                 bytes; raise forwarder_retry_queue_payloads_max_size",
                full.payloads, full.points, self.config.queue_bytes_max,
            );
        }
        let spool_full = news.spool_full;
        if spool_full.payloads > 0
            && let Some(suppressed) = self.permit("spool_full", 0)
        {
            warn!(
                target: "forward", %endpoint, suppressed,
                "dropped the {} oldest payloads ({} points) from disk; raise \
                 forwarder_storage_max_size_in_bytes or free disk space",
                spool_full.payloads, spool_full.points,
            );
        }
        if let Some(problem) = &news.spool_error
            && let Some(suppressed) = self.permit("spool_error", 0)
        {
            error!(
                target: "forward", %endpoint, suppressed,
                "cannot write to the disk spool: {problem}; check forwarder_storage_path and the \
                 space there",
            );
        }
        let old = news.too_old;
        if old.payloads > 0
            && let Some(suppressed) = self.permit("too_old", 0)
        {
            warn!(
                target: "forward", %endpoint, suppressed,
                "dropped {} payloads ({} points) built more than {} min ago: the intake no \
                 longer accepts them",
                old.payloads, old.points, self.config.age_max.as_secs() / 60,
            );
        }
    }
}

fn cause(attempt: &Attempt) -> RetryCause<'_> {
    match attempt {
        Attempt::Answered { status, .. } => RetryCause::Status(*status),
        Attempt::Failed { kind, .. } => RetryCause::Error(kind.label()),
    }
}

/// The reason and its number, for the limiter, and the sentence's first part.
pub(crate) fn describe(attempt: &Attempt) -> (&'static str, u16, String) {
    match attempt {
        Attempt::Answered { status, message, .. } if message.is_empty() => {
            ("status", *status, format!("status {status}"))
        }
        Attempt::Answered { status, message, .. } => {
            ("status", *status, format!("status {status} ({message})"))
        }
        Attempt::Failed { kind, detail } => {
            ("error", *kind as u16, format!("{} error: {detail}", kind.label()))
        }
    }
}

fn next_step(settled: Settled, payload: &Payload, age_max: Duration) -> String {
    let (items, points) = (payload.items, payload.points);
    match settled {
        Settled::Delivered => "delivered".to_owned(),
        Settled::Spooled => "kept on disk for the next run".to_owned(),
        Settled::Split => format!("sending its {items} items in two parts"),
        Settled::HeldForKey => {
            "kept until the key is changed or accepted; new payloads are still sent".to_owned()
        }
        Settled::Waits { delay, full_in: None } => format!("next try in {}", human(delay)),
        // Then it is their age that ends the wait.
        Settled::Waits { delay, full_in: Some(full_in) } if full_in > age_max => {
            format!("next try in {}, kept for at most {}", human(delay), human(age_max))
        }
        Settled::Waits { delay, full_in: Some(full_in) } => {
            format!("next try in {}, retry queue full in {}", human(delay), human(full_in))
        }
        Settled::Dropped(reason) => {
            format!("dropped {items} items, {points} points ({})", reason.label())
        }
    }
}

fn remedy(attempt: &Attempt, settled: Settled) -> &'static str {
    match attempt {
        Attempt::Failed { kind, .. } => kind.remedy(),
        Attempt::Answered { status, .. } => match (status, settled) {
            (403, _) => "check api_key, and that it belongs to the site",
            (413, Settled::Dropped(DropReason::TooLarge)) => {
                "a single item exceeds the limit of the intake"
            }
            (413, _) => "lower serializer_max_payload_size or serializer_max_series_payload_size",
            (400, _) => "please report this with the log line",
            (300..=399, _) => "set dd_url to where it redirects",
            (404, _) => "check dd_url and any proxy in front of the intake",
            (429, _) => "the intake is rate limiting",
            _ => "the intake is failing",
        },
    }
}

/// `0.4 s`, `17 s`, `14 min`, `3 h`.
pub(crate) fn human(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_unit_that_fits() {
        for (millis, text) in [
            (0, "0.0 s"),
            (440, "0.4 s"),
            (17_900, "17 s"),
            (119_000, "119 s"),
            (840_000, "14 min"),
            (3 * 3_600_000, "3 h"),
        ] {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn the_wait_names_what_ends_first_the_room_or_the_age() {
        let payload = Payload {
            route: crate::encode::Route::Events,
            body: bytes::Bytes::new(),
            encoding: crate::encode::ContentEncoding::Identity,
            items: 1,
            points: 1,
            uncompressed_bytes: 0,
            built_at: 0,
        };
        let (delay, hour) = (Duration::from_secs(3), Duration::from_secs(3600));
        for (full_in, text) in [
            (None, "next try in 3 s"),
            (Some(840), "next try in 3 s, retry queue full in 14 min"),
            (Some(3600), "next try in 3 s, retry queue full in 60 min"),
            (Some(150_000), "next try in 3 s, kept for at most 60 min"),
        ] {
            let full_in = full_in.map(Duration::from_secs);
            assert_eq!(next_step(Settled::Waits { delay, full_in }, &payload, hour), text);
        }
    }
}
