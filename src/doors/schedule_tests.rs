use std::sync::Mutex;
use std::sync::atomic::Ordering;

use regex::bytes::Regex;

use super::*;
use crate::aggregate::{EventRecord, TimedSettings};
use crate::context::{PartRules, Rules};
use crate::doors::{
    Answer, DoorsAccounting, Outcome, Part, Reason, RecorderParts, Refusal, Request, TagList, Value,
};
use crate::protocol::{AlertType, Priority};
use crate::watch::Watch;

/// A start of a bucket; all times below are relative to it.
const ZERO: u64 = 1_700_000_000;

fn at(second: u64) -> Duration {
    Duration::from_secs(ZERO + second)
}

/// Notes what it is asked, and puts a gauge at that time.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

impl Noting {
    fn note(&self, what: &str, start: u64, sink: &mut dyn Sink) {
        self.0.lock().unwrap().push(format!("{what} {}", start as i64 - ZERO as i64));
        let (tags, second) = (TagList::default(), start as i64);
        let value = Value::Gauge(1.0);
        let part = Part { name: what.as_bytes(), tags: &tags, host: b"", second, value };
        assert_eq!(sink.put(&part), Outcome::Recorded);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Door for Noting {
    fn take(&self, _: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        Ok(Answer::ok())
    }

    fn interval_ended(&self, start: u64, sink: &mut dyn Sink) {
        self.note("ended", start, sink);
    }

    fn closing(&self, start: u64, _: Option<u64>, sink: &mut dyn Sink) {
        self.note("closing", start, sink);
    }
}

struct Failing;

impl Door for Failing {
    fn take(&self, _: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        Ok(Answer::ok())
    }

    fn closing(&self, _: u64, _: Option<u64>, _: &mut dyn Sink) {
        panic!("a bug of ours");
    }
}

struct Hand {
    recorder: Recorder,
    schedule: Schedule,
    watch: Arc<Watch>,
}

impl Hand {
    /// Starts at second 45 with these doors.
    fn new(doors: Vec<(Route, Arc<dyn Door>)>) -> Self {
        Self::with_interval(10, doors)
    }

    fn with_interval(interval: u64, doors: Vec<(Route, Arc<dyn Door>)>) -> Self {
        let rules = Rules { default_host: Box::from(&b"here"[..]), ..Rules::default() };
        let watch = Arc::new(Watch::default());
        let parts = RecorderParts {
            settings: TimedSettings { interval, events_max: 2, ..TimedSettings::default() },
            rules: Arc::new(PartRules {
                rules: Arc::new(rules),
                common_tags: vec![Box::from(&b"env:ours"[..])],
            }),
            state: ahash::RandomState::with_seeds(1, 2, 3, 4),
            accounting: Arc::new(DoorsAccounting::default()),
            watch: Arc::clone(&watch),
        };
        let recorder = Recorder::new(parts, at(45));
        let schedule = Schedule::new(doors, recorder.clone(), at(45));
        Hand { recorder, schedule, watch }
    }

    fn put(&self, route: Route, now: u64, second: u64, name: &str) -> Outcome {
        let (tags, claims) = (TagList::default(), Claims::default());
        let second = (ZERO + second) as i64;
        let value = Value::Count(1.0);
        let part = Part { name: name.as_bytes(), tags: &tags, host: b"", second, value };
        self.recorder.sink(route, at(now), &claims).put(&part)
    }

    fn rows(recorder: &Recorder, due: &DueBucket) -> String {
        let shard = recorder.shard(due.grace);
        let name = |id| {
            let context = shard.contexts().context(id).unwrap();
            String::from_utf8_lossy(context.name()).into_owned()
        };
        let bucket = &due.bucket;
        let counters = bucket.counters.iter().map(|cell| (cell.context, cell.sum));
        let gauges = bucket.gauges.iter().map(|cell| (cell.context, cell.value));
        let points = bucket.timestamped.iter().map(|point| (point.context, point.value));
        let rows: Vec<String> = counters
            .chain(gauges)
            .chain(points)
            .map(|(context, value)| format!("{}={value}", name(context)))
            .collect();
        let stamp =
            due.stamp.map(|stamp| format!("@{}", stamp as i64 - ZERO as i64)).unwrap_or_default();
        let start = bucket.start as i64 - ZERO as i64;
        format!("{:?} {start}{stamp} {}", due.grace, rows.join(" "))
    }

    fn tick(&mut self, now: u64) -> Vec<String> {
        let (mut rows, recorder) = (Vec::new(), self.recorder.clone());
        self.schedule.tick(at(now), &mut |due| rows.push(Self::rows(&recorder, &due)));
        // Without rows: they bring the contexts of later ones.
        rows.retain(|row| !row.ends_with(' '));
        rows
    }

    fn finish(&mut self, now: u64) -> Vec<String> {
        let (mut rows, recorder) = (Vec::new(), self.recorder.clone());
        self.schedule.finish(at(now), &mut |due| rows.push(Self::rows(&recorder, &due)));
        // Without rows: they bring the contexts of later ones.
        rows.retain(|row| !row.ends_with(' '));
        rows
    }
}

#[test]
fn a_bucket_is_due_once_after_its_grace() {
    let mut hand = Hand::new(Vec::new());
    hand.put(Route::Stats, 45, 41, "stats");
    hand.put(Route::Telemetry, 45, 41, "telemetry");
    assert_eq!(hand.tick(79), [""; 0]);
    assert_eq!(hand.put(Route::DataStreams, 79, 42, "streams"), Outcome::Recorded);
    assert_eq!(hand.tick(80), ["Short 40 stats=1 streams=1"]);
    assert_eq!(hand.put(Route::DataStreams, 80, 42, "streams"), Outcome::Late);
    assert_eq!(hand.put(Route::Telemetry, 139, 42, "telemetry"), Outcome::Recorded);
    assert_eq!(hand.tick(139), ["Short 50 streams=1"]);
    assert_eq!(hand.tick(140), ["Long 40 telemetry=2"]);
    assert_eq!(hand.tick(1_000), [""; 0]);
}

#[test]
fn the_schedule_knows_when_the_next_thing_is_due() {
    let mut hand = Hand::with_interval(60, Vec::new());
    // The bucket at -20 ends at 40 and is due at 70; the interval ends at 100.
    assert_eq!(hand.schedule.next_due(), at(70));
    hand.tick(70);
    assert_eq!(hand.schedule.next_due(), at(100));
    hand.tick(100);
    assert_eq!(hand.schedule.next_due(), at(130));
}

#[test]
fn doors_are_told_of_each_interval_and_of_their_own_buckets() {
    let (stats, telemetry) = (Arc::new(Noting::default()), Arc::new(Noting::default()));
    let mut hand = Hand::new(vec![
        (Route::Stats, Arc::clone(&stats) as Arc<dyn Door>),
        (Route::Telemetry, Arc::clone(&telemetry) as Arc<dyn Door>),
    ]);
    assert_eq!(hand.tick(49), [""; 0]);
    hand.tick(50);
    assert_eq!(stats.taken(), ["ended 40", "closing 10"]);
    assert_eq!(telemetry.taken(), ["ended 40", "closing -50"]);
    hand.tick(69);
    assert_eq!(stats.taken(), ["ended 50", "closing 20"]);
    // What is put while a bucket closes is in it, and so is what was put at the end of its interval.
    assert_eq!(hand.tick(80)[1], "Short 40 ended=1 closing=1");
}

#[test]
fn a_door_that_fails_harms_no_other() {
    let noting = Arc::new(Noting::default());
    let doors: Vec<(Route, Arc<dyn Door>)> =
        vec![(Route::Stats, Arc::new(Failing)), (Route::Stats, Arc::clone(&noting) as _)];
    let mut hand = Hand::new(doors);
    assert_eq!(hand.tick(50), ["Short 10 closing=1"]);
}

#[test]
fn a_stop_posts_what_is_open_at_another_second_and_asks_once_more() {
    let noting = Arc::new(Noting::default());
    let mut hand = Hand::new(vec![(Route::Telemetry, Arc::clone(&noting) as Arc<dyn Door>)]);
    hand.put(Route::Stats, 45, 15, "over");
    hand.put(Route::Stats, 45, 25, "open");
    hand.put(Route::Stats, 45, 45, "now");
    hand.put(Route::Api, 45, 5, "alone");
    let second = (ZERO + 53) % 9;
    let stamp = |start: u64| start + 1 + second;
    let posted = hand.finish(53);
    let short: Vec<&String> = posted.iter().filter(|row| row.starts_with("Short")).collect();
    let expect = [
        "Short 10 over=1 alone=1".to_owned(),
        format!("Short 20@{} open=1", stamp(20)),
        format!("Short 40@{} now=1", stamp(40)),
    ];
    assert_eq!(short, expect.iter().collect::<Vec<_>>());
    assert!(posted.contains(&format!("Long 50@{} ended=1 closing=1", stamp(50))), "{posted:?}");
    assert!(noting.taken().contains(&"ended 50".to_owned()));
}

#[test]
fn no_stamp_is_a_start_and_none_leaves_its_bucket() {
    for interval in [2, 5, 10, 60] {
        for now in 0..100 {
            let stamp = stamp(1_200, interval, now);
            assert!(stamp > 1_200 && stamp < 1_200 + interval.min(10), "{interval} {now}");
        }
    }
    assert_eq!(stamp(1_200, 1, 5), 1_200);
    assert_eq!(stamp(1_200, 10, 13), 1_205);
}

#[test]
fn a_jump_of_the_clock_is_not_walked_second_by_second() {
    let noting = Arc::new(Noting::default());
    let mut hand = Hand::new(vec![(Route::Stats, Arc::clone(&noting) as Arc<dyn Door>)]);
    hand.put(Route::Stats, 45, 41, "hits");
    let month = 30 * 86_400;
    let posted = hand.tick(month);
    assert!(posted.iter().any(|row| row.starts_with("Short 40 hits=1")), "{posted:?}");
    assert!(noting.taken().len() < 300);
    // Back again: what is posted stays posted.
    assert_eq!(hand.tick(60), [""; 0]);
    assert_eq!(hand.put(Route::Stats, 60, 60, "hits"), Outcome::Late);
}

#[test]
fn parts_balance_by_outcome_and_reason() {
    let hand = Hand::new(Vec::new());
    hand.put(Route::Api, 45, 45, "a");
    hand.put(Route::Api, 45, 5, "a");
    assert_eq!(hand.put(Route::Api, 45, 5_000, "a"), Outcome::Refused(Reason::Time));
    assert_eq!(hand.put(Route::Api, 45, 45, ""), Outcome::Refused(Reason::Value));
    let claims = Claims::default();
    hand.recorder.sink(Route::Api, at(45), &claims).refuse(Reason::Sketch);
    let counts = hand.recorder.accounting().of(Route::Api);
    let recorded = counts.parts_recorded.load(Ordering::Relaxed);
    assert_eq!((recorded, counts.late.load(Ordering::Relaxed)), (2, 1));
    for (reason, expect) in [(Reason::Time, 1), (Reason::Value, 1), (Reason::Sketch, 1)] {
        let refused = counts.parts_refused[reason as usize].load(Ordering::Relaxed);
        assert_eq!(refused, expect, "{reason:?}");
    }
}

fn event(tags: &[&str], host: &str) -> EventRecord {
    EventRecord {
        title: Box::from(&b"t\xff"[..]),
        text: Box::default(),
        timestamp: 7,
        priority: Priority::Normal,
        alert_type: AlertType::Info,
        host: Box::from(host.as_bytes()),
        aggregation_key: Box::default(),
        source_type: Box::default(),
        tags: tags.iter().map(|tag| Box::from(tag.as_bytes())).collect(),
    }
}

#[test]
fn events_go_out_with_the_next_bucket_with_our_host_and_tags() {
    let mut hand = Hand::new(Vec::new());
    let claims = Claims::default();
    let mut sink = hand.recorder.sink(Route::Api, at(45), &claims);
    assert_eq!(sink.event(event(&["b", "a", "b"], "")), Outcome::Recorded);
    assert_eq!(sink.event(event(&["env:own"], "web")), Outcome::Recorded);
    assert_eq!(sink.event(event(&[], "")), Outcome::Refused(Reason::Limit));
    let mut posted = Vec::new();
    hand.schedule.tick(at(50), &mut |due| posted.extend(due.bucket.events));
    let shown: Vec<String> = posted
        .iter()
        .map(|event| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let tags: Vec<String> = event.tags.iter().map(|tag| text(tag)).collect();
            format!("{} {} {}", text(&event.title), text(&event.host), tags.join(","))
        })
        .collect();
    assert_eq!(shown, ["t\u{fffd} here a,b,env:ours", "t\u{fffd} web env:own"]);
}

#[test]
fn a_tap_shows_recorded_parts_and_no_others() {
    let hand = Hand::new(Vec::new());
    let tapping = hand.watch.tap(Some(Regex::new("^a").unwrap())).unwrap();
    hand.put(Route::Stats, 45, 45, "a.hits");
    hand.put(Route::Stats, 45, 45, "b.hits");
    hand.put(Route::Api, 45, 5_000, "a.refused");
    let shown = tapping.lines.try_recv().unwrap();
    let expect = format!("a.hits:1|c|T{}", ZERO + 45);
    assert_eq!((&*shown.listener, &*shown.line), ("http", expect.as_bytes()));
    assert!(tapping.lines.try_recv().is_err());
}

#[test]
fn stats_count_parts_while_they_are_kept() {
    let hand = Hand::new(Vec::new());
    let counting = hand.watch.count();
    hand.put(Route::Stats, 45, 45, "hits");
    hand.put(Route::Stats, 45, 45, "hits");
    let samples = hand.watch.samples(&[]);
    let sent: Vec<u64> = samples.iter().map(|(_, _, sent)| sent.count).collect();
    assert_eq!(sent, [2]);
    drop(counting);
    assert!(!hand.watch.is_on());
}
