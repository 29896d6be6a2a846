//! Owners in this process, on mock brokers: who owns a partition posts whole values, whoever
//! comes and goes.

use super::cluster::{Cluster, PARTITIONS, TOPIC};
use super::traffic::Traffic;
use crate::support::program::eventually;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use whippet::clock::Clock;
use whippet::config::{GlobalMode, GlobalSettings};
use whippet::forward::PostingFate;
use whippet::global::engine::{EngineState, OwnerLoop, Posts};
use whippet::global::owner::{Owner, OwnerSettings, PostRow, Posting, PostingId};
use whippet::part::{PartLimits, Value};

const SECOND: Duration = Duration::from_secs(1);

/// What the intake keeps: the last value of each series and second.
type Kept = Arc<Mutex<BTreeMap<(String, u64), f64>>>;

/// Takes whole values as long as their lease holds.
struct Intake {
    kept: Kept,
    clock: Clock,
    fates: Sender<(PostingId, PostingFate)>,
}

impl Posts for Intake {
    fn post(&mut self, posting: Posting) {
        let holds = posting.lease.holds(self.clock.monotonic());
        if holds {
            let mut kept = self.kept.lock().unwrap();
            for row in posting.rows() {
                let (key, value) = match row {
                    PostRow::Series(series) => match series.value {
                        Value::Counter(sum) => (series.key, sum.value()),
                        other => panic!("only counters are sent: {other:?}"),
                    },
                    PostRow::Zero { key, .. } => (key, 0.0),
                };
                let key = String::from_utf8(key.as_bytes().to_vec()).unwrap();
                kept.insert((key, posting.start), value);
            }
        }
        let fate = if holds { PostingFate::Delivered } else { PostingFate::Withdrawn };
        let _ = self.fates.send((posting.id, fate));
    }

    fn drop_withdrawn(&mut self) {}
}

struct Member {
    stop: Arc<AtomicBool>,
    state: Arc<EngineState>,
    owned: Arc<Mutex<usize>>,
    thread: JoinHandle<Owner>,
}

impl Member {
    fn start(cluster: &Cluster, kept: &Kept, id: u8) -> Self {
        let settings = settings(cluster);
        let clock = Clock::wall();
        let state = Arc::new(EngineState::new("owner", clock.clone()));
        let (stop, owned) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
        let (fates, answers) = mpsc::channel();
        let owner = OwnerSettings {
            interval: 1,
            partitions: PARTITIONS,
            grace: settings.grace,
            late: settings.late,
            late_max: settings.late_max,
            session: settings.session_timeout,
            memory_max: 64 << 20,
            skip_unknown: false,
            set_members_max: 1_000,
            limits: PartLimits::new(1_000),
        };
        let shown = Arc::clone(&owned);
        let run = OwnerLoop {
            settings,
            topic: TOPIC.to_owned(),
            state: Arc::clone(&state),
            clock: clock.clone(),
            checked: false,
            owner: Owner::new(owner, [id; 16]),
            posts: Box::new(Intake { kept: Arc::clone(kept), clock, fates }),
            fates: answers,
            stop: Arc::clone(&stop),
            show: Box::new(move |owner, now| {
                *shown.lock().unwrap() = owner.gauges(now).partitions_owned;
            }),
        };
        let thread = std::thread::spawn(move || run.run());
        Member { stop, state, owned, thread }
    }

    fn owned(&self) -> usize {
        *self.owned.lock().unwrap()
    }

    /// Leaves the group; every part it read has its place.
    fn leave(self) {
        self.stop.store(true, Ordering::Release);
        let owner = self.thread.join().expect("no panic");
        assert!(owner.accounting().balances(), "{:?}", owner.accounting());
        assert_eq!(owner.accounting().given_up, 0);
    }
}

fn settings(cluster: &Cluster) -> GlobalSettings {
    GlobalSettings {
        mode: GlobalMode::Own,
        brokers: vec![cluster.addresses().to_owned()],
        topic: TOPIC.to_owned(),
        create_topic: false,
        partitions: PARTITIONS,
        topic_next: None,
        group: "owners".to_owned(),
        owner_id: None,
        grace: SECOND,
        late: SECOND * 5,
        late_max: SECOND * 600,
        session_timeout: SECOND * 6,
        queue_bytes_max: 1 << 20,
        spool_path: None,
        spool_bytes_max: 1 << 20,
        memory_bytes_max: 64 << 20,
        skip_unknown: false,
        tls: None,
        sasl: None,
        kafka: Vec::new(),
    }
}

/// The sum over all seconds of each series.
fn sums(kept: &Kept) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for ((key, _), value) in kept.lock().unwrap().iter() {
        *sums.entry(key.clone()).or_default() += value;
    }
    sums
}

/// Waits until all that was sent is there, and nothing more.
#[track_caller]
fn arrives(traffic: Traffic, kept: &Kept) -> BTreeMap<String, f64> {
    let sent = traffic.end();
    eventually(SECOND * 30, "all that was sent", || sums(kept) == sent);
    sent
}

#[test]
fn owners_come_and_go_and_the_totals_are_what_was_sent() {
    let cluster = Cluster::start();
    let kept = Kept::default();
    let first = Member::start(&cluster, &kept, 1);
    let mut traffic = Traffic::start(&cluster);
    let all = PARTITIONS as usize;
    eventually(SECOND * 30, "an owner of everything", || first.owned() == all);
    traffic.send(10);
    let second = Member::start(&cluster, &kept, 2);
    eventually(SECOND * 30, "two owners", || {
        traffic.send(1);
        first.owned() == all / 2 && second.owned() == all / 2
    });
    traffic.send(10);
    first.leave();
    eventually(SECOND * 30, "one owner again", || {
        traffic.send(1);
        second.owned() == all
    });
    traffic.send(5);
    let sent = arrives(traffic, &kept);
    assert!(second.state.status().rebalances >= 2);
    second.leave();
    assert_eq!(sums(&kept), sent, "nothing was added to it later");
}

#[test]
fn an_owner_waits_for_brokers_and_lives_through_their_outage() {
    let cluster = Cluster::start();
    let kept = Kept::default();
    let mut traffic = Traffic::start(&cluster);
    cluster.down();
    let owner = Member::start(&cluster, &kept, 1);
    traffic.send(5);
    eventually(SECOND * 30, "it says so", || owner.state.status().away_since.is_some());
    cluster.up();
    eventually(SECOND * 60, "an owner of everything", || owner.owned() == PARTITIONS as usize);
    traffic.send(10);
    cluster.down();
    traffic.send(5);
    cluster.up();
    traffic.send(5);
    let sent = arrives(traffic, &kept);
    owner.leave();
    assert_eq!(sums(&kept), sent, "nothing was added to it later");
}
