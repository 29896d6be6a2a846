//! Whether the figures of a run can be trusted, and what limited it. Pure functions of a run.

use super::report::{Limit, Run};

/// A run must use at least so much CPU of the server: 50 ticks of the usual 10 ms.
const CPU_SECONDS_MIN: f64 = 0.5;

/// Below this, start-up and the last flush weigh too much.
const SECONDS_MIN: f64 = 2.0;

/// A side of the run is busy from this percentage of its core on.
const BUSY_PERCENT: f64 = 90.0;

/// Above this percentage of the run, waiting for a processor is more than an occasional kernel
/// thread.
const WAITED_PERCENT: f64 = 5.0;

/// Share of the offered datagrams that must have been sent for a rate to count as kept.
const KEPT: f64 = 0.995;

/// Where the load was blocked or lost.
pub fn limit(run: &Run) -> Limit {
    let lines_lost = run
        .server_counts
        .is_some_and(|counts| counts.received + lines_dropped_by_kernel(run) < run.sent.lines);
    if run.kernel_dropped_measured.unwrap_or(0) > 0 || lines_lost {
        Limit::Loss
    } else if (run.measured.datagrams as f64) < run.offered_datagrams as f64 * KEPT {
        if run.generator.cpu_percent >= BUSY_PERCENT {
            Limit::Generator
        } else {
            Limit::BackPressure
        }
    } else {
        Limit::None
    }
}

/// True when the flushed sums differ although nothing was lost on the way.
pub fn sums_differ(run: &Run) -> bool {
    run.kernel_dropped.unwrap_or(0) == 0 && run.check.as_ref().is_some_and(|c| !c.total_exact())
}

/// Everything worth a warning, most serious first.
pub fn warnings(run: &Run) -> Vec<String> {
    let found = [
        differing(run),
        dropped(run),
        behind_schedule(run),
        idle_server(run),
        waited_for_cpu(run),
        short(run),
        lost(run),
        refused(run),
    ];
    found.into_iter().flatten().collect()
}

fn differing(run: &Run) -> Option<String> {
    let check = run.check.as_ref().filter(|_| sums_differ(run))?;
    Some(format!(
        "flushed counters sum to {} but {} was sent, and nothing was dropped",
        check.flushed, check.sent
    ))
}

fn dropped(run: &Run) -> Option<String> {
    let dropped = run.kernel_dropped.filter(|&dropped| dropped > 0)?;
    let share = 100.0 * dropped as f64 / run.sent.datagrams.max(1) as f64;
    Some(format!(
        "the kernel dropped {dropped} datagrams ({share:.1} %): the server's receive buffer was full; \
         lower the rate, use a Unix socket, or let the server have more: sysctl -w net.core.rmem_max=4194304"
    ))
}

fn behind_schedule(run: &Run) -> Option<String> {
    let kept = 100.0 * run.measured.datagrams as f64 / run.offered_datagrams.max(1) as f64;
    let rate = run.measured.lines as f64 / run.seconds.max(f64::MIN_POSITIVE);
    match limit(run) {
        Limit::Generator => Some(format!(
            "the generator was the limit: it sent {kept:.1} % of the scheduled load ({rate:.0} lines/s) with \
             its core full; add --senders and processors, or lower the rate"
        )),
        Limit::BackPressure => Some(format!(
            "the socket blocked the generator: {kept:.1} % of the scheduled load was sent ({rate:.0} lines/s)"
        )),
        Limit::Loss | Limit::None => None,
    }
}

fn idle_server(run: &Run) -> Option<String> {
    let cpu = run.cpu?;
    let percent = 100.0 * cpu.seconds / run.seconds.max(f64::MIN_POSITIVE);
    let unlimited = run.generator.late.is_none();
    let generator_full = run.generator.cpu_percent >= BUSY_PERCENT;
    (unlimited && generator_full && percent < BUSY_PERCENT && run.kernel_dropped_measured == Some(0)).then(|| {
        format!(
            "the generator was the limit: its core was full while the server used {percent:.0} % of one; \
             the figures show the cost at this rate, not the capacity of the server"
        )
    })
}

fn waited_for_cpu(run: &Run) -> Option<String> {
    let waited = 100.0 * run.cpu?.waited_seconds / run.seconds.max(f64::MIN_POSITIVE);
    (waited > WAITED_PERCENT).then(|| {
        format!(
            "the server's threads waited for a processor for {waited:.0} % of the time, taken by other work \
             or by each other: its costs are higher than on a free processor"
        )
    })
}

fn short(run: &Run) -> Option<String> {
    if run.seconds < SECONDS_MIN {
        return Some(format!(
            "only {:.2} s were measured; use at least {SECONDS_MIN:.0} s",
            run.seconds
        ));
    }
    let seconds = run.cpu.map(|cpu| cpu.seconds).filter(|&seconds| seconds < CPU_SECONDS_MIN)?;
    Some(format!(
        "the server used only {seconds:.2} s of CPU; raise --rate or --duration until it is over {CPU_SECONDS_MIN} s"
    ))
}

/// Lines that datagrams dropped by the kernel held, by the mean: only their number is known.
fn lines_dropped_by_kernel(run: &Run) -> u64 {
    let per_datagram = run.sent.lines as f64 / run.sent.datagrams.max(1) as f64;
    (run.kernel_dropped.unwrap_or(0) as f64 * per_datagram).ceil() as u64
}

fn lost(run: &Run) -> Option<String> {
    let counts = run.server_counts?;
    if run.kernel_dropped.unwrap_or(0) == 0 && counts.received != run.sent.lines {
        return Some(format!(
            "{} lines were sent and {} received, and the kernel dropped none of them",
            run.sent.lines, counts.received
        ));
    }
    (counts.received != counts.recorded + counts.refused + counts.dropped)
        .then(|| "the server's line counts do not add up".to_owned())
}

fn refused(run: &Run) -> Option<String> {
    let refusals = run.generator.refusals;
    (refusals > 0).then(|| {
        format!(
            "{refusals} sends were refused by the kernel and retried; for a while nothing listened"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::flush_check::FlushCheck;
    use super::super::report::tests::run;
    use super::super::report::{Cpu, Latency};
    use super::super::server_counts::ServerCounts;
    use super::*;

    #[track_caller]
    fn warns(change: impl FnOnce(&mut Run), expect: &[&str], limited: Limit) {
        let mut run = run();
        change(&mut run);
        let got = warnings(&run);
        assert_eq!(got.len(), expect.len(), "{got:#?}");
        for (got, expect) in got.iter().zip(expect) {
            assert!(got.contains(expect), "{got}");
        }
        assert_eq!(limit(&run), limited);
    }

    #[test]
    fn a_sound_run_has_no_warnings() {
        warns(|_| {}, &[], Limit::None);
    }

    #[test]
    fn drops_name_the_remedy() {
        let drop = |run: &mut Run| {
            (run.kernel_dropped, run.kernel_dropped_measured) = (Some(5), Some(5));
        };
        warns(drop, &["sysctl -w net.core.rmem_max=4194304"], Limit::Loss);
    }

    #[test]
    fn a_generator_with_a_full_core_was_the_limit_and_an_idle_one_was_blocked() {
        let behind = |run: &mut Run| run.offered_datagrams *= 2;
        warns(
            |run| {
                behind(run);
                run.generator.cpu_percent = 99.0;
            },
            &["the generator was the limit"],
            Limit::Generator,
        );
        warns(
            |run| {
                behind(run);
                run.generator.cpu_percent = 20.0;
            },
            &["blocked the generator"],
            Limit::BackPressure,
        );
    }

    #[test]
    fn an_unlimited_rate_against_an_idle_server_is_not_its_capacity() {
        let full = |run: &mut Run| {
            run.generator.late = None;
            run.generator.cpu_percent = 99.0;
        };
        warns(full, &["not the capacity"], Limit::None);
        let late = Latency { p50: 1.0, p99: 1.0, p999: 1.0, max: 1.0 };
        warns(
            |run| {
                full(run);
                run.generator.late = Some(late);
            },
            &[],
            Limit::None,
        );
    }

    #[test]
    fn too_little_to_measure() {
        warns(|run| run.seconds = 1.9, &["only 1.90 s were measured"], Limit::None);
        let cpu = |seconds, waited_seconds| Cpu {
            seconds,
            ns_per_line: 1.0,
            ns_per_datagram: 1.0,
            waited_seconds,
            percent: None,
        };
        warns(|run| run.cpu = Some(cpu(0.4, 0.0)), &["only 0.40 s of CPU"], Limit::None);
        warns(|run| run.cpu = Some(cpu(2.0, 1.0)), &["for a processor for 25 %"], Limit::None);
    }

    #[test]
    fn line_counts_must_agree_with_what_was_sent_and_add_up() {
        let counts = |received, recorded| {
            move |run: &mut Run| {
                run.server_counts =
                    Some(ServerCounts { received, recorded, refused: 0, dropped: 0 })
            }
        };
        warns(counts(4_000, 4_000), &[], Limit::None);
        warns(counts(3_999, 3_999), &["4000 lines were sent and 3999 received"], Limit::Loss);
        warns(counts(4_000, 3_999), &["do not add up"], Limit::None);
    }

    #[test]
    fn wrong_sums_come_first_unless_datagrams_were_lost() {
        let wrong = FlushCheck { sent: 10.0, flushed: 9.0, ..FlushCheck::default() };
        warns(
            |run| run.check = Some(wrong.clone()),
            &["flushed counters sum to 9 but 10"],
            Limit::None,
        );
        warns(
            |run| {
                run.check = Some(wrong.clone());
                (run.kernel_dropped, run.kernel_dropped_measured) = (Some(1), Some(1));
            },
            &["kernel dropped"],
            Limit::Loss,
        );
    }

    #[test]
    fn refused_sends_are_reported() {
        warns(|run| run.generator.refusals = 3, &["3 sends were refused"], Limit::None);
    }
}
