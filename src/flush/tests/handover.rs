//! Values of a partial bucket, handed from run to run.

use super::*;
use crate::flush::handover::HandOver;

/// What a run that stops at `now` hands over to one that starts at `next`.
fn handed_over(from: &House, now: u64, next: u64) -> HandOver {
    let handover = from.flusher.handover().expect("it takes over");
    let (bytes, left_out) = handover.encode(now, 10);
    assert_eq!(left_out, 0);
    if bytes.is_empty() {
        return HandOver::default();
    }
    HandOver::decode(&bytes, next - next % 10, &state()).expect("whole")
}

fn run_from(now: u64, handover: HandOver) -> House {
    let mut house = House::plain(now);
    house.flusher.take_over(handover);
    house
}

#[test]
fn a_run_that_ends_in_the_same_second_posts_the_whole_of_every_kind() {
    let mut first = run_from(1_000, HandOver::default());
    first.send(0, &["c:20|c", "g:5|g", "s:a:b|s", "h:1:3|h", "d:1|d", "mine:10|c", "k:1|c"]);
    // Ends in the first second: its stamp is the next one.
    let posted = first.stop(1_000);
    assert!(posted.contains(&"1001 c rate 2".to_owned()), "{posted:?}");
    let mut second = run_from(1_001, handed_over(&first, 1_000, 1_001));
    second.send(0, &["c:10|c", "s:b:c|s", "h:5|h", "d:2|d", "g:6|g", "k:9|g"]);
    let posted = second.stop(1_001);
    let mut whole = run_from(1_000, HandOver::default());
    whole
        .send(0, &["c:20|c", "s:a:b|s", "h:1:3|h", "c:10|c", "s:b:c|s", "h:5|h", "g:6|g", "k:9|g"]);
    whole.send(0, &["d:2|d"]);
    assert_eq!(posted, whole.stop(1_001), "only sketches are not added: the intake does that");
    // The third one needs what the first posted alone, too.
    let mut third = run_from(1_001, handed_over(&second, 1_001, 1_001));
    third.send(0, &["mine:30|c", "c:1|c"]);
    let mut whole = run_from(1_000, HandOver::default());
    whole.send(0, &["mine:40|c", "c:31|c"]);
    assert_eq!(third.stop(1_001), whole.stop(1_001));
}

#[test]
fn another_second_is_another_value() {
    let mut first = run_from(1_000, HandOver::default());
    first.send(0, &["c:20|c"]);
    first.stop(1_003);
    let mut second = run_from(1_004, handed_over(&first, 1_003, 1_004));
    second.send(0, &["c:10|c"]);
    let mut alone = run_from(1_004, HandOver::default());
    alone.send(0, &["c:10|c"]);
    assert_eq!(second.stop(1_005), alone.stop(1_005));
}

#[test]
fn what_is_over_is_not_handed_over() {
    let mut first = run_from(1_000, HandOver::default());
    first.send(0, &["c:20|c", "d:1|d"]);
    first.stop(1_003);
    assert!(!handed_over(&first, 1_003, 1_009).is_empty());
    assert!(handed_over(&first, 1_003, 1_010).is_empty());
    let (bytes, _) = first.flusher.handover().unwrap().encode(1_013, 10);
    assert!(bytes.is_empty());
}
