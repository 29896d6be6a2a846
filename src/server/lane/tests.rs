use std::sync::mpsc;

use super::*;
use crate::net::ListenerId;
use crate::telemetry::{Event, Ring, Subscription, Transport as Told};

/// A worker fed by the test alone; what it closes goes nowhere.
fn worker(hub: &Hub) -> Box<LaneWorker> {
    let parts = LaneParts {
        settings: aggregate::ShardSettings::default(),
        rules: Arc::new(Rules::default()),
        state: RandomState::with_seeds(1, 2, 3, 4),
        clock: Clock::manual(Duration::from_secs(1000)),
        eol_required: vec![false],
        listener_names: vec!["udp 127.0.0.1:8125".to_owned()],
        transports: vec![Transport::Udp],
        verbose: false,
        oversize_shown: false,
        proc_root: None,
        raw_forwarder: None,
        mailbox: None,
        announced: None,
        datagram_bytes_max: 8192,
        hub: hub.clone(),
        liveness: Arc::new(Liveness::new(1, Duration::from_secs(10))),
        watch: Arc::default(),
        sender_accounts: true,
    };
    let ((_, spares), (_, rules)) = (mpsc::channel(), mpsc::channel());
    LaneWorker::new(0, parts, Box::new(|_| true), spares, rules)
}

fn arrival(cut_bytes: usize) -> Arrival {
    Arrival { listener: ListenerId(0), transport: Transport::Udp, cut_bytes }
}

fn facts(hub: &Hub, kind: EventKind) -> (Subscription, Ring<String>) {
    hub.bounded(kind, None, 8, |event| Some(format!("{event:?}")))
}

#[test]
fn a_datagram_its_bad_lines_and_its_lost_tail_are_events() {
    let hub = Hub::default();
    let (_received, received) = facts(&hub, EventKind::PacketReceived);
    let (_truncated, truncated) = facts(&hub, EventKind::PacketTruncated);
    let (_failed, failed) = facts(&hub, EventKind::ParseFailed);
    let long = format!("{}|c", "x".repeat(300));
    let datagram = format!("a:1|c\n{long}\n");
    worker(&hub).datagram(datagram.as_bytes(), &Sender::Unknown, arrival(7));

    let transport = Told::Udp;
    let bytes = datagram.as_bytes();
    let fact = Event::PacketReceived { transport, bytes, pid: None };
    assert_eq!((received.pop(), received.pop()), (Some(format!("{fact:?}")), None));
    let fact = Event::PacketTruncated { transport, buffer_bytes: 8192 };
    assert_eq!((truncated.pop(), truncated.pop()), (Some(format!("{fact:?}")), None));
    let line = &long.as_bytes()[..256];
    let reason = crate::protocol::ErrorKind::MissingValue.reason();
    let fact = Event::ParseFailed { transport, reason, line };
    assert_eq!((failed.pop(), failed.pop()), (Some(format!("{fact:?}")), None));
}

#[test]
fn a_metric_that_is_dropped_is_an_event_with_its_name_and_the_counts_are_the_same() {
    let datagram = b"a:1|c\n\nb:nan|g\nbad\n_sc|up|0\nc:1|c|#t\r\nd:2|h|T1700000000\nlast:1|c";
    let counts = |hub: &Hub, eol_required: bool| {
        let mut worker = worker(hub);
        worker.parts.eol_required = vec![eol_required];
        worker.datagram(datagram, &Sender::Unknown, arrival(0));
        *worker.shard.counts()
    };
    for eol_required in [false, true] {
        let hub = Hub::default();
        let unheard = counts(&hub, eol_required);
        let (_rejected, rejected) = facts(&hub, EventKind::MetricRejected);
        let (_failed, failed) = facts(&hub, EventKind::ParseFailed);
        assert_eq!(counts(&hub, eol_required), unheard);
        for (reason, name) in [("non_finite", "b"), ("timestamp_unsupported", "d")] {
            let fact = Event::MetricRejected { reason, name: name.as_bytes() };
            assert_eq!(rejected.pop(), Some(format!("{fact:?}")));
        }
        assert_eq!(rejected.pop(), None);
        assert!(failed.pop().is_some() && failed.pop().is_none());
    }
}

/// The receive path alone, without a subscriber; by name, so that a profiler can count only here.
#[inline(never)]
fn receive(worker: &mut LaneWorker, datagrams: &[Vec<u8>], rounds: usize) {
    for _ in 0..rounds {
        worker.begin_batch();
        for datagram in datagrams {
            worker.datagram(datagram, &Sender::Unknown, arrival(0));
        }
        worker.end_batch();
    }
}

#[track_caller]
fn records_every_line(lines_per_datagram: usize) {
    const ROUNDS: usize = 100;
    let datagrams: Vec<Vec<u8>> = (0..64)
        .map(|at| {
            let line = |line: usize| match (at + line) % 3 {
                0 => format!("page.views:1|c|#env:prod,service:web,shard:{at}\n"),
                1 => format!("queue.length:{line}|g|#env:prod,queue:mail-{at}\n"),
                _ => format!("request.time:0.{at}|d|@0.5|#env:prod,route:/x/{at}\n"),
            };
            (0..lines_per_datagram).map(line).collect::<String>().into_bytes()
        })
        .collect();
    let mut worker = worker(&Hub::default());
    receive(&mut worker, &datagrams, ROUNDS);
    let recorded = worker.shard.counts().recorded();
    assert_eq!(recorded, (datagrams.len() * lines_per_datagram * ROUNDS) as u64);
}

#[test]
fn datagrams_of_one_line_are_recorded() {
    records_every_line(1);
}

#[test]
fn datagrams_of_twenty_lines_are_recorded() {
    records_every_line(20);
}
