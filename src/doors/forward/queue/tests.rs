use super::*;
use std::sync::atomic::Ordering;

use crate::doors::DoorsAccounting;
use crate::forward::ErrorKind;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const COST: usize = 1000 + ITEM_OVERHEAD_BYTES;

fn request(route: Route, bytes: usize) -> Arc<Outgoing> {
    let body = Bytes::from(vec![0; bytes]);
    Arc::new(Outgoing { route, path: "/", headers: HeaderMap::new(), body })
}

fn answered(status: u16) -> Attempt {
    Attempt::Answered { status, retry_after: None, message: String::new() }
}

fn settle(queue: &mut Queue, attempt: &Attempt, now: Duration) -> Option<Settled> {
    queue.settle(attempt, now, &RetryPolicy::default(), 1.0)
}

fn queue(bytes_max: usize) -> Queue {
    let accounting = DoorsAccounting::default();
    let routes = [Route::DataStreams, Route::Stats, Route::Telemetry];
    Queue::new(bytes_max, routes.map(|route| accounting.forward_to(route, "there")).into())
}

/// Forwarded and dropped, by reason.
fn counts(queue: &Queue, route: Route) -> (u64, [u64; ForwardDrop::ALL.len()]) {
    let counts = &queue.routes[queue.place(route).unwrap()].counts;
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    (read(&counts.forwarded), ForwardDrop::ALL.map(|why| read(&counts.dropped[why as usize])))
}

fn dropped(queue: &Queue, route: Route, why: ForwardDrop) -> u64 {
    counts(queue, route).1[why as usize]
}

fn numbers(queue: &mut Queue, now: Duration) -> Vec<u64> {
    std::iter::from_fn(|| queue.pick(now).map(|item| item.number)).collect()
}

/// One row per answer: what becomes of the request, and which counter moves.
#[test]
fn every_answer_has_its_row() {
    let again = Settled::Again(s(4));
    let refused = Settled::Dropped(ForwardDrop::Rejected);
    let failed = |kind| Attempt::Failed { kind, detail: String::new() };
    let mut rows: Vec<(Attempt, Settled)> = [
        (200, Settled::Forwarded),
        (202, Settled::Forwarded),
        (301, again),
        (400, refused),
        (401, refused),
        (403, refused),
        (404, refused),
        (408, refused),
        (413, refused),
        (429, again),
        (500, again),
        (502, again),
        (503, again),
    ]
    .map(|(status, expect)| (answered(status), expect))
    .into();
    rows.extend(ErrorKind::ALL.map(|kind| (failed(kind), again)));
    for (attempt, expect) in rows {
        let mut queue = super::tests::queue(QUEUE_BYTES_MAX);
        queue.push(&request(Route::Telemetry, 10), s(0));
        queue.pick(s(0)).unwrap();
        assert_eq!(settle(&mut queue, &attempt, s(0)), Some(expect), "{attempt:?}");
        let (forwarded, dropped) = counts(&queue, Route::Telemetry);
        let figures = (forwarded, dropped.iter().sum(), queue.len());
        let row = match expect {
            Settled::Forwarded => (1, 0, 0),
            Settled::Dropped(_) => (0, 1, 0),
            Settled::Again(_) => (0, 0, 1),
        };
        assert_eq!(figures, row, "{attempt:?}");
    }
}

#[test]
fn a_retry_waits_as_long_as_the_server_asks() {
    let mut queue = super::tests::queue(QUEUE_BYTES_MAX);
    queue.push(&request(Route::Telemetry, 10), s(0));
    queue.pick(s(0)).unwrap();
    let busy = Attempt::Answered { status: 429, retry_after: Some(s(30)), message: String::new() };
    assert_eq!(settle(&mut queue, &busy, s(0)), Some(Settled::Again(s(30))));
    assert!(queue.pick(s(29)).is_none());
    assert_eq!(queue.next_step(s(29)), Some(s(1)));
    assert!(queue.pick(s(30)).is_some());
}

#[test]
fn requests_go_out_in_order_after_a_failure_too() {
    let mut queue = super::tests::queue(QUEUE_BYTES_MAX);
    for _ in 0..3 {
        queue.push(&request(Route::DataStreams, 10), s(0));
    }
    assert_eq!(queue.pick(s(0)).unwrap().number, 0);
    settle(&mut queue, &answered(500), s(0));
    assert_eq!(numbers(&mut queue, s(1)), [] as [u64; 0]);
    assert_eq!(numbers(&mut queue, s(4)), [0, 1, 2]);
}

#[test]
fn a_failing_route_holds_up_no_other() {
    let mut queue = super::tests::queue(QUEUE_BYTES_MAX);
    queue.push(&request(Route::DataStreams, 10), s(0));
    queue.push(&request(Route::Stats, 10), s(0));
    queue.pick(s(0)).unwrap();
    settle(&mut queue, &answered(500), s(0));
    assert_eq!(queue.pick(s(0)).unwrap().request.route, Route::Stats);
    assert!(queue.pick(s(0)).is_none());
}

#[test]
fn the_oldest_of_any_route_goes_when_the_bound_is_reached() {
    let mut queue = super::tests::queue(3 * COST);
    let routes = [Route::Stats, Route::DataStreams, Route::Stats];
    assert_eq!(routes.map(|route| queue.push(&request(route, 1000), s(0))), [0; 3]);
    assert_eq!(queue.bytes, 3 * COST);
    assert_eq!(queue.push(&request(Route::Stats, 1000), s(0)), 1);
    assert_eq!(queue.push(&request(Route::Stats, 2 * 1000), s(0)), 2);
    assert_eq!(numbers(&mut queue, s(0)), [3, 4]);
    assert_eq!(queue.bytes, 0);
    let of = |route: Route| dropped(&queue, route, ForwardDrop::QueueFull);
    assert_eq!((of(Route::Stats), of(Route::DataStreams)), (2, 1));
}

#[test]
fn one_that_exceeds_the_whole_bound_evicts_nothing() {
    let mut queue = super::tests::queue(3 * COST);
    queue.push(&request(Route::Stats, 1000), s(0));
    assert_eq!(queue.push(&request(Route::Stats, 4000), s(0)), 1);
    assert_eq!(queue.len(), 1);
    assert_eq!(dropped(&queue, Route::Stats, ForwardDrop::QueueFull), 1);
}

#[test]
fn one_that_fails_while_others_fill_the_queue_is_the_oldest() {
    let mut queue = super::tests::queue(2 * COST);
    queue.push(&request(Route::Stats, 1000), s(0));
    queue.pick(s(0)).unwrap();
    queue.push(&request(Route::Stats, 1000), s(0));
    queue.push(&request(Route::Stats, 1000), s(0));
    let full = Settled::Dropped(ForwardDrop::QueueFull);
    assert_eq!(settle(&mut queue, &answered(503), s(0)), Some(full));
    assert_eq!(queue.len(), 2);
}

#[test]
fn nothing_older_than_ten_minutes_is_sent() {
    let mut queue = super::tests::queue(QUEUE_BYTES_MAX);
    queue.push(&request(Route::Telemetry, 10), s(0));
    queue.push(&request(Route::Telemetry, 10), s(5));
    assert_eq!(queue.expire(s(600)), 0);
    assert_eq!(queue.expire(s(601)), 1);
    assert_eq!(numbers(&mut queue, s(601)), [1]);
    assert_eq!(dropped(&queue, Route::Telemetry, ForwardDrop::TooOld), 1);
}

#[test]
fn the_last_round_tries_each_once_and_counts_what_is_left() {
    let mut queue = super::tests::queue(QUEUE_BYTES_MAX);
    for _ in 0..4 {
        queue.push(&request(Route::Telemetry, 10), s(0));
    }
    queue.pick(s(0)).unwrap();
    queue.start_last_round();
    // Sent before: it gets an attempt of the last round too.
    assert_eq!(settle(&mut queue, &answered(500), s(0)), Some(Settled::Again(s(4))));
    for (attempt, expect) in [
        (answered(200), Settled::Forwarded),
        (answered(500), Settled::Dropped(ForwardDrop::Shutdown)),
    ] {
        queue.pick(s(0)).unwrap();
        assert_eq!(settle(&mut queue, &attempt, s(0)), Some(expect));
    }
    queue.pick(s(0)).unwrap();
    assert_eq!(queue.give_up(), 2);
    assert_eq!(settle(&mut queue, &answered(200), s(0)), None, "given up already");
    assert_eq!(counts(&queue, Route::Telemetry).0, 1);
    assert_eq!(dropped(&queue, Route::Telemetry, ForwardDrop::Shutdown), 3);
}
