//! Restarts inside a bucket: the intake keeps the last write of a series and second, and nothing
//! that was posted may be overwritten by less.

use crate::support::intake::Intake;
use crate::support::program::Setup;
use std::path::PathBuf;

/// Runs that follow each other in one folder, as a service that is restarted.
struct Service {
    intake: Intake,
    first: Setup,
    interval: u64,
}

impl Service {
    fn new(interval: u64) -> Self {
        Service { intake: Intake::start(), first: Setup::bare(), interval }
    }

    fn setup(&self) -> Setup {
        let setup = Setup::posting_to(&self.intake).set("interval", self.interval);
        setup.in_folder_of(&self.first)
    }

    /// One short run; its log.
    fn run(&self, lines: &str) -> String {
        let program = self.setup().start();
        program.udp(lines);
        let ended = program.terminate();
        ended.balances();
        ended.stderr
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = self.first.files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.to_string_lossy().contains("/handover-")).collect()
    }
}

fn conserves_totals(interval: u64, runs: u64) {
    let service = Service::new(interval);
    for run in 1..=runs {
        service.run(&format!("c:{run}|c\nh:1:2:3|h\nd:1:2|d\ng:{run}|g\nonly{run}:1|c"));
    }
    service.intake.read(|state| {
        let runs_float = runs as f64;
        assert_eq!(state.sum_of_counter("c", &[]), (1..=runs).sum::<u64>() as f64);
        assert_eq!(state.sum_of_counter("h.count", &[]), 3.0 * runs_float);
        assert_eq!(state.last_value("g", &[]), Some(runs_float));
        assert_eq!(state.last_value("h.max", &[]), Some(3.0));
        assert_eq!(state.count_of_sketches("d", &[]), 2 * runs as i64);
        for run in 1..=runs {
            assert_eq!(state.sum_of_counter(&format!("only{run}"), &[]), 1.0, "{run}");
        }
    });
}

#[test]
fn thirteen_restarts_at_an_interval_of_a_second_conserve_totals() {
    conserves_totals(1, 13);
}

#[test]
fn runs_that_end_within_the_same_second_of_a_bucket_conserve_totals() {
    conserves_totals(10, 8);
}

/// The next run starts in the second that the last one posted, and goes on for longer.
#[test]
fn zeros_do_not_overwrite_what_the_last_run_posted() {
    let service = Service::new(1);
    for _ in 0..4 {
        service.run("c:5|c");
        let program = service.setup().start();
        program.udp("c:7|c");
        let counts = |state: &crate::support::intake::State| state.points("c", &[]).len();
        let before = service.intake.read(counts);
        // Two more seconds of zeros.
        service.intake.wait_until(|state| counts(state) >= before + 3);
        program.terminate().balances();
    }
    service.intake.read(|state| assert_eq!(state.sum_of_counter("c", &[]), 48.0));
}

#[test]
fn a_damaged_hand_over_is_refused() {
    let service = Service::new(3600);
    service.run("c:1|c");
    let [file] = &service.files()[..] else { panic!("{:?}", service.files()) };
    let mut bytes = std::fs::read(file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let log = service.run("c:1|c");
    assert!(log.contains("it is damaged"), "{log}");
    // It has left a sound one in its place.
    let log = service.run("c:1|c");
    assert!(log.contains("posted 1 metrics of a bucket that is not over"), "{log}");
}

#[test]
fn where_nothing_can_be_written_the_run_says_so() {
    let service = Service::new(3600);
    std::fs::write(service.first.path("run"), "a file in the way").unwrap();
    let log = service.run("c:1|c");
    assert!(log.contains("make run_path writable"), "{log}");
    assert!(service.files().is_empty());
    // Nothing posted, nothing to say.
    let ended = service.setup().start().terminate();
    assert!(!ended.stderr.contains("run_path"), "{}", ended.stderr);
}
