//! What is known of workloads, and when: late tags, one identity, configured labels.

use std::thread;
use std::time::Duration;

use super::kubelet::Kubelet;
use super::pods::{CRON, STRANGER, WEB, cron, list, web};
use super::program::{Origins, Posted, setup};
use crate::support::program::until;

#[test]
fn tags_that_come_late_apply_from_then_on_without_double_identities() {
    let kubelet = Kubelet::start(&list(&[]));
    let program = setup().with(&kubelet).set("dogstatsd_origin_detection_client", true).start();
    let send = || {
        program.udp(format!("late:1|c|c:{WEB}\nplain:1|c|#a\nstranger:1|c|c:{STRANGER}|#b"));
        thread::sleep(Duration::from_millis(20));
    };
    send();
    program.tags("late").are(&[]);
    kubelet.answer(&list(&[&web()]));
    let tagged = |name| program.series(name).iter().any(|row| row.2.has("kube_deployment:web"));
    until("the late tags", || {
        send();
        tagged("late").then_some(())
    });
    // What came before and after together, each with one identity: nothing counted twice or lost.
    let first_tagged =
        program.series("late").iter().find(|row| row.2.has("kube_deployment:web")).map(|row| row.0);
    let later = |row: &&(u64, f64, _)| Some(row.0) > first_tagged && row.1 > 0.0;
    until("a bucket after the change", || {
        send();
        program.series("late").iter().any(|row| later(&row)).then_some(())
    });
    assert!(
        program.series("late").iter().filter(later).all(|row| row.2.has("kube_deployment:web"))
    );
    for name in ["plain", "stranger"] {
        let rows = program.series(name);
        let mut seconds: Vec<u64> = rows.iter().map(|row| row.0).collect();
        let all = seconds.len();
        seconds.dedup();
        assert_eq!(seconds.len(), all, "{name} has one identity: {rows:?}");
        assert!(!tagged(name));
    }
}

#[test]
fn labels_annotations_and_the_cluster_become_tags_as_configured() {
    let kubelet = Kubelet::start(&list(&[&web()]));
    let program = setup()
        .with(&kubelet)
        .set("dogstatsd_origin_detection_client", true)
        .set("cluster_name", "east")
        .set("kubernetes_pod_labels_as_tags", r#"{"app":"kube_app","TEAM":"+team"}"#)
        .set("kubernetes_pod_annotations_as_tags", r#"{"example.com/*":"cost_center"}"#)
        .start();
    program.udp(format!("low:1|g|c:{WEB}\nhigh:1|g|c:{WEB}|card:high"));
    let low = ["kube_app:web", "cost_center:c-7", "kube_cluster_name:east", "version:1.2.3"];
    program.tags("low").have(&low).lack(&["team"]);
    program.tags("high").have(&low).have(&["team:blue"]);
}

#[test]
fn a_reload_changes_cardinality_and_keeps_the_tagger() {
    let kubelet = Kubelet::start(&list(&[&cron()]));
    let setup = setup().with(&kubelet).set("dogstatsd_origin_detection_client", true);
    let setup = setup.yaml("dogstatsd_tag_cardinality: low\n");
    let program = setup.start();
    program.udp(format!("before:1|g|c:{CRON}"));
    program.tags("before").have(&["kube_cronjob:nightly"]).lack(&["pod_name"]);
    setup.rewrite("dogstatsd_tag_cardinality: orchestrator\n");
    program.signal("HUP");
    program.logs("configuration reloaded");
    until("the new cardinality", || {
        program.udp(format!("after:1|g|c:{CRON}"));
        thread::sleep(Duration::from_millis(50));
        program
            .series("after")
            .iter()
            .any(|row| row.2.has("pod_name:nightly-28391040-abcde"))
            .then_some(())
    });
}
