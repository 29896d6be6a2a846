//! Starting, stopping, threads, guards and reporters that misbehave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use whippet::ThreadStats;
use whippet::telemetry::{Event as Fact, EventKind, Hub};
use whippet::threadstats::{
    Builder, ClientLimits, Delivery, Event, EventOpts, FlushOutcome, Loss, MemoryReporter, Number,
    Opts, PointValue, ReportError, Reporter, Series, StartOptions,
};

fn with_memory() -> (Builder, MemoryReporter) {
    let memory = MemoryReporter::default();
    (ThreadStats::builder().env(|_| None).reporter(memory.clone()), memory)
}

/// Waits until `holds`, at most five seconds.
#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "did not come true within 5 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn often() -> StartOptions {
    StartOptions { flush_interval: 0.01, ..StartOptions::default() }.roll_up(0.01)
}

#[test]
fn the_thread_flushes_by_itself_and_ends_with_stop() {
    let (builder, _memory) = with_memory();
    let stats = builder.build();
    stats.start(&often()).unwrap();
    until(|| {
        stats.gauge("g", 1, ());
        stats.flush_count() >= 2
    });
    stats.stop();
    stats.stop();
    let stopped = stats.flush_count();
    let recorded = Instant::now();
    while recorded.elapsed() < Duration::from_millis(60) {
        stats.gauge("g", 1, ());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(stats.flush_count() <= stopped + 1);
    assert_eq!(stats.flush(Some(f64::INFINITY)).unwrap(), FlushOutcome::Done, "still by hand");
}

#[test]
fn starting_again_ends_the_first_thread() {
    let (builder, _memory) = with_memory();
    let stats = builder.build();
    // A first thread that went on would flush every 10 ms.
    stats.start(&often()).unwrap();
    stats.start(&StartOptions { flush_interval: 1000.0, ..often() }).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(100) {
        stats.gauge("g", 1, ());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(stats.flush_count() <= 1, "at most a flush that was under way");
}

#[test]
fn ten_thousand_threads_lose_nothing() {
    let (builder, memory) = with_memory();
    let stats = builder.build();
    stats.start(&StartOptions::manual()).unwrap();
    let gauges: Vec<String> = (0..10_000).map(|index| format!("gauge.{index}")).collect();
    for wave in gauges.chunks(500) {
        std::thread::scope(|scope| {
            for (index, name) in wave.iter().enumerate() {
                let stats = stats.clone();
                scope.spawn(move || {
                    let at = Opts::default().at(5);
                    stats.increment("counter", 1, at);
                    stats.gauge(name, 1, at);
                    stats.histogram("histogram", index, at);
                    stats.event("title", "text", &EventOpts::default());
                });
            }
        });
    }
    stats.flush(Some(f64::INFINITY)).unwrap();
    let reported = memory.take();
    let value = |name: &str| {
        let found = reported.metrics.iter().find(|series| series.metric == name);
        found.map(|series| series.value.clone())
    };
    assert_eq!(value("counter"), Some(PointValue::Number(Number::Float(1000.0))));
    assert_eq!(value("histogram.count"), Some(PointValue::Number(Number::Float(1000.0))));
    assert_eq!(value("histogram.avg"), Some(PointValue::Number(Number::Float(249.5))));
    let gauges = reported.metrics.iter().filter(|series| series.metric.starts_with("gauge."));
    assert_eq!((gauges.count(), reported.events.len()), (10_000, 10_000));
}

#[test]
fn only_the_outermost_guard_flushes_and_it_flushes_everything() {
    let (builder, memory) = with_memory();
    let stats = builder.flush_on_drop(false).build();
    stats.start(&StartOptions::manual()).unwrap();
    let inner = |value: i32| {
        let _guard = stats.flush_guard();
        stats.distribution("d", value, Opts::tags(&[if value == 1 { "a" } else { "b" }]));
    };
    {
        let _guard = stats.flush_guard();
        inner(1);
        inner(2);
        assert_eq!(stats.flush_count(), 0);
    }
    assert_eq!(stats.flush_count(), 1, "exactly one flush");
    assert_eq!(memory.take().distributions.len(), 2, "two series");
    inner(1);
    assert_eq!(memory.take().distributions.len(), 1);
}

#[test]
fn the_last_clone_flushes_and_handles_count_as_clones() {
    let (builder, memory) = with_memory();
    let stats = builder.build();
    stats.start(&StartOptions::default()).unwrap();
    let counter = stats.counter("c", &[]);
    stats.gauge("g", 1, ());
    drop(stats);
    counter.add(1);
    assert_eq!(memory.take().metrics, []);
    drop(counter);
    assert_eq!(memory.take().metrics.len(), 2);
}

/// Stops inside a flush until released.
struct Gate {
    entered: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Reporter for Gate {
    fn flush_metrics(&mut self, _: &[Series]) -> Result<Delivery, ReportError> {
        self.entered.send(()).unwrap();
        self.go_on.recv().unwrap();
        Ok(Delivery::COMPLETE)
    }

    fn flush_distributions(&mut self, _: &[Series]) -> Result<Delivery, ReportError> {
        Ok(Delivery::COMPLETE)
    }

    fn flush_events(&mut self, _: &[Event]) -> Result<Delivery, ReportError> {
        Ok(Delivery::COMPLETE)
    }
}

#[test]
fn a_second_flush_is_busy_recording_goes_on_and_the_guard_waits() {
    let ((entered, inside), (release, go_on)) = (mpsc::channel(), mpsc::channel());
    let stats = ThreadStats::builder()
        .env(|_| None)
        .reporter(Gate { entered, go_on })
        .flush_on_drop(false)
        .build();
    stats.start(&StartOptions::manual()).unwrap();
    stats.gauge("g", 1, Opts::default().at(5));
    let flusher = {
        let stats = stats.clone();
        std::thread::spawn(move || stats.flush(Some(f64::INFINITY)).unwrap())
    };
    inside.recv().unwrap();
    assert_eq!(stats.flush(Some(f64::INFINITY)).unwrap(), FlushOutcome::Busy);
    stats.gauge("g", 2, Opts::default().at(5));
    release.send(()).unwrap();
    release.send(()).unwrap(); // for the guard's own flush
    drop(stats.flush_guard());
    assert_eq!(flusher.join().unwrap(), FlushOutcome::Done);
    assert_eq!(stats.flush_count(), 2);
    inside.recv().unwrap();
}

/// Panics, or flushes its own client from inside.
struct Unruly(Arc<AtomicU64>);

impl Reporter for Unruly {
    fn flush_metrics(&mut self, _: &[Series]) -> Result<Delivery, ReportError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("the reporter's panic is part of this test");
    }

    fn flush_distributions(&mut self, _: &[Series]) -> Result<Delivery, ReportError> {
        Ok(Delivery::rejecting(usize::MAX))
    }

    fn flush_events(&mut self, _: &[Event]) -> Result<Delivery, ReportError> {
        Err(ReportError::Other("no".to_owned()))
    }

    fn restart(&mut self) {
        panic!("the reporter's panic is part of this test");
    }
}

#[test]
fn a_panicking_reporter_is_a_counted_loss_every_time() {
    let calls = Arc::new(AtomicU64::new(0));
    let dropped = Arc::new(AtomicU64::new(0));
    let hub = Hub::default();
    let counting = Arc::clone(&dropped);
    let _alarm = hub.subscribe(EventKind::PayloadDropped, None, move |fact| {
        if let Fact::PayloadDropped { items, .. } = fact {
            counting.fetch_add(*items as u64, Ordering::Relaxed);
        }
    });
    let stats =
        ThreadStats::builder().env(|_| None).reporter(Unruly(Arc::clone(&calls))).hub(hub).build();
    stats.start(&StartOptions::manual()).unwrap();
    for _ in 0..2 {
        stats.gauge("g", 1, Opts::default().at(5));
        stats.distribution("d", 1, Opts::default().at(5));
        assert_eq!(stats.flush(Some(f64::INFINITY)).unwrap(), FlushOutcome::Done);
    }
    stats.distribution("d", 1, Opts::default().at(5));
    stats.event("t", "m", &EventOpts::default());
    assert_eq!(stats.flush(Some(f64::INFINITY)).unwrap(), FlushOutcome::Done);
    let losses = stats.losses();
    let lost = [Loss::MetricsFailed, Loss::DistributionsFailed, Loss::Rejected, Loss::EventsFailed]
        .map(|loss| losses.of(loss));
    assert_eq!(lost, [2, 2, 1, 1]);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(dropped.load(Ordering::Relaxed), 6, "the hub heard of every one");
}

#[test]
fn a_listener_that_flushes_from_inside_a_flush_does_not_wait_for_itself() {
    let hub = Hub::default();
    let slot: Arc<std::sync::Mutex<Option<ThreadStats>>> = Arc::default();
    let inside = Arc::clone(&slot);
    let outcomes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&outcomes);
    let _listener = hub.subscribe(EventKind::FlushCompleted, None, move |_| {
        let stats = inside.lock().unwrap().clone().unwrap();
        drop(stats.flush_guard());
        seen.lock().unwrap().push(stats.flush(None).unwrap());
    });
    let (builder, memory) = with_memory();
    let stats = builder.hub(hub).flush_on_drop(false).build();
    *slot.lock().unwrap() = Some(stats.clone());
    stats.start(&StartOptions::manual()).unwrap();
    stats.gauge("g", 1, Opts::default().at(5));
    stats.flush(Some(f64::INFINITY)).unwrap();
    assert_eq!(*outcomes.lock().unwrap(), [FlushOutcome::Busy]);
    assert_eq!(memory.take().metrics.len(), 1);
}

#[test]
fn the_hub_hears_of_flushes() {
    let hub = Hub::default();
    let (_subscription, facts) =
        hub.bounded(EventKind::FlushCompleted, None, 8, |fact| match fact {
            Fact::FlushCompleted { series, sketches, events, points, .. } => {
                Some([*series, *sketches, *events, *points])
            }
            _ => None,
        });
    let (builder, _memory) = with_memory();
    let stats = builder.hub(hub).build();
    stats.start(&StartOptions::manual()).unwrap();
    stats.histogram("h", 1, Opts::default().at(5));
    stats.distribution("d", 1, Opts::default().at(5));
    stats.event("t", "m", &EventOpts::default());
    stats.flush(Some(f64::INFINITY)).unwrap();
    assert_eq!(facts.pop(), Some([8, 1, 1, 9]));
}

#[test]
fn clients_can_be_shared_and_sent() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let (builder, _memory) = with_memory();
    let stats = builder.build();
    shared(&stats);
    shared(&stats.counter("c", &[]));
    shared(&stats.bound_histogram("h", &[]));
}

#[test]
fn a_refused_metric_is_told_with_its_name_and_reason() {
    let hub = Hub::default();
    let (_refused, refused) = hub.bounded(EventKind::MetricRejected, None, 16, |fact| match fact {
        Fact::MetricRejected { reason, name } => {
            Some(format!("{reason} {}", String::from_utf8_lossy(name)))
        }
        _ => None,
    });
    let limits = ClientLimits { series_max: 1, ..ClientLimits::default() };
    let stats = ThreadStats::builder().env(|_| None).limits(limits).hub(hub).build();
    stats.increment("early", 1, Opts::default());
    stats.start(&StartOptions::manual()).unwrap();
    stats.increment("fits", 1, Opts::default());
    stats.increment("", 1, Opts::default());
    stats.gauge("g", f64::NAN, Opts::default());
    stats.increment("too.many", 1, Opts::default());
    let expect = ["not_started early", "empty_name ", "non_finite g", "full too.many"];
    for wanted in expect {
        assert_eq!(refused.pop().as_deref(), Some(wanted));
    }
    assert_eq!(refused.pop(), None);
    let losses = stats.losses();
    assert_eq!(losses.total(), expect.len() as u64);
}
