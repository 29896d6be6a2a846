//! Is anything lost? What, where, and what helps.

use serde::Serialize;

use super::observed::lock;
use super::remedies;
use crate::admin::senders::{ClientStatus, SenderStatus};
use crate::admin::state::AdminState;
use crate::admin::status::{EndpointStatus, Status};
use crate::text::{bytes, grouped};
use crate::watch::{HISTORY_AGE, Losses};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Data is gone.
    Lost,
    /// A client sent what no server could take, or data is in danger.
    Warning,
    /// Neither.
    Good,
}

/// One kind of loss at one place, since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Loss {
    #[serde(skip)]
    kind: &'static str,
    level: Level,
    count: u64,
    /// What was lost, after the number.
    what: String,
    place: String,
    /// Unix seconds of when the count last grew.
    last: u64,
    remedy: String,
}

/// What may be lost soon, or is wrong without a loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Risk {
    what: String,
    remedy: String,
}

/// The first line of the page.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    level: Level,
    /// Unix seconds since when no data was lost.
    since: u64,
    /// The latest first, lost data before refused lines.
    losses: Vec<Loss>,
    risks: Vec<Risk>,
}

impl Verdict {
    /// As of now. It notes which counts have grown since the last call.
    pub fn of(state: &AdminState, status: &Status, senders: &[SenderStatus]) -> Self {
        let now = state.clock.unix().as_secs();
        let losses = dated(losses(status, senders), &mut lock(&state.observed.losses), now);
        judge(losses, risks(status), state.started_at.as_secs(), now)
    }
}

fn dated(losses: Vec<Loss>, seen: &mut Losses, now: u64) -> Vec<Loss> {
    let dated = losses.into_iter().filter_map(|loss| {
        let last = seen.note(loss.kind, &loss.place, loss.count, now)?;
        Some(Loss { last, ..loss })
    });
    let mut dated: Vec<Loss> = dated.collect();
    dated.sort_by(|a, b| a.level.cmp(&b.level).then_with(|| b.last.cmp(&a.last)));
    dated
}

/// What happened in the time that the page shows decides; what is older is listed.
fn judge(losses: Vec<Loss>, risks: Vec<Risk>, started: u64, now: u64) -> Verdict {
    let recent = |loss: &&Loss| loss.last + HISTORY_AGE.as_secs() > now;
    let worst = losses.iter().filter(recent).map(|loss| loss.level).min();
    let at_risk = (!risks.is_empty()).then_some(Level::Warning);
    let level = worst.into_iter().chain(at_risk).min().unwrap_or(Level::Good);
    let lost = losses.iter().filter(|loss| loss.level == Level::Lost);
    let since = lost.map(|loss| loss.last).max().unwrap_or(started);
    Verdict { level, since, losses, risks }
}

/// Everything that was ever lost or refused, with a remedy.
fn losses(status: &Status, senders: &[SenderStatus]) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut add = |kind, level, count, what: &str, place: &str, remedy: String| {
        let (what, place) = (what.to_owned(), place.to_owned());
        losses.push(Loss { kind, level, count, what, place, last: 0, remedy });
    };
    for row in &status.kernel.listeners {
        let remedy = row.remedy.clone();
        let what = "datagrams were dropped by the kernel, whose receive buffer was full";
        add("kernel", Level::Lost, row.dropped, what, &row.listener, remedy);
    }
    let overflow = status.contexts.overflow.as_ref();
    for (reason, count) in &status.lines.dropped.reasons {
        // Somebody asked for it.
        if reason == "filtered" {
            continue;
        }
        let what = format!("lines were dropped: {}", reason.replace('_', " "));
        let remedy = remedies::line(reason, overflow);
        add("line", Level::Lost, *count, &what, reason, remedy);
    }
    for endpoint in &status.payloads.endpoints {
        for (reason, tally) in &endpoint.dropped.reasons {
            let points = grouped(tally.points);
            let what =
                format!("payloads ({points} points) were given up: {}", reason.replace('_', " "));
            let place = format!("{} {reason}", endpoint.name);
            let remedy = remedies::payload(reason).to_owned();
            add("payload", Level::Lost, tally.payloads, &what, &place, remedy);
        }
    }
    let conflicts = "values were not posted: another kind of the same series came later";
    let remedy = remedies::TYPE_CONFLICT.to_owned();
    add("conflict", Level::Lost, status.type_conflicts, conflicts, "flush", remedy);
    for listener in &status.listeners {
        let place = format!("{} {}", listener.transport, listener.address);
        for (kind, count, what, remedy) in [
            (
                "oversize",
                listener.frames_oversize,
                "frames were longer than dogstatsd_buffer_size",
                remedies::OVERSIZE,
            ),
            ("cut", listener.frames_cut, "frames ended early", remedies::CUT),
            (
                "connections",
                listener.connections_refused,
                "connections were refused",
                remedies::CONNECTIONS,
            ),
        ] {
            add(kind, Level::Lost, count, what, &place, remedy.to_owned());
        }
    }
    let dropped = reported(senders, |client| Some(client.packets_dropped));
    let what = "packets were dropped by client libraries, as they report";
    add("client_dropped", Level::Lost, dropped, what, "clients", remedies::CLIENT.to_owned());
    let missing = reported(senders, |client| client.packets_missing);
    let what = "packets that client libraries report as sent did not arrive";
    add("client_missing", Level::Lost, missing, what, "clients", remedies::CLIENT.to_owned());
    for (route, door) in &status.doors.routes {
        for (kind, what, refused) in [
            ("door_requests", "requests", &door.refused),
            ("door_parts", "values, events or checks", &door.parts.refused),
        ] {
            // Somebody asked for it, or the client sent it twice and once was enough.
            let meant = |reason: &str| ["filtered", "duplicate"].contains(&reason);
            for (reason, count) in refused.reasons.iter().filter(|(reason, _)| !meant(reason)) {
                let what = format!("{what} of a door were refused: {}", reason.replace('_', " "));
                let place = format!("{route} {reason}");
                add(kind, Level::Warning, *count, &what, &place, remedies::DOOR.to_owned());
            }
        }
    }
    for forward in &status.doors.forwards {
        for (reason, count) in &forward.dropped.reasons {
            let what = format!("requests were not sent on: {}", reason.replace('_', " "));
            let place = format!("{} to {} {reason}", forward.route, forward.endpoint);
            add("door_forward", Level::Lost, *count, &what, &place, remedies::FORWARD.to_owned());
        }
    }
    if let Some(sender) = &status.global.sender {
        for (reason, count) in &sender.dropped.reasons {
            let what =
                format!("values of global series were dropped: {}", reason.replace('_', " "));
            let remedy = remedies::GLOBAL_SENDER.to_owned();
            add("global_cells", Level::Lost, *count, &what, reason, remedy);
        }
    }
    if let Some(owner) = &status.global.owner {
        for (reason, count) in &owner.refused.reasons {
            let what = format!("parts of global series were refused: {}", reason.replace('_', " "));
            let remedy = remedies::GLOBAL_PART.to_owned();
            add("global_parts", Level::Lost, count.parts, &what, reason, remedy);
        }
        for endpoint in &owner.payloads.endpoints {
            // What is withdrawn is posted by another owner.
            let lost = endpoint.dropped.reasons.iter().filter(|(reason, _)| *reason != "withdrawn");
            for (reason, tally) in lost {
                let why = reason.replace('_', " ");
                let what = format!("payloads of global series were given up: {why}");
                let place = format!("{} {reason}", endpoint.name);
                let remedy = remedies::payload(reason).to_owned();
                add("global_payload", Level::Lost, tally.payloads, &what, &place, remedy);
            }
        }
    }
    for (reason, count) in &status.lines.refused.reasons {
        let what = format!("lines were refused: {}", reason.replace('_', " "));
        add("refused", Level::Warning, *count, &what, reason, remedies::REFUSED.to_owned());
    }
    let folded = "lines of new contexts were folded into overflow contexts: their tags are lost";
    let remedy = remedies::line("context_limit", overflow);
    add("folded", Level::Warning, status.lines.folded, folded, "contexts_max", remedy);
    losses
}

/// A figure that client libraries report, over all senders.
fn reported(senders: &[SenderStatus], figure: impl Fn(&ClientStatus) -> Option<u64>) -> u64 {
    senders.iter().filter_map(|sender| figure(sender.client.as_ref()?)).sum()
}

fn risks(status: &Status) -> Vec<Risk> {
    let mut risks: Vec<Risk> = status.payloads.endpoints.iter().flat_map(endpoint_risks).collect();
    let mut add = |what: String, remedy: &str| risks.push(Risk { what, remedy: remedy.to_owned() });
    let contexts = &status.contexts;
    if contexts.max > 0 && contexts.live * 10 >= contexts.max * 9 {
        let (live, max) = (grouped(contexts.live as u64), grouped(contexts.max as u64));
        let what = format!("{live} of {max} contexts are in use");
        add(what, "find the tag to blame below and take it off, or raise contexts_max");
    }
    for listener in status.listeners.iter().filter(|listener| listener.socket_lost > 0) {
        add(format!("clients do not find {}", listener.address), remedies::SOCKET_LOST);
    }
    if status.payloads.balances == Some(false) || !status.lines.balances {
        add("the balance does not add up".to_owned(), "this is a bug of whippet: please report it");
    }
    for part in &status.health.unhealthy {
        match part.strip_prefix("global: ") {
            Some(problem) => {
                add(format!("global tier: {problem}"), "docs/global.md has the remedies")
            }
            None => add(format!("{part} is not healthy"), "the log below says why"),
        }
    }
    if status.config.degraded {
        let what = "the configuration has entries that were skipped".to_owned();
        add(what, "see the warnings beside the configuration");
    }
    risks
}

fn endpoint_risks(endpoint: &EndpointStatus) -> Vec<Risk> {
    let mut risks = Vec::new();
    if endpoint.key_status == "invalid" {
        let what = format!("{} refuses the API key", endpoint.name);
        let remedy = "set a valid api_key and reload (SIGHUP); payloads wait until then".to_owned();
        risks.push(Risk { what, remedy });
    }
    let failing: Vec<&str> = endpoint
        .routes
        .iter()
        .filter(|(_, route)| route.breaker_errors > 0)
        .map(|(name, _)| name.as_str())
        .collect();
    if endpoint.waiting.payloads > 0 && !failing.is_empty() {
        let (used, max) = (bytes(endpoint.queue_bytes), bytes(endpoint.queue_bytes_max));
        let mut what = format!(
            "{} does not take {}: {} payloads wait, {used} of {max}",
            endpoint.name,
            failing.join(", "),
            grouped(endpoint.waiting.payloads)
        );
        if let Some(seconds) = endpoint.queue_full_in_seconds {
            what.push_str(&format!("; the queue is full in about {}", remedies::time(seconds)));
        }
        risks.push(Risk { what, remedy: remedies::QUEUE.to_owned() });
    }
    risks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::admin::status::{KernelListenerStatus, RouteStatus, TallyStatus};

    fn status() -> Status {
        let mut status = Status::default();
        status.lines.balances = true;
        status
    }

    fn verdict(status: &Status, seen: &mut Losses, now: u64) -> Verdict {
        judge(dated(losses(status, &[]), seen, now), risks(status), 1_000, now)
    }

    #[test]
    fn without_a_loss_the_start_counts() {
        let verdict = verdict(&status(), &mut Losses::default(), 5_000);
        assert_eq!((verdict.level, verdict.since), (Level::Good, 1_000));
        assert!(verdict.losses.is_empty() && verdict.risks.is_empty());
    }

    #[test]
    fn a_loss_is_bad_for_ten_minutes_and_listed_for_ever() {
        let mut status = status();
        status.kernel.listeners = vec![KernelListenerStatus {
            listener: "udp 127.0.0.1:8125".to_owned(),
            dropped: 7,
            remedy: "sysctl -w net.core.rmem_max=1".to_owned(),
        }];
        let mut seen = Losses::default();
        let at_once = verdict(&status, &mut seen, 2_000);
        assert_eq!((at_once.level, at_once.since), (Level::Lost, 2_000));
        assert_eq!((at_once.losses[0].count, at_once.losses[0].last), (7, 2_000));
        assert!(at_once.losses[0].remedy.contains("sysctl"));
        let later = verdict(&status, &mut seen, 2_600);
        assert_eq!((later.level, later.since, later.losses.len()), (Level::Good, 2_000, 1));
    }

    #[test]
    fn refused_lines_and_a_full_table_warn_and_filters_do_not() {
        let mut status = status();
        let reasons = |reason: &str| BTreeMap::from([(reason.to_owned(), 3)]);
        status.lines.dropped.reasons = reasons("filtered");
        assert_eq!(verdict(&status, &mut Losses::default(), 9).level, Level::Good);
        status.lines.refused.reasons = reasons("bad_value");
        let refused = verdict(&status, &mut Losses::default(), 9);
        assert_eq!((refused.level, refused.since), (Level::Warning, 1_000));
        status.lines.refused.reasons.clear();
        (status.contexts.live, status.contexts.max) = (90, 100);
        assert_eq!(verdict(&status, &mut Losses::default(), 9).level, Level::Warning);
        status.lines.dropped.reasons = reasons("context_limit");
        assert_eq!(verdict(&status, &mut Losses::default(), 9).level, Level::Lost);
    }

    #[test]
    fn an_intake_that_does_not_answer_says_how_long_until_data_is_lost() {
        let route = RouteStatus { breaker_errors: 2, ..RouteStatus::default() };
        let endpoint = EndpointStatus {
            name: "intake.example".to_owned(),
            waiting: TallyStatus { payloads: 4, points: 9, bytes: 100 },
            routes: BTreeMap::from([("series_v2".to_owned(), route)]),
            queue_bytes: 2_048,
            queue_bytes_max: 1 << 20,
            queue_full_in_seconds: Some(7_260),
            ..EndpointStatus::default()
        };
        let mut status = status();
        status.payloads.endpoints = vec![endpoint];
        let verdict = verdict(&status, &mut Losses::default(), 9);
        assert_eq!(verdict.level, Level::Warning);
        let what = &verdict.risks[0].what;
        assert!(what.contains("4 payloads wait") && what.contains("2h 1min"), "{what}");
    }
}
