//! A seeded simulation of owners, log, group, senders and intake: thousands of schedules of crashes, stalls,
//! hand-overs, lost commits, late, doubled and skewed senders, and an intake that fails, delays and times
//! out; each held against a slow model of what was sent.
//!
//! `make simulate SEEDS=20000` runs that many; `SIMULATION_SEED=7 make simulate` runs one.

pub(super) mod group;
pub(super) mod intake;
pub(super) mod log;
pub(super) mod process;
pub(super) mod random;
pub(super) mod schedule;
pub(super) mod sender;
pub(super) mod world;

use std::time::Instant;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn any_schedule_of_faults_ends_with_the_sum_of_what_was_sent() {
    let first = number("SIMULATION_SEED");
    let count = number("SIMULATION_SEEDS").unwrap_or(300);
    let seeds = first.map_or(0..count, |seed| seed..seed + 1);
    let began = Instant::now();
    let outcome =
        seeds.clone().map(schedule::run).fold(schedule::Outcome::default(), schedule::Outcome::sum);
    eprintln!("seeds {seeds:?} in {:.1} s: {outcome:?}", began.elapsed().as_secs_f64());
    if first.is_none() && count >= 300 {
        let all = [
            outcome.writes,
            outcome.repaired,
            outcome.fenced,
            outcome.corrections,
            outcome.given_to_repair,
            outcome.duplicates,
            outcome.too_old,
            outcome.zeros,
        ];
        assert!(all.iter().all(|count| *count > 0), "a fault never happens: {outcome:?}");
    }
}
