//! Senders, brokers, owners and an intake: the totals at the intake are what was sent.

use super::cluster::{Cluster, PARTITIONS, cells};
use crate::support::intake::Intake;
use crate::support::program::{Program, Setup, eventually};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn owner(cluster: &Cluster, intake: &Intake) -> Program {
    Setup::posting_to(intake)
        .set("interval", 1)
        .env("WHIPPET_GLOBAL_MODE", "own")
        .env("WHIPPET_GLOBAL_BROKERS", cluster.mock.bootstrap_servers())
        .env("WHIPPET_GLOBAL_PARTITIONS", PARTITIONS)
        .env("WHIPPET_GLOBAL_GRACE", "1")
        .env("WHIPPET_GLOBAL_LATE", "5")
        .env("WHIPPET_GLOBAL_SESSION_TIMEOUT", "6")
        .start()
}

/// How many partitions its log says it owns.
fn owns(program: &Program) -> bool {
    program.log().contains("owner: partitions ")
}

#[test]
fn an_owner_that_is_killed_is_replaced_and_nothing_is_lost_or_doubled() {
    let (cluster, intake) = (Cluster::start(), Intake::start());
    let first = owner(&cluster, &intake);
    let senders: Vec<Program> = (0..2).map(|_| cluster.sender().start()).collect();
    let mut rounds = 0;
    let mut send = |count: u32| {
        for _ in 0..count {
            rounds += 1;
            for sender in &senders {
                let lines: Vec<String> = (0..20).map(|n| format!("g.n{n}:1|c|#from:all")).collect();
                sender.udp(lines.join("\n"));
            }
            std::thread::sleep(SECOND / 5);
        }
        rounds
    };
    eventually(SECOND * 30, "an owner of everything", || owns(&first));
    send(10);
    let second = owner(&cluster, &intake);
    eventually(SECOND * 30, "a second owner", || {
        send(1);
        owns(&second)
    });
    send(10);
    first.signal("KILL");
    first.wait();
    let rounds = send(15);
    for sender in senders {
        let balance = cells(&sender.end());
        assert_eq!(balance.acked, balance.encoded);
    }
    let expected = f64::from(rounds * 2);
    let all = |state: &crate::support::intake::State| {
        (0..20).all(|n| state.sum_of_counter(&format!("g.n{n}"), &["from:all"]) >= expected)
    };
    eventually(SECOND * 60, "every value at the intake", || intake.read(all));
    std::thread::sleep(SECOND * 2);
    intake.read(|state| {
        for n in 0..20 {
            assert_eq!(state.sum_of_counter(&format!("g.n{n}"), &["from:all"]), expected, "{n}");
        }
    });
    let log = second.end();
    assert!(log.lines().any(|line| line.starts_with("parts ")), "{log}");
}
