//! The failure matrix, row by row, and the rules of the owner, with a clock in hand and no chance but that
//! of a fixed seed.

use std::time::Duration;

use super::simulation::log::{SentCell, Shown, row};
use super::simulation::process::Process;
use super::simulation::sender::encode;
use super::simulation::world::{BEGIN, World, settings};
use super::{Action, Differs, Event, Notice, OwnerSettings};
use crate::context::Kind;
use crate::part::{Barrier, Head, Key, encode_barrier};

const STEP: Duration = Duration::from_millis(100);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One partition, one owner that has caught up, and it is the start of an interval.
fn one_owner() -> World {
    with_settings(settings(1))
}

fn with_settings(settings: OwnerSettings) -> World {
    let mut world = World::new(settings, 1);
    world.start(0);
    world.run_for(STEP, s(10));
    world
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes(), []).expect("a key")
}

/// `start` in seconds since the beginning; cells as `("c:name", value)`, the letter for the kind.
fn head(sender: u8, start: i64, sequence: u32) -> Head {
    Head {
        sender: [sender; 16],
        host: format!("host-{sender}"),
        start: (BEGIN.as_secs() as i64 + start) as u64,
        interval: 10,
        partition: 0,
        partitions: 1,
        sequence,
        ..Head::default()
    }
}

fn cells(list: &[(&str, f64)]) -> Vec<(Key, SentCell)> {
    let cell = |(place, (name, value)): (usize, &(&str, f64))| {
        let (letter, name) = name.split_once(':').expect("a kind");
        let kind = match letter {
            "c" => Kind::Counter,
            "g" => Kind::Gauge,
            "s" => Kind::Set,
            _ => Kind::Histogram,
        };
        (key(name), SentCell { kind, value: *value, stamp: place as u32 })
    };
    list.iter().enumerate().map(cell).collect()
}

/// Appends a part now.
fn send(world: &mut World, sender: u8, start: i64, list: &[(&str, f64)]) {
    send_as(world, head(sender, start, 0), list);
}

fn send_as(world: &mut World, head: Head, list: &[(&str, f64)]) {
    let cells = cells(list);
    let bytes = encode(&head, &cells);
    world.log.append_part((world.now, world.now), head.id(), &cells, bytes);
}

fn value(world: &World, name: &str, start: i64) -> Option<Shown> {
    world.intake.value(&row(&key(name), (BEGIN.as_secs() as i64 + start) as u64))
}

/// The interval in which the clock stands.
fn open(world: &World) -> i64 {
    let seconds = (world.now - BEGIN).as_secs() as i64;
    seconds - seconds % 10
}

/// Waits until the series has the value; how long that took.
#[track_caller]
fn until(world: &mut World, name: &str, start: i64, shown: Shown, most: u64) -> Duration {
    let began = world.now;
    world.run_until(STEP, s(most), |world| value(world, name, start) == Some(shown));
    world.now - began
}

fn owner(world: &World) -> &Process {
    &world.processes[0]
}

#[track_caller]
fn ends_whole(world: &mut World) {
    world.run_until(STEP, s(900), World::is_quiet);
    world.intake.check(&world.log, |_| false);
}

// What is posted, and when.

#[test]
fn an_interval_is_posted_whole_a_grace_after_its_end_and_its_parts_are_merged() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0), ("g:b", 7.0), ("s:u", 1.0), ("h:t", 4.0)]);
    send(&mut world, 2, start, &[("c:a", 6.0), ("s:u", 2.0), ("s:u", 1.0), ("h:t", 8.0)]);
    let took = until(&mut world, "a", start, Shown::Counter(11.0), 20);
    assert!((s(15)..s(16)).contains(&took), "{took:?} after the start");
    assert_eq!(value(&world, "b", start), Some(Shown::Gauge(7.0)));
    assert_eq!(value(&world, "u", start), Some(Shown::Set(2)));
    assert_eq!(value(&world, "t", start), Some(Shown::Histogram(2, 12.0)));
    ends_whole(&mut world);
}

#[test]
fn the_first_part_of_an_interval_that_has_ended_waits_a_grace_for_others() {
    let mut world = one_owner();
    let start = open(&world) - 40;
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    let took = until(&mut world, "a", start, Shown::Counter(5.0), 20);
    assert!((s(5)..s(6)).contains(&took), "{took:?}");
}

#[test]
fn nothing_is_posted_while_no_barrier_comes_back() {
    let mut world = one_owner();
    let start = open(&world);
    world.faults.barriers_lost = 100;
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    let before = owner(&world).barriers;
    world.run_for(STEP, s(35));
    assert_eq!(value(&world, "a", start), None);
    let repeats = owner(&world).barriers - before;
    assert!((8..=11).contains(&repeats), "{repeats} repeats in 20 s");
    world.faults.barriers_lost = 0;
    assert!(until(&mut world, "a", start, Shown::Counter(5.0), 5) < s(3));
}

#[test]
fn an_idle_partition_gets_no_barrier_and_a_busy_one_two_an_interval_at_most() {
    let mut world = one_owner();
    world.run_for(STEP, s(300));
    assert_eq!(owner(&world).barriers, 0, "nothing is open");
    for _ in 0..30 {
        let start = open(&world);
        send(&mut world, 1, start, &[("g:b", 1.0)]);
        world.run_for(STEP, s(10));
    }
    let busy = owner(&world).barriers;
    assert!((29..=60).contains(&busy), "{busy} in 30 intervals");
    world.run_for(STEP, s(200));
    let settled = owner(&world).barriers;
    world.run_for(STEP, s(600));
    assert_eq!(owner(&world).barriers, settled, "idle again");
    let end = world.log.end(0);
    assert_eq!(world.group.committed[&0], end - 1, "all but the last barrier is committed");
}

#[test]
fn a_later_part_of_an_open_interval_posts_the_whole_value_again_after_a_second() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0), ("c:b", 1.0)]);
    until(&mut world, "a", start, Shown::Counter(5.0), 20);
    let before = world.intake.writes;
    send(&mut world, 2, start, &[("c:a", 6.0)]);
    send(&mut world, 3, start, &[("c:a", 7.0)]);
    let took = until(&mut world, "a", start, Shown::Counter(18.0), 5);
    assert!((s(1)..s(2)).contains(&took), "{took:?}");
    assert_eq!(world.intake.writes - before, 1, "both in one, and only the series they touch");
    assert_eq!(owner(&world).owner.accounting().corrections, 1);
}

#[test]
fn of_two_kinds_of_one_series_the_later_written_is_posted_and_the_other_counted() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0), ("g:a", 9.0)]);
    until(&mut world, "a", start, Shown::Gauge(9.0), 20);
    assert_eq!(owner(&world).owner.accounting().type_conflicts, 1);
}

#[test]
fn an_idle_counter_is_zero_for_300_seconds_and_a_late_part_overwrites_a_zero() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0), ("g:b", 7.0)]);
    until(&mut world, "a", start, Shown::Counter(5.0), 20);
    until(&mut world, "a", start + 10, Shown::Zero, 20);
    send(&mut world, 1, start + 10, &[("c:a", 3.0)]);
    until(&mut world, "a", start + 10, Shown::Counter(3.0), 10);
    world.run_for(STEP, s(500));
    assert_eq!(value(&world, "a", start + 310), Some(Shown::Zero), "300 s after the last value");
    assert_eq!(value(&world, "a", start + 320), None);
    assert_eq!(value(&world, "b", start + 10), None, "only counters have zeros");
    ends_whole(&mut world);
}

#[test]
fn an_interval_settles_after_its_delivery_and_only_then_is_it_committed() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("g:a", 5.0)]);
    world.intake.down_until = world.now + s(200);
    world.run_for(STEP, s(199));
    assert_eq!(world.group.committed.get(&0), Some(&0), "not delivered, so not committed");
    ends_whole(&mut world);
    world.run_for(STEP, s(30));
    assert!(world.group.committed[&0] > 0);
}

// The rows of the failure matrix that an owner sees.

#[test]
fn when_an_owner_is_killed_its_successor_posts_what_was_not_settled() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    until(&mut world, "a", start, Shown::Counter(5.0), 20);
    send(&mut world, 1, start + 10, &[("c:a", 6.0)]);
    world.kill(0);
    world.start(0);
    send(&mut world, 2, start, &[("c:a", 1.0)]);
    let took = until(&mut world, "a", start, Shown::Counter(6.0), 30);
    assert!(took < s(10 + 4 + 5 + 3), "session, hand-over, grace: {took:?}");
    until(&mut world, "a", start + 10, Shown::Counter(6.0), 20);
    ends_whole(&mut world);
}

#[test]
fn an_owner_stopped_past_its_session_posts_nothing_when_it_goes_on() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    world.run_for(STEP, s(14));
    // It has merged 5, its post is due in a second, and a correction comes while it is stopped.
    world.processes[0].stalled_until = world.now + s(40);
    world.start(0);
    send(&mut world, 2, start, &[("c:a", 6.0)]);
    until(&mut world, "a", start, Shown::Counter(11.0), 39);
    let writes = world.intake.writes;
    world.run_until(STEP, s(30), |world| world.processes[0].stalled_until <= world.now);
    world.run_for(STEP, s(5));
    let zeros = world.intake.shown().filter(|(_, shown)| *shown == Shown::Zero).count() as u64;
    assert!(world.intake.writes - writes <= zeros, "no value again from the old one");
    ends_whole(&mut world);
}

#[test]
fn values_wait_for_an_acknowledged_commit_and_a_failed_one_forgets_nothing() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("g:a", 5.0)]);
    world.run_for(STEP, s(9));
    world.faults.commits_refused = 100;
    world.run_for(STEP, s(30));
    assert_eq!(value(&world, "a", start), None, "the lease has ended");
    assert_eq!(owner(&world).owner.accounting().fenced, 1);
    world.faults.commits_refused = 0;
    let took = until(&mut world, "a", start, Shown::Gauge(5.0), 10);
    assert!(took < s(5), "{took:?}");
    assert_eq!(owner(&world).owner.accounting().merged.parts, 1, "nothing was read twice");
}

#[test]
fn a_partition_that_moves_to_a_new_owner_is_posted_within_five_seconds_and_a_grace() {
    let mut world = with_settings(settings(2));
    let start = open(&world);
    let mut part = head(1, start, 0);
    (part.partition, part.partitions) = (1, 2);
    let second = Head { partition: 0, ..part.clone() };
    send_as(&mut world, part, &[("c:a", 5.0)]);
    send_as(&mut world, second, &[("c:b", 6.0)]);
    world.run_for(STEP, s(5));
    world.start(0);
    world.run_for(STEP, s(5));
    assert!(
        world.processes.iter().all(|process| process.partitions().len() == 1),
        "it is balanced"
    );
    let took = until(&mut world, "a", start, Shown::Counter(5.0), 10);
    assert!(took < s(8), "{took:?} after the interval's end");
    until(&mut world, "b", start, Shown::Counter(6.0), 5);
    ends_whole(&mut world);
}

#[test]
fn a_stopped_owner_leaves_at_once_and_posts_nothing_partial() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    world.run_for(STEP, s(3));
    let stopped = world.stop(0);
    assert!(stopped.partitions().len() == 1 && value(&world, "a", start).is_none());
    send(&mut world, 2, start, &[("c:a", 6.0)]);
    world.start(0);
    let took = until(&mut world, "a", start, Shown::Counter(11.0), 20);
    assert!(took < s(15), "{took:?}");
    ends_whole(&mut world);
}

#[test]
fn after_half_an_hour_without_any_owner_every_interval_is_posted() {
    let mut world = one_owner();
    world.kill(0);
    for _ in 0..180 {
        let start = open(&world);
        send(&mut world, 1, start, &[("c:a", start as f64), ("g:b", 1.0)]);
        send(&mut world, 2, start, &[("c:a", 1.0)]);
        world.run_for(s(1), s(10));
    }
    world.start(0);
    ends_whole(&mut world);
    let accounting = owner(&world).owner.accounting();
    assert_eq!((accounting.merged.parts, accounting.late.parts), (360, 0));
}

#[test]
fn while_the_brokers_are_away_nothing_is_posted_and_afterwards_all() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    world.run_for(STEP, s(8));
    world.log_down_until = world.now + s(60);
    world.run_for(STEP, s(59));
    assert_eq!(value(&world, "a", start), None);
    send(&mut world, 2, start, &[("c:a", 6.0)]);
    until(&mut world, "a", start, Shown::Counter(11.0), 20);
    ends_whole(&mut world);
}

#[test]
fn a_sender_cut_off_for_ten_minutes_is_repaired_within_30_seconds_of_its_return() {
    let mut world = one_owner();
    let first = open(&world);
    for _ in 0..60 {
        let start = open(&world);
        send(&mut world, 1, start, &[("c:a", 5.0), ("c:other", 1.0)]);
        world.run_for(STEP, s(10));
    }
    for start in (first..open(&world)).step_by(10) {
        send(&mut world, 2, start, &[("c:a", 6.0)]);
    }
    let back = world.now;
    for start in (first..open(&world)).step_by(10) {
        until(&mut world, "a", start, Shown::Counter(11.0), 30);
    }
    assert!(world.now - back <= s(30), "{:?}", world.now - back);
    ends_whole(&mut world);
    let accounting = owner(&world).owner.accounting();
    assert!((50..=55).contains(&accounting.late_repaired.parts), "{accounting:?}");
    assert_eq!(accounting.repairs, 1, "all in one pass");
}

#[test]
fn a_late_part_that_is_not_found_again_is_not_posted() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    world.run_for(STEP, s(120));
    send(&mut world, 2, start, &[("c:a", 6.0)]);
    world.run_for(STEP, s(2));
    // The log loses it, as a disk might.
    let last = world.log.end(0) as usize - 1;
    let records = world.log.records.get_mut(&0).expect("records");
    let at = (0..=last).rfind(|at| records[*at].1.len() > 40).expect("the part");
    records[at].1 = b"nothing".to_vec();
    world.run_for(STEP, s(60));
    assert_eq!(value(&world, "a", start), Some(Shown::Counter(5.0)), "not 11, and never 6");
    let accounting = owner(&world).owner.accounting();
    assert_eq!((accounting.late_unrepaired.parts, accounting.repairs), (1, 3));
    assert!(owner(&world).notices.contains(&Notice::RepairFailed { partition: 0, parts: 1 }));
    assert!(world.group.committed[&0] > at as i64, "it holds nothing back");
}

#[test]
fn a_late_part_beyond_the_age_limit_is_counted_and_not_posted() {
    let mut world = one_owner();
    let start = open(&world) - 3_320;
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    world.run_for(STEP, s(60));
    assert_eq!(value(&world, "a", start), None);
    assert_eq!(owner(&world).owner.accounting().too_old.parts, 1);
}

#[test]
fn an_intake_that_was_away_for_an_hour_gets_all_that_it_may_still_take() {
    let mut chosen = settings(1);
    chosen.memory_max = 40_000;
    let mut world = with_settings(chosen);
    world.intake.down_until = world.now + s(3_000);
    for _ in 0..300 {
        let start = open(&world);
        send(&mut world, 1, start, &[("c:a", 5.0), ("s:b", 1.0)]);
        world.run_for(s(1), s(10));
    }
    let gauges = owner(&world).owner.gauges(owner(&world).now(world.now));
    assert!(gauges.memory_bytes < 50_000, "it paused: {gauges:?}");
    ends_whole(&mut world);
}

#[test]
fn a_sender_whose_clock_is_five_minutes_behind_is_repaired_and_named() {
    let mut world = one_owner();
    for _ in 0..40 {
        let start = open(&world);
        send(&mut world, 1, start, &[("c:a", 5.0)]);
        let behind =
            Head { built_ms: (world.now - s(300)).as_millis() as u64, ..head(2, start - 300, 0) };
        send_as(&mut world, behind, &[("c:a", 6.0)]);
        world.run_for(STEP, s(10));
    }
    ends_whole(&mut world);
    let skewed = owner(&world).notices.iter().any(|notice| {
        matches!(notice, Notice::SenderSkewed { host, skew } if host == "host-2" && (*skew + 300.0).abs() < 5.0)
    });
    assert!(skewed, "{:?}", owner(&world).notices);
    assert!(owner(&world).owner.accounting().late_repaired.parts >= 9);
}

#[test]
fn a_sender_whose_clock_is_five_minutes_ahead_is_held_until_its_interval_ends() {
    let mut world = one_owner();
    let start = open(&world) + 300;
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    world.run_for(STEP, s(300));
    assert_eq!(value(&world, "a", start), None);
    send(&mut world, 2, start, &[("c:a", 6.0)]);
    // Its owner is replaced meanwhile: the next one holds it too.
    world.kill(0);
    world.start(0);
    until(&mut world, "a", start, Shown::Counter(11.0), 60);
    world.run_for(STEP, s(100));
    // And a late part of it finds the one that came before the interval began.
    send(&mut world, 3, start, &[("c:a", 7.0)]);
    until(&mut world, "a", start, Shown::Counter(18.0), 30);
    ends_whole(&mut world);
    assert_eq!(owner(&world).owner.accounting().late_repaired.parts, 1);
}

#[test]
fn a_part_of_a_future_beyond_ten_minutes_is_refused() {
    let mut world = one_owner();
    let start = open(&world) + 620;
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    world.run_for(STEP, s(1));
    assert_eq!(owner(&world).owner.accounting().refused["future"].parts, 1);
    assert!(matches!(
        &owner(&world).notices[..],
        [Notice::SenderRefused { host, why: Differs::Future { ahead: 600..=640 } }] if host == "host-1"
    ));
}

#[test]
fn a_record_twice_or_out_of_order_changes_nothing() {
    let mut world = one_owner();
    let start = open(&world);
    send_as(&mut world, head(1, start, 1), &[("c:a", 6.0)]);
    send_as(&mut world, head(1, start, 0), &[("c:a", 5.0)]);
    send_as(&mut world, head(1, start, 1), &[("c:a", 6.0)]);
    until(&mut world, "a", start, Shown::Counter(11.0), 20);
    // Also long after it was settled, from the spool of a sender that never heard of it.
    world.run_for(STEP, s(120));
    send_as(&mut world, head(1, start, 0), &[("c:a", 5.0)]);
    world.run_for(STEP, s(30));
    assert_eq!(value(&world, "a", start), Some(Shown::Counter(11.0)));
    let accounting = owner(&world).owner.accounting();
    assert_eq!((accounting.duplicate.parts, accounting.late_repaired.parts), (1, 1));
    assert!(accounting.balances());
}

#[test]
fn garbage_and_parts_of_other_settings_are_refused_by_reason_and_harm_nobody() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    let list = cells(&[("c:a", 1.0)]);
    let sound = encode(&head(9, start, 0), &list);
    let mut broken = sound.clone();
    *broken.last_mut().expect("bytes") ^= 1;
    let other = |change: fn(&mut Head)| {
        let mut head = head(9, start, 0);
        change(&mut head);
        encode(&head, &list)
    };
    let records = [
        ("magic", Vec::new()),
        ("magic", b"hello".to_vec()),
        ("crc", broken),
        ("partition", other(|head| head.partitions = 2)),
        ("interval", other(|head| head.interval = 20)),
        ("interval", other(|head| head.start += 1)),
    ];
    for (_, record) in &records {
        world.log.append(0, world.now, record.clone());
    }
    until(&mut world, "a", start, Shown::Counter(5.0), 20);
    let accounting = owner(&world).owner.accounting();
    let counts: Vec<_> =
        accounting.refused.iter().map(|(word, count)| (*word, count.parts)).collect();
    assert_eq!(counts, [("crc", 1), ("interval", 2), ("magic", 2), ("partition", 1)]);
    let said: Vec<_> = owner(&world)
        .notices
        .iter()
        .map(|notice| match notice {
            Notice::SenderRefused { host, why } if host == "host-9" => why.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        said,
        [
            "its global_partitions is 2, here it is 1; set the same on both",
            "its interval is 20 s, here it is 10 s; set the same on both",
        ],
        "the second one of a reason is not said"
    );
    assert!(accounting.balances());
    let mut of_senders: Vec<u64> =
        owner(&world).owner.senders().map(|(_, row)| row.refused_parts).collect();
    of_senders.sort_unstable();
    assert_eq!(of_senders, [0, 3], "of the one that belongs here and of the other");
    ends_whole(&mut world);
}

/// A sound record of format 2.
fn newer_format() -> Vec<u8> {
    let mut record = encode(&head(9, 0, 0), &cells(&[("c:a", 1.0)]));
    record[2] = 2;
    record
}

#[test]
fn a_record_of_a_newer_format_holds_its_partition_until_it_may_be_skipped() {
    for skip in [false, true] {
        let mut chosen = settings(1);
        chosen.skip_unknown = skip;
        let mut world = with_settings(chosen);
        let start = open(&world);
        let at = world.log.append(0, world.now, newer_format());
        send(&mut world, 1, start, &[("c:a", 5.0)]);
        world.run_for(STEP, s(150));
        let process = owner(&world);
        let gauges = process.owner.gauges(process.now(world.now));
        let posted = value(&world, "a", start).is_some();
        assert_eq!((gauges.partitions_held, posted), (usize::from(!skip), skip));
        let held = process.notices.contains(&Notice::Held { partition: 0, offset: at });
        assert_eq!(held, !skip);
        let committed = world.group.committed.get(&0).copied().unwrap_or(0);
        assert_eq!(committed > at, skip, "{committed}");
        assert_eq!(process.owner.accounting().refused.contains_key("format"), skip);
        assert!(process.owner.accounting().balances());
    }
}

#[test]
fn a_restart_of_a_sender_inside_an_interval_adds_up() {
    let mut world = one_owner();
    let start = open(&world);
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    send(&mut world, 2, start, &[("c:a", 6.0)]);
    until(&mut world, "a", start, Shown::Counter(11.0), 20);
}

#[test]
fn barriers_of_strangers_are_skipped_and_an_absurd_one_stops_nothing() {
    let mut world = one_owner();
    let start = open(&world);
    for number in [0, 7, u64::MAX] {
        let record = encode_barrier(&Barrier { owner: [8; 16], number });
        world.log.append(0, world.now, record);
    }
    send(&mut world, 1, start, &[("c:a", 5.0)]);
    until(&mut world, "a", start, Shown::Counter(5.0), 20);
    assert_eq!(owner(&world).owner.accounting().read.parts, 1, "barriers are no parts");
    assert_eq!(owner(&world).owner.accounting().late.parts, 0);
}

// Memory.

#[test]
fn a_backlog_larger_than_memory_is_read_in_pieces_and_ends_exact() {
    let mut chosen = settings(1);
    chosen.memory_max = 60_000;
    let mut world = with_settings(chosen);
    world.kill(0);
    for _ in 0..60 {
        let start = open(&world);
        for sender in 1..4 {
            let names: Vec<String> = (0..20).map(|number| format!("c:{number}")).collect();
            let list: Vec<(&str, f64)> =
                names.iter().map(|name| (name.as_str(), f64::from(sender))).collect();
            send(&mut world, sender, start, &list);
        }
        world.run_for(s(5), s(10));
    }
    world.start(0);
    let mut most = 0;
    for _ in 0..3_000 {
        world.step(STEP);
        let process = owner(&world);
        most = most.max(process.owner.gauges(process.now(world.now)).memory_bytes);
    }
    assert!(most < 100_000, "{most} bytes");
    ends_whole(&mut world);
    let accounting = owner(&world).owner.accounting();
    assert!(accounting.given_to_repair > 0 && accounting.late_repaired.parts > 0, "{accounting:?}");
    assert!(
        owner(&world).notices.iter().any(|notice| matches!(notice, Notice::MemoryPaused { .. }))
    );
}

// One owner alone, event by event.

struct Alone(super::Owner);

impl Alone {
    /// Seconds since the beginning, on both clocks; what it asks for.
    fn tell(&mut self, second: u64, event: Event<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        let now = super::Now { wall: BEGIN + s(second), monotonic: s(second) };
        self.0.handle(event, now, &mut out);
        out
    }
}

#[test]
fn an_answer_to_a_commit_that_is_read_after_a_stall_is_no_proof_of_ownership() {
    let mut owner = Alone(super::Owner::new(settings(1), [1; 16]));
    let committed = Event::Committed { partition: 0, offset: 0, acknowledged: true };
    owner.tell(0, Event::Assigned { partition: 0, from: Some(0) });
    let first = owner.tell(0, Event::Tick);
    assert!(matches!(first[..], [Action::Commit { partition: 0, offset: 0 }]), "{first:?}");
    let part = encode(&head(1, 0, 0), &cells(&[("c:a", 5.0)]));
    owner.tell(1, Event::Record { partition: 0, offset: 0, bytes: &part });
    let asked = owner.tell(15, Event::Tick);
    let barrier = asked.into_iter().find_map(|action| match action {
        Action::Barrier { record, .. } => Some(record),
        _ => None,
    });
    let barrier = barrier.expect("a barrier, 5 s after the end");
    owner.tell(15, Event::Record { partition: 0, offset: 1, bytes: &barrier });
    // Everything is ready, but the answer is that to the commit of 15 s ago.
    owner.tell(15, committed);
    let posts = |out: Vec<Action>| out.iter().any(|action| matches!(action, Action::Post(_)));
    assert!(!posts(owner.tell(15, Event::Tick)));
    assert_eq!(owner.0.accounting().fenced, 1);
    // The one to the commit that was just sent proves it.
    owner.tell(16, committed);
    assert!(posts(owner.tell(16, Event::Tick)));
}

#[test]
fn a_refused_commit_renews_nothing() {
    let mut owner = Alone(super::Owner::new(settings(1), [1; 16]));
    owner.tell(0, Event::Assigned { partition: 0, from: Some(0) });
    owner.tell(0, Event::Tick);
    let refused = Event::Committed { partition: 0, offset: 0, acknowledged: false };
    owner.tell(0, refused);
    let part = encode(&head(1, -20, 0), &cells(&[("c:a", 5.0)]));
    owner.tell(0, Event::Record { partition: 0, offset: 0, bytes: &part });
    let asked = owner.tell(5, Event::Tick);
    let record = asked.iter().find_map(|action| match action {
        Action::Barrier { record, .. } => Some(record),
        _ => None,
    });
    owner.tell(5, Event::Record { partition: 0, offset: 1, bytes: record.expect("a barrier") });
    owner.tell(5, refused);
    owner.tell(5, Event::Tick);
    let accounting = owner.0.accounting();
    assert_eq!((accounting.fenced, accounting.merged.parts), (1, 1), "nothing left, nothing lost");
}
