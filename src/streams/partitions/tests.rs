use super::*;

fn tags(tag: &str) -> TagList {
    let mut tags = TagList::default();
    tags.push(tag.as_bytes());
    tags
}

/// Buckets begin at 1000, 1010, …; an offset of bucket 0 is one of 1000.
struct Hand(Partitions);

impl Hand {
    fn new() -> Self {
        Hand(Partitions::new(10))
    }

    fn note(&mut self, end: End, key: &str, bucket: u64, offset: u64) -> u64 {
        let second = 1000 + bucket * 10;
        let noted = self.0.note(&tags("topic:t"), end, &tags(key), offset, second, second + 15);
        noted.expect("room")
    }

    fn produced(&mut self, bucket: u64, offset: u64) -> u64 {
        self.note(End::Produced, "env:p", bucket, offset)
    }

    fn committed(&mut self, bucket: u64, offset: u64) -> u64 {
        self.note(End::Committed, "consumer_group:g", bucket, offset)
    }

    /// `messages seconds` of each group.
    fn close(&mut self, bucket: u64) -> Vec<(u64, f64)> {
        let lags = self.0.close(1000 + bucket * 10);
        lags.iter().map(|lag| (lag.messages, lag.seconds)).collect()
    }
}

#[test]
fn a_group_is_behind_by_what_it_has_not_read() {
    let mut hand = Hand::new();
    hand.produced(0, 42);
    hand.committed(0, 40);
    assert_eq!(hand.close(0), [(3, 0.0)]);
    hand.committed(1, 43);
    assert_eq!(hand.close(1), [(0, 0.0)]);
    hand.committed(2, 50); // the producer's part is late
    assert_eq!(hand.close(2), [(0, 0.0)]);
}

#[test]
fn parts_of_one_bucket_have_its_maximum() {
    let mut hand = Hand::new();
    assert_eq!(hand.produced(0, 42), 42);
    assert_eq!(hand.produced(0, 40), 42);
    assert_eq!(hand.produced(0, 44), 44);
    assert_eq!(hand.produced(1, 7), 7);
    assert_eq!(hand.note(End::Produced, "env:other", 0, 41), 41, "another series");
    assert_eq!(hand.committed(0, 10), 10);
    assert_eq!(hand.committed(0, 9), 10);
    assert_eq!(hand.close(0), [(35, 0.0)]);
}

#[test]
fn a_bucket_knows_nothing_of_later_ones() {
    let mut hand = Hand::new();
    hand.produced(0, 9);
    hand.committed(0, 5);
    hand.produced(1, 19);
    hand.committed(1, 20);
    hand.produced(2, 29);
    assert_eq!(hand.close(0), [(5, 0.0)]);
    assert_eq!(hand.close(1), [(0, 0.0)]);
    assert_eq!(hand.close(2), [(10, 9.0)]); // 20 is a tenth of the way to 29
}

#[test]
fn the_high_watermark_counts_where_it_is_higher() {
    let mut hand = Hand::new();
    hand.produced(0, 42);
    hand.committed(0, 40);
    hand.note(End::Watermark, "", 0, 41);
    assert_eq!(hand.close(0), [(3, 0.0)]);
    hand.note(End::Watermark, "", 1, 53);
    hand.committed(1, 43);
    assert_eq!(hand.close(1), [(10, 9.0)]);
    hand.note(End::Watermark, "", 2, 50); // seen before the last messages were written
    hand.committed(2, 52);
    assert_eq!(hand.close(2), [(0, 0.0)], "what was seen last counts");
}

#[test]
fn a_watermark_alone_is_enough_and_an_empty_partition_has_no_lag() {
    let mut hand = Hand::new();
    hand.note(End::Watermark, "", 0, 0);
    hand.committed(0, 0);
    assert_eq!(hand.close(0), [(0, 0.0)]);
    hand.note(End::Watermark, "", 1, 10);
    assert_eq!(hand.close(1), [(10, 0.0)]);
    hand.note(End::Watermark, "", 2, 20);
    assert_eq!(hand.close(2), [(20, 10.0)]);
}

#[test]
fn lags_are_given_while_both_were_seen_within_5_minutes() {
    let mut hand = Hand::new();
    hand.committed(0, 5);
    assert_eq!(hand.close(0), []);
    hand.produced(1, 9);
    for bucket in 1..=30 {
        let age = (bucket - 1) as f64 * 10.0;
        assert_eq!(hand.close(bucket), [(5, age)], "{bucket}");
    }
    assert_eq!(hand.close(31), [], "the commit is too old");
    hand.committed(32, 6);
    assert_eq!(hand.close(32), [], "the produced offset is too old");
}

#[test]
fn the_age_looks_60_buckets_back() {
    let mut hand = Hand::new();
    for bucket in 0..100 {
        hand.produced(bucket, bucket);
        hand.committed(bucket, 0);
        let seconds = bucket.min(59) as f64 * 10.0;
        assert_eq!(hand.close(bucket), [(bucket + 1, seconds)]);
    }
    let partition = &hand.0.partitions[&tags("topic:t")];
    assert_eq!(partition.produced.0.len(), 60);
    assert_eq!(partition.producers[&tags("env:p")].0.len(), 1);
}

#[test]
fn what_comes_too_late_counts_in_the_oldest_open_bucket() {
    let mut hand = Hand::new();
    hand.close(0);
    hand.produced(0, 9);
    hand.committed(1, 5);
    assert_eq!(hand.close(1), [(5, 0.0)]);
}

#[test]
fn what_is_ahead_of_the_clock_counts_now() {
    let mut partitions = Partitions::new(10);
    let (topic, env) = (tags("topic:t"), tags("env:p"));
    partitions.note(&topic, End::Produced, &env, 9, u64::MAX, 1005).expect("room");
    assert_eq!(partitions.partitions[&topic].produced.0, [(1000, 9)]);
    partitions.note(&topic, End::Produced, &env, 9, 0, 1705).expect("room");
    assert_eq!(partitions.partitions[&topic].produced.0, [(1000, 9), (1100, 9)]);
    partitions.close(u64::MAX);
}

#[test]
fn silent_partitions_and_groups_are_forgotten() {
    let mut hand = Hand::new();
    hand.produced(0, 9);
    hand.committed(0, 5);
    hand.note(End::Watermark, "", 0, 9);
    hand.close(30);
    assert_eq!((hand.0.partitions.len(), hand.0.readers), (1, 2));
    hand.close(31);
    assert_eq!((hand.0.partitions.len(), hand.0.readers), (0, 0));
}

#[test]
fn partitions_groups_and_keys_are_bounded() {
    let mut partitions = Partitions::new(10);
    let mut note = |topic: &str, key: &str| {
        partitions.note(&tags(topic), End::Committed, &tags(key), 1, 1000, 1005)
    };
    for topic in 0..PARTITIONS_MAX {
        assert_eq!(note(&topic.to_string(), "g"), Ok(1));
    }
    assert_eq!(note("one more", "g"), Err(Full));
    for group in 0..READERS_MAX - PARTITIONS_MAX {
        assert_eq!(note("17", &group.to_string()), Ok(1));
    }
    assert_eq!(note("17", "one more"), Err(Full));
    assert_eq!(note("17", "g"), Ok(1), "a known one");
    assert_eq!(note("17", &"g".repeat(1025)), Err(Full));
    assert_eq!(note(&"t".repeat(1025), "g"), Err(Full));
}
