//! Senders, brokers, owners and an intake: the totals at the intake are what was sent.

use super::cluster::Cluster;
use super::traffic::Traffic;
use crate::support::intake::{Intake, State};
use crate::support::program::{Program, Setup, eventually};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// How many partitions its log says it owns.
fn owns(program: &Program) -> bool {
    program.log().contains("owner: partitions ")
}

#[test]
fn an_owner_that_is_killed_is_replaced_and_nothing_is_lost_or_doubled() {
    let (cluster, intake) = (Cluster::start(), Intake::start());
    let owner = || cluster.owner(Setup::posting_to(&intake)).start();
    let first = owner();
    let mut traffic = Traffic::start(&cluster);
    eventually(SECOND * 30, "an owner of everything", || owns(&first));
    traffic.send(10);
    let second = owner();
    eventually(SECOND * 30, "a second owner", || {
        traffic.send(1);
        owns(&second)
    });
    traffic.send(10);
    first.signal("KILL");
    first.wait();
    traffic.send(15);
    let sent = traffic.end();
    let all =
        |state: &State| sent.iter().all(|(name, sum)| state.sum_of_counter(name, &[]) >= *sum);
    eventually(SECOND * 60, "every value at the intake", || intake.read(all));
    // Once the owner has ended nothing can be added.
    let log = second.end();
    intake.read(|state| {
        for (name, sum) in &sent {
            assert_eq!(state.sum_of_counter(name, &[]), *sum, "{name}");
        }
    });
    assert!(log.lines().any(|line| line.starts_with("parts ")), "{log}");
}
