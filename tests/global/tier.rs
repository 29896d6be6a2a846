//! Senders, brokers, owners and an intake: the totals at the intake are what was sent.

use super::cluster::{Cluster, PARTITIONS, cells};
use super::traffic::Traffic;
use crate::support::intake::{Intake, State};
use crate::support::program::{Program, Setup, eventually};
use std::time::Duration;

/// Where the values of the second tier go.
const OTHER: &str = "other-tier";

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

/// Another topic is another tier, also on the same brokers and with the same group.
#[test]
fn tiers_on_the_same_brokers_do_not_mix() {
    let (cluster, intake, other_intake) = (Cluster::start(), Intake::start(), Intake::start());
    cluster.create(OTHER, PARTITIONS);
    let other = |setup: Setup| setup.env("WHIPPET_GLOBAL_TOPIC", OTHER);
    let owner = cluster.owner(Setup::posting_to(&intake)).start();
    let other_owner = other(cluster.owner(Setup::posting_to(&other_intake))).start();
    for owner in [&owner, &other_owner] {
        eventually(SECOND * 60, "an owner", || owns(owner));
    }
    let (sender, other_sender) = (cluster.sender().start(), other(cluster.sender()).start());
    for number in 0..20 {
        sender.udp(format!("g.n{number}:1|c"));
        other_sender.udp(format!("g.n{number}:100|c"));
    }
    for sender in [sender, other_sender] {
        assert_eq!(cells(&sender.end()).acked, 20);
    }
    for (intake, value) in [(&intake, 1.0), (&other_intake, 100.0)] {
        let sum = |state: &State, number| state.sum_of_counter(&format!("g.n{number}"), &[]);
        let all = |state: &State| (0..20).all(|number| sum(state, number) > 0.0);
        eventually(SECOND * 60, "every series", || intake.read(all));
        intake.read(|state| (0..20).for_each(|number| assert_eq!(sum(state, number), value)));
    }
}
