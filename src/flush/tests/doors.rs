//! Buckets of doors: each is posted once, nothing is continued.

use super::*;
use crate::aggregate::{Misplaced, TimedPart, TimedSettings, TimedShard, Value};
use crate::context::PartRules;

struct Doors {
    shard: TimedShard,
    flusher: Flusher,
    now: u64,
}

impl Doors {
    fn new(now: u64) -> Self {
        let (settings, rules) = (TimedSettings::default(), PartRules::default());
        let flusher = Flusher::of_doors(flush_settings(), Arc::clone(&rules.rules), state());
        let shard = TimedShard::new(settings, Arc::new(rules), state(), Duration::from_secs(now));
        Doors { shard, flusher, now }
    }

    fn put(&mut self, name: &str, second: i64, value: Value<'_>, misplaced: Misplaced) {
        let part = TimedPart {
            name: name.as_bytes(),
            tags: b"",
            tag_ends: &[],
            host: b"",
            origin: b"",
            second,
            value,
        };
        self.shard.put(&part, Duration::from_secs(self.now), misplaced);
    }

    fn close(&mut self, stamp: Option<u64>) -> Vec<String> {
        let bucket = self.shard.close();
        while self.shard.sweep_some() {}
        let passed = bucket.start + 10;
        self.flusher.take(Closed { lane: 0, bucket, passed });
        let flush = match stamp {
            Some(stamp) => self.flusher.complete_as(stamp),
            None => self.flusher.complete(),
        };
        let posted = flush.iter().flat_map(|flush| {
            let mut posted = Vec::new();
            self.flusher.view(flush).visit(&mut |row| posted.extend(lines_of(row)));
            posted.sort();
            posted
        });
        posted.collect()
    }
}

#[test]
fn a_bucket_is_posted_once_and_nothing_goes_on() {
    let mut doors = Doors::new(1_040);
    doors.put("hits", 1_015, Value::Count(20.0), Misplaced::Shift);
    doors.put("load", 1_015, Value::Gauge(3.0), Misplaced::Shift);
    doors.put("hits", 1_039, Value::Count(5.0), Misplaced::Shift);
    assert_eq!(doors.close(None), ["1010 hits rate 2", "1010 load gauge 3"]);
    assert_eq!(doors.close(None), [""; 0]);
    assert_eq!(doors.close(None), ["1030 hits rate 0.5"]);
    for _ in 0..40 {
        assert_eq!(doors.close(None), [""; 0]);
    }
    assert_eq!(doors.flusher.contexts(), 0);
}

#[test]
fn a_stamp_takes_the_place_of_the_start() {
    let mut doors = Doors::new(1_040);
    doors.put("hits", 1_015, Value::Count(20.0), Misplaced::Shift);
    doors.put("time", 1_015, Value::Samples(&[1.0]), Misplaced::Shift);
    assert_eq!(doors.close(Some(1_014)), ["1014 hits rate 2", "1014 time sketch 1 1"]);
}

#[test]
fn points_that_keep_their_time_are_posted_at_it() {
    let mut doors = Doors::new(1_040);
    doors.put("hits", 1_003, Value::Count(20.0), Misplaced::KeepTime);
    doors.put("hits", 1_015, Value::Count(10.0), Misplaced::KeepTime);
    doors.put("time", 1_003, Value::Samples(&[1.0]), Misplaced::KeepTime);
    doors.put("time", 1_004, Value::Samples(&[2.0, 3.0]), Misplaced::KeepTime);
    let expect =
        ["1003 hits rate 2", "1003 time sketch 1 1", "1004 time sketch 2 5", "1010 hits rate 1"];
    assert_eq!(doors.close(None), expect);
}

#[test]
fn of_two_kinds_of_one_series_the_later_write_is_posted() {
    let mut doors = Doors::new(1_040);
    doors.put("n", 1_019, Value::Gauge(1.0), Misplaced::Shift);
    doors.put("n", 1_011, Value::Count(10.0), Misplaced::Shift);
    assert_eq!(doors.close(None), ["1010 n rate 1"]);
}
