//! What an owner of partitions needs of delivery: answers, leases, withdrawal, and no loss for want of
//! room.

use crate::support::decode::MetricPayload;
use crate::support::front::ConnectProxy;
use crate::support::intake::{Answer, Intake};
use crate::support::program::until;
use prost::Message;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use whippet::clock::Clock;
use whippet::forward::{
    DropReason, Forwarder, ForwarderConfig, Lease, PostingFate, RetryPolicy, Ticket,
};

use super::forwarder::{
    counter, counters, delivered, dropped, quick, series_counts, slow_to_forgive, start,
    start_with, unix_now, wait_accounting, waiting,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn owned(config: ForwarderConfig) -> ForwarderConfig {
    ForwarderConfig { waits_for_room: true, ..config }
}

/// A lease that outlasts the test.
fn lease() -> Arc<Lease> {
    Arc::new(Lease::until(Duration::MAX))
}

/// Hands over one posting of these payloads; the channel gets its fate.
fn post(forwarder: &Forwarder, lease: &Arc<Lease>, names: &[&str]) -> Receiver<PostingFate> {
    let (tell, told) = mpsc::channel();
    let ticket = Ticket::new(Arc::clone(lease), move |fate| tell.send(fate).unwrap_or_default());
    for name in names {
        forwarder.submit_ticketed(&counter(name), &ticket, PATIENCE);
    }
    told
}

#[track_caller]
fn fate(told: &Receiver<PostingFate>) -> PostingFate {
    told.recv_timeout(Duration::from_secs(10)).expect("a fate in time")
}

fn fenced(forwarder: &Forwarder) -> u64 {
    let accounting = forwarder.accounting();
    accounting.endpoints.iter().flat_map(|e| &e.routes).map(|route| route.fenced).sum()
}

/// The names of the series in the order the intake saw them, refused ones too.
fn names(intake: &Intake) -> Vec<String> {
    let name = |plain: &[u8]| {
        let payload = MetricPayload::decode(plain).expect("a payload");
        payload.series.into_iter().map(|series| series.metric).collect::<Vec<_>>().join("+")
    };
    intake.read(|state| state.requests.iter().map(|request| name(&request.plain)).collect())
}

#[test]
fn a_posting_is_answered_once_when_every_endpoint_has_all_of_it() {
    let (quick_one, slow_one) = (Intake::start(), Intake::start());
    slow_one.script([Answer::status(503), Answer::status(503)]);
    let forwarder = start(&[quick_one.url(), slow_one.url()], owned(quick()));
    let told = post(&forwarder, &lease(), &["a", "b", "c"]);
    assert_eq!(fate(&told), PostingFate::Delivered);
    assert_eq!(told.recv(), Err(mpsc::RecvError), "told once");
    let accounting = forwarder.accounting();
    assert_eq!((delivered(&accounting), waiting(&accounting)), (6, 0));
    for intake in [quick_one, slow_one] {
        assert_eq!(intake.read(|state| state.sum_of_counter("c", &[])), 10.0);
    }
}

#[test]
fn what_one_endpoint_refuses_is_given_up_and_the_posting_says_so() {
    let (good, bad) = (Intake::start(), Intake::start());
    bad.script([Answer::status(202), Answer::status(400)]);
    let forwarder = start(&[good.url(), bad.url()], owned(quick()));
    let told = post(&forwarder, &lease(), &["a", "b", "c"]);
    assert_eq!(fate(&told), PostingFate::GivenUp);
    let accounting = forwarder.accounting();
    assert_eq!((delivered(&accounting), dropped(&accounting, DropReason::BadRequest)), (5, 1));
    assert!(accounting.balances());
}

#[test]
fn nothing_leaves_after_the_lease_has_run_out_and_all_of_it_once_it_is_renewed() {
    let intake = Intake::start();
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let forwarder = start_with(&[intake.url()], owned(quick()), clock.clone());
    let (short, long) = (Arc::new(Lease::until(clock.monotonic())), lease());
    let late = post(&forwarder, &short, &["late 1", "late 2"]);
    let told = post(&forwarder, &long, &["in time"]);
    assert_eq!(fate(&told), PostingFate::Delivered);
    assert_eq!(names(&intake), ["in time"], "one partition does not hold up another");
    let accounting = wait_accounting(&forwarder, |accounting| waiting(accounting) == 2);
    assert!(accounting.balances());
    assert_eq!(fenced(&forwarder), 2);
    short.renew(clock.monotonic() + Duration::from_secs(5));
    assert_eq!(fate(&late), PostingFate::Delivered);
    assert_eq!(names(&intake), ["in time", "late 1", "late 2"]);
}

/// The lease is looked at before each request, not only before the first.
#[test]
fn a_retry_needs_the_lease_too() {
    let intake = Intake::start();
    intake.script([Answer::status(503)]);
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let mut config = owned(quick());
    config.retry = RetryPolicy::default();
    let forwarder = start_with(&[intake.url()], config, clock.clone());
    let lease = Arc::new(Lease::until(clock.monotonic() + Duration::from_secs(2)));
    let told = post(&forwarder, &lease, &["a"]);
    wait_accounting(&forwarder, |accounting| series_counts(accounting).requests == 1);
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    clock.advance(Duration::from_secs(2));
    forwarder.recheck_clock();
    wait_accounting(&forwarder, |accounting| series_counts(accounting).fenced == 1);
    lease.renew(clock.monotonic() + Duration::from_secs(2));
    assert_eq!(fate(&told), PostingFate::Delivered);
    assert_eq!(series_counts(&forwarder.accounting()).requests, 2);
}

/// A connection that the intake closed while it was idle is found out by a request, which is then
/// repeated: not when the lease is over by then.
#[test]
fn a_repeated_request_needs_the_lease_too() {
    let intake = Intake::start();
    intake.script([Answer::status(202), Answer::cut().after(Duration::from_millis(300))]);
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let forwarder = start_with(&[intake.url()], owned(slow_to_forgive()), clock.clone());
    assert_eq!(fate(&post(&forwarder, &lease(), &["first"])), PostingFate::Delivered);
    let short = Arc::new(Lease::until(clock.monotonic() + Duration::from_secs(1)));
    let told = post(&forwarder, &short, &["second"]);
    intake.wait_until(|state| state.requests.len() == 2);
    clock.advance(Duration::from_secs(1));
    let accounting =
        wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    assert_eq!(series_counts(&accounting).stale_connections, 0);
    assert_eq!(names(&intake), ["first", "second"]);
    assert!(told.try_recv().is_err(), "it waits");
}

/// The lease is looked at before the connection is made, which may take long, and after it: here the proxy on the
/// way lets us wait until the lease is over.
#[test]
fn a_lease_that_ends_while_a_connection_is_made_keeps_the_payload_back() {
    let (intake, proxy) = (Intake::start(), ConnectProxy::start_slow());
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let mut config = owned(slow_to_forgive());
    config.http.proxies.http = format!("http://{}", proxy.address());
    let forwarder = start_with(&[intake.url()], config, clock.clone());
    let lease = Arc::new(Lease::until(clock.monotonic() + Duration::from_secs(1)));
    let told = post(&forwarder, &lease, &["a", "b"]);
    until("a connection", || (proxy.heads().len() == 1).then_some(()));
    clock.advance(Duration::from_secs(1));
    proxy.answer();
    let accounting =
        wait_accounting(&forwarder, |accounting| series_counts(accounting).fenced == 2);
    assert_eq!(names(&intake), [] as [&str; 0]);
    assert_eq!(accounting.endpoints[0].breaker_errors, [0; 5], "nothing failed");
    assert!(accounting.balances() && told.try_recv().is_err(), "both wait");
    lease.renew(clock.monotonic() + Duration::from_secs(1));
    assert_eq!(fate(&told), PostingFate::Delivered);
    assert_eq!(names(&intake), ["a", "b"]);
}

#[test]
fn a_withdrawn_partition_is_neither_sent_nor_lost() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let forwarder = start(&[intake.url()], owned(quick()));
    let (revoked, kept) = (lease(), lease());
    let gone = post(&forwarder, &revoked, &["gone 1", "gone 2"]);
    let stays = post(&forwarder, &kept, &["stays"]);
    intake.wait_until(|state| !state.requests.is_empty());
    revoked.withdraw();
    forwarder.drop_withdrawn();
    intake.respond(Answer::status(202));
    assert_eq!(fate(&stays), PostingFate::Delivered);
    assert_eq!(fate(&gone), PostingFate::Withdrawn);
    let accounting = forwarder.accounting();
    assert_eq!((delivered(&accounting), dropped(&accounting, DropReason::Withdrawn)), (1, 2));
    assert!(accounting.balances());
    assert_eq!(intake.read(|state| state.sum_of_counter("stays", &[])), 10.0);
    assert_eq!(intake.read(|state| state.sum_of_counter("gone 1", &[])), 0.0);
    let again = post(&forwarder, &revoked, &["gone 3"]);
    assert_eq!(fate(&again), PostingFate::Withdrawn, "also what comes afterwards");
}

/// A failed first posting must not be sent after its correction: the intake keeps the last write.
#[test]
fn corrections_never_overtake_what_they_correct() {
    let intake = Intake::start();
    intake.script([Answer::status(503), Answer::status(413), Answer::status(503)]);
    let forwarder = start(&[intake.url()], owned(quick()));
    let (lease, built_at) = (lease(), unix_now());
    let whole = |list: &[&str]| {
        let (tell, told) = mpsc::channel();
        let ticket =
            Ticket::new(Arc::clone(&lease), move |fate| tell.send(fate).unwrap_or_default());
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        let mut payload = counters(&list);
        payload.built_at = built_at;
        forwarder.submit_ticketed(&payload, &ticket, PATIENCE);
        told
    };
    let first = whole(&["a", "b", "c", "d"]);
    let correction = whole(&["d2"]);
    for told in [first, correction] {
        assert_eq!(fate(&told), PostingFate::Delivered);
    }
    // 503, 413, then the first half with a 503, and so on.
    assert_eq!(names(&intake), ["a+b+c+d", "a+b+c+d", "a+b", "a+b", "c+d", "d2"]);
}

#[test]
fn while_the_intake_is_away_the_owner_waits_and_nothing_is_dropped() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let mut config = owned(quick());
    config.queue_bytes_max = 5 * (counter("m00").body.len() + 300);
    let forwarder = Arc::new(start(&[intake.url()], config));
    let (done, is_done) = mpsc::channel();
    let poster = thread::spawn({
        let forwarder = Arc::clone(&forwarder);
        move || {
            let lease = lease();
            for n in 0..40 {
                let told = post(&forwarder, &lease, &[&format!("m{n:02}")]);
                done.send(told).expect("a test");
            }
        }
    });
    intake.wait_until(|state| state.requests.len() > 5);
    let accounting = forwarder.accounting();
    assert!((1..=5).contains(&waiting(&accounting)), "{accounting}");
    assert!(!poster.is_finished());
    intake.respond(Answer::status(202));
    for told in is_done.iter() {
        assert_eq!(fate(&told), PostingFate::Delivered);
    }
    poster.join().expect("no panic");
    let accounting = forwarder.accounting();
    assert_eq!(delivered(&accounting), 40, "{accounting}");
    let mut seen = names(&intake);
    seen.dedup();
    let expected: Vec<String> = (0..40).map(|n| format!("m{n:02}")).collect();
    assert_eq!(seen, expected, "oldest first");
}

#[test]
fn a_lease_that_ends_frees_an_owner_that_waits_for_room() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let mut config = owned(slow_to_forgive());
    config.queue_bytes_max = counter("a").body.len() + 300;
    let forwarder = Arc::new(start(&[intake.url()], config));
    let lease = lease();
    let waits = Arc::new(Barrier::new(2));
    let poster = thread::spawn({
        let (forwarder, lease, waits) = (forwarder.clone(), lease.clone(), waits.clone());
        move || {
            let first = post(&forwarder, &lease, &["a"]);
            waits.wait();
            (first, post(&forwarder, &lease, &["b"]))
        }
    });
    waits.wait();
    lease.withdraw();
    forwarder.drop_withdrawn();
    let (first, second) = poster.join().expect("no panic");
    assert_eq!([fate(&first), fate(&second)], [PostingFate::Withdrawn; 2]);
    assert!(forwarder.accounting().balances());
}

/// With several endpoints, one that is away for long does not stop the others: what its queue does
/// not hold is lost there, as without an owner.
#[test]
fn an_endpoint_that_is_away_does_not_hold_up_another_for_ever() {
    let (good, bad) = (Intake::start(), Intake::start());
    bad.respond(Answer::status(503));
    let mut config = owned(slow_to_forgive());
    config.queue_bytes_max = 5 * (counter("m00").body.len() + 300);
    let forwarder = start(&[good.url(), bad.url()], config);
    let lease = lease();
    let began = Instant::now();
    for n in 0..20 {
        let (tell, _told) = mpsc::channel();
        let ticket =
            Ticket::new(Arc::clone(&lease), move |fate| tell.send(fate).unwrap_or_default());
        let payload = counter(&format!("m{n:02}"));
        forwarder.submit_ticketed(&payload, &ticket, Duration::from_millis(20));
    }
    good.wait_until(|state| state.requests.len() == 20);
    assert!(began.elapsed() < Duration::from_secs(30));
    let accounting = forwarder.accounting();
    assert!(dropped(&accounting, DropReason::QueueFull) >= 14, "{accounting}");
    assert_eq!(accounting.endpoints[0].total(|route| route.dropped_total()).payloads, 0);
    assert!(accounting.balances());
}

#[test]
fn a_refused_key_is_tried_again_after_a_pause_without_anything_new() {
    let intake = Intake::start();
    intake.script([Answer::status(403), Answer::status(403), Answer::status(403)]);
    let forwarder = start(&[intake.url()], owned(quick()));
    let told = post(&forwarder, &lease(), &["a", "b"]);
    assert_eq!(fate(&told), PostingFate::Delivered);
    assert_eq!(
        names(&intake),
        ["a", "a", "a", "a", "b"],
        "one request tells; none jumps the queue"
    );
}

#[test]
fn a_posting_older_than_the_intake_accepts_is_given_up_wherever_it_waits() {
    let intake = Intake::start();
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let forwarder = start_with(&[intake.url()], owned(quick()), clock.clone());
    // Kept back by its lease, and old enough only later.
    let short = Arc::new(Lease::until(clock.monotonic()));
    let fenced = post(&forwarder, &short, &["fenced"]);
    wait_accounting(&forwarder, |accounting| series_counts(accounting).fenced == 1);
    clock.advance(Duration::from_secs(3602));
    forwarder.recheck_clock();
    assert_eq!(fate(&fenced), PostingFate::GivenUp);
    // Too old when it comes: an interval that an owner reads only now.
    let replayed = post(&forwarder, &lease(), &["replayed"]);
    assert_eq!(fate(&replayed), PostingFate::GivenUp);
    let accounting = forwarder.accounting();
    assert_eq!(dropped(&accounting, DropReason::TooOld), 2);
    assert_eq!(names(&intake), [] as [&str; 0]);
}

#[test]
fn what_is_left_at_a_shutdown_is_for_the_next_owner() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let forwarder = start_with(&[intake.url()], owned(slow_to_forgive()), clock.clone());
    let short = Arc::new(Lease::until(clock.monotonic()));
    let told = [post(&forwarder, &lease(), &["a", "b"]), post(&forwarder, &short, &["c"])];
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    wait_accounting(&forwarder, |accounting| series_counts(accounting).requests == 1);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(5));
    assert_eq!(told.map(|told| fate(&told)), [PostingFate::Withdrawn; 2]);
    let accounting = report.accounting;
    assert_eq!((waiting(&accounting), dropped(&accounting, DropReason::Withdrawn)), (0, 3));
    assert!(accounting.balances());
    assert!(names(&intake).iter().all(|name| name != "c"), "its lease was over");
}
