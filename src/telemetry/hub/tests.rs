//! The rows of the hub's minimal test list, in its order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use super::*;

type Log = Arc<Mutex<Vec<&'static str>>>;

fn note(log: &Log, word: &'static str) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
    let log = Arc::clone(log);
    move |_| log.lock().unwrap().push(word)
}

const KIND: EventKind = EventKind::ShutdownCompleted;

fn emit(hub: &Hub) {
    hub.emit(KIND, || Event::ShutdownCompleted { lost: 0 });
}

#[track_caller]
fn hears(hub: &Hub, log: &Log, expect: &[&str]) {
    emit(hub);
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), expect);
}

#[test]
fn a_named_listener_is_replaced_in_place() {
    let (hub, log) = (Hub::default(), Log::default());
    let old = hub.subscribe(KIND, Some("a"), note(&log, "old"));
    let _other = hub.subscribe(KIND, Some("b"), note(&log, "other"));
    let _new = hub.subscribe(KIND, Some("a"), note(&log, "new"));
    hears(&hub, &log, &["new", "other"]);
    drop(old); // the replaced one leaves nothing behind to remove
    hears(&hub, &log, &["new", "other"]);
    let _elsewhere = hub.subscribe(EventKind::ConfigReloaded, Some("a"), note(&log, "elsewhere"));
    hears(&hub, &log, &["new", "other"]);
}

#[test]
fn anonymous_listeners_append_also_the_same_function_twice() {
    let (hub, log) = (Hub::default(), Log::default());
    let shared = Arc::new(note(&log, "same"));
    let twin = Arc::clone(&shared);
    let _first = hub.subscribe(KIND, None, move |event| shared(event));
    let _between = hub.subscribe(KIND, None, note(&log, "between"));
    let _second = hub.subscribe(KIND, None, move |event| twin(event));
    hears(&hub, &log, &["same", "between", "same"]);
}

struct Accept(u32);
impl Question for Accept {
    type Answer = bool;
}

#[test]
fn answers_are_by_name_and_an_unknown_name_is_missing() {
    let hub = Hub::default();
    assert_eq!(hub.query(&Accept(1)).get("even"), Outcome::Missing, "no hook at all");
    let even = hub.answer::<Accept>("even", |question| question.0 % 2 == 0);
    let _bad = hub.answer::<Accept>("bad", |_| panic!("a hook's panic is part of this test"));
    let answers = hub.query(&Accept(2));
    assert_eq!(answers.get("even"), Outcome::Ok(&true));
    assert_eq!(answers.get("bad"), Outcome::Err(HookError));
    assert!(!answers.get("bad").is_ok() && !answers.get("nobody").is_ok());
    let replaced = hub.answer::<Accept>("even", |question| question.0 % 2 == 1);
    assert_eq!(hub.query(&Accept(2)).get("even"), Outcome::Ok(&false));
    assert_eq!(
        hub.query(&Accept(2)).iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["even", "bad"]
    );
    drop(even);
    assert_eq!(hub.query(&Accept(2)).get("even"), Outcome::Ok(&false), "the replacement stays");
    drop(replaced);
    assert_eq!(hub.query(&Accept(2)).get("even"), Outcome::Missing);
}

#[test]
fn a_panic_stops_no_other_listener_and_three_remove_its_own() {
    let (hub, log) = (Hub::default(), Log::default());
    let _bad =
        hub.subscribe(KIND, Some("bad"), |_| panic!("a listener's panic is part of this test"));
    let _good = hub.subscribe(KIND, Some("good"), note(&log, "good"));
    for panics in 1..=3 {
        hears(&hub, &log, &["good"]);
        assert_eq!(hub.panics(), panics);
    }
    hears(&hub, &log, &["good"]);
    assert_eq!(hub.panics(), 3, "the fourth emit no longer calls it");
    assert_eq!(hub.reports().iter().map(|report| report.name).collect::<Vec<_>>(), [Some("good")]);
}

#[test]
fn with_propagation_a_panic_stops_the_emit() {
    let hub = Hub::new(HubConfig { propagate_panics: true, ..HubConfig::default() });
    let log = Log::default();
    let bad = hub.subscribe(KIND, None, |_| panic!("a listener's panic is part of this test"));
    let _good = hub.subscribe(KIND, None, note(&log, "good"));
    assert!(catch_unwind(AssertUnwindSafe(|| emit(&hub))).is_err());
    assert!(log.lock().unwrap().is_empty());
    drop(bad);
    hears(&hub, &log, &["good"]);
}

#[test]
fn changes_from_inside_a_listener_are_seen_by_the_next_emit() {
    let (hub, log) = (Hub::default(), Log::default());
    let kept: Arc<Mutex<Vec<Subscription>>> = Arc::default();
    let (inner_hub, inner_log, inner_kept) = (hub.clone(), Arc::clone(&log), Arc::clone(&kept));
    let _changer = hub.subscribe(KIND, Some("changer"), move |_| {
        let new = inner_hub.subscribe(KIND, Some("new"), note(&inner_log, "new"));
        let old = std::mem::replace(&mut *inner_kept.lock().unwrap(), vec![new]);
        drop(old);
    });
    kept.lock().unwrap().push(hub.subscribe(KIND, Some("old"), note(&log, "old")));
    hears(&hub, &log, &["old"]);
    hears(&hub, &log, &["new"]);
}

#[test]
fn all_listeners_come_first_and_the_newest_of_them_before_the_others() {
    let (hub, log) = (Hub::default(), Log::default());
    let _own = hub.subscribe(KIND, None, note(&log, "own"));
    let _older = hub.subscribe_all(None, note(&log, "older all"));
    let _newer = hub.subscribe_all(None, note(&log, "newer all"));
    hears(&hub, &log, &["newer all", "older all", "own"]);
}

/// One thread stands inside the first listener while another drops the second and third.
#[test]
fn after_a_drop_elsewhere_the_call_under_way_finishes_and_no_later_one_begins() {
    let (hub, log) = (Hub::default(), Log::default());
    let (inside, entered) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let finished = Arc::new(AtomicBool::new(false));
    let finishing = Arc::clone(&finished);
    let under_way = hub.subscribe(KIND, None, move |_| {
        inside.send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        finishing.store(true, Ordering::SeqCst);
    });
    let later = hub.subscribe(KIND, None, note(&log, "later"));
    let emitter = {
        let hub = hub.clone();
        std::thread::spawn(move || emit(&hub))
    };
    entered.recv().unwrap();
    drop(later);
    drop(under_way);
    release.send(()).unwrap();
    emitter.join().unwrap();
    assert!(finished.load(Ordering::SeqCst));
    hears(&hub, &log, &[]);
    assert!(entered.try_recv().is_err());
}

#[test]
fn nothing_is_wanted_after_the_last_listener_left_and_bits_are_separate() {
    let hub = Hub::default();
    let wanted = |hub: &Hub| {
        EventKind::ALL.iter().copied().filter(|kind| hub.wants(*kind)).collect::<Vec<_>>()
    };
    let first = hub.subscribe(EventKind::FlushCompleted, None, |_| {});
    let second = hub.subscribe(EventKind::FlushCompleted, None, |_| {});
    assert_eq!(wanted(&hub), [EventKind::FlushCompleted], "and not the packet's bit");
    drop(first);
    assert_eq!(wanted(&hub), [EventKind::FlushCompleted]);
    let all = hub.subscribe_all(None, |_| {});
    assert_eq!(wanted(&hub), EventKind::ALL);
    drop((second, all));
    assert_eq!(wanted(&hub), []);
    hub.emit(EventKind::PacketReceived, || unreachable!("no subscriber"));
    hub.subscribe(KIND, None, |_| {}).detach();
    assert!(hub.wants(KIND));
    hub.clear_kind(KIND);
    assert!(!hub.wants(KIND));
}

#[test]
fn every_emit_of_a_busy_thread_meets_a_whole_table_while_others_change_it() {
    let hub = Hub::default();
    let heard = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&heard);
    let _steady = hub.subscribe(KIND, None, move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
    });
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..20_000).for_each(|_| emit(&hub)));
        }
        scope.spawn(|| (0..2_000).for_each(|_| drop(hub.subscribe(KIND, Some("x"), |_| {}))));
    });
    assert_eq!(heard.load(Ordering::Relaxed), 40_000);
}

#[test]
fn the_bounded_queue_drops_its_oldest_and_says_how_many() {
    let hub = Hub::default();
    let (_subscription, ring) = hub.bounded(KIND, Some("ring"), 2, |event| match event {
        Event::ShutdownCompleted { lost } => Some(*lost),
        _ => None,
    });
    (0..5).for_each(|lost| hub.emit(KIND, || Event::ShutdownCompleted { lost }));
    assert_eq!((ring.pop(), ring.pop(), ring.pop()), (Some(3), Some(4), None));
    assert_eq!(ring.dropped(), 3);
}

#[test]
fn the_time_in_a_listener_is_accounted_to_its_name() {
    let clock = Clock::manual(Duration::ZERO);
    let hub = Hub::new(HubConfig { clock: clock.clone(), ..HubConfig::default() });
    let _slow = hub.subscribe(KIND, Some("slow"), move |_| clock.advance(Duration::from_millis(7)));
    emit(&hub);
    emit(&hub);
    let expect = ListenerReport {
        name: Some("slow"),
        kind: Some(KIND),
        calls: 2,
        busy: Duration::from_millis(14),
        panics: 0,
    };
    assert_eq!(hub.reports(), [expect]);
}

#[test]
fn a_listener_that_emits_its_own_kind_is_stopped() {
    let hub = Hub::default();
    let inner = hub.clone();
    let calls = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&calls);
    let subscription = hub.subscribe(KIND, None, move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        emit(&inner);
    });
    emit(&hub);
    assert_eq!(calls.load(Ordering::Relaxed), u64::from(DEPTH_MAX));
    assert_eq!(hub.suppressed(), 1);
    drop(subscription);
}
