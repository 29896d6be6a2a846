//! Who sent a line: the kernel's word, the client's fields, the entity id.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::kubelet::Kubelet;
use super::pods::{CRON, STRANGER, WEB, WEB_UID, cron, list, web};
use super::program::{Origins, Posted, setup};
use crate::support::program::until;

fn in_container(id: &str) -> String {
    format!("0::/kubepods.slice/kubepods-besteffort.slice/cri-containerd-{id}.scope\n")
}

const LOW: [&str; 9] = [
    "kube_namespace:shop",
    "kube_deployment:web",
    "kube_replica_set:web-6d4cf56db6",
    "kube_container_name:main",
    "image_name:ghcr.io/shop/web",
    "short_image:web",
    "image_tag:1.2.3",
    "env:prod",
    "service:shop-web",
];

#[test]
fn the_process_behind_the_socket_is_tagged_as_its_container() {
    let kubelet = Kubelet::start(&list(&[&web()]));
    let program = setup().with(&kubelet).detecting(&in_container(WEB)).start();
    program.unix_datagram("uds.count:1|c|#own:1\nuds.card:1|g|#dd.internal.card:high\nuds.none:1|g|#a,dd.internal.card:none");
    program.unix_datagram(format!("ignored:1|g|c:{CRON}|card:high"));
    program.unix_datagram("_e{5,1}:event|x|#own:1\n_sc|check|0|#own:1");
    program.udp("udp.gauge:1|g|#own:1");
    let low = program.tags("uds.count");
    low.have(&LOW).have(&["own:1"]).lack(&["pod_name", "container_id", "display_container_name"]);
    program.tags("uds.card").have(&LOW).have(&[
        "pod_name:web-6d4cf56db6-x2x9k",
        "kube_ownerref_name:web-6d4cf56db6",
        &format!("container_id:{WEB}"),
        "display_container_name:main_web-6d4cf56db6-x2x9k",
    ]);
    program.tags("uds.none").are(&["a"]);
    // Fields of clients are not honoured unless that is asked for, too.
    assert_eq!(program.tags("ignored").have(&LOW), program.tags("ignored").lack(&["pod_name"]));
    program.tags("event").have(&LOW).have(&["own:1"]);
    program.tags("check").have(&LOW).have(&["own:1"]);
    program.tags("udp.gauge").are(&["own:1"]);
}

#[test]
fn one_line_of_two_containers_is_two_series() {
    let kubelet = Kubelet::start(&list(&[&web(), &cron()]));
    let program = setup().with(&kubelet).detecting(&in_container(WEB)).start();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "origin::senders::another_process", "--ignored"])
        .env("ORIGIN_TEST_SOCKET", program.path("d.sock"))
        .env("ORIGIN_TEST_PROC", program.path("proc"))
        .spawn()
        .unwrap();
    let folder = program.path("proc").join(other.id().to_string());
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("new"), in_container(CRON)).unwrap();
    std::fs::rename(folder.join("new"), folder.join("cgroup")).unwrap();
    program.unix_datagram("hits:1|c");
    assert!(other.wait().unwrap().success());
    for tag in ["kube_deployment:web", "kube_cronjob:nightly"] {
        until(tag, || {
            let rows = program.series("hits");
            let of_tag = rows.iter().filter(|row| row.2.has(tag));
            (of_tag.map(|row| row.1).sum::<f64>() == 1.0).then_some(())
        });
    }
}

/// Not a test: the other process of the one above, which knows its id before it speaks.
#[test]
#[ignore = "run by one_line_of_two_containers_is_two_series"]
fn another_process() {
    let path = |name| std::path::PathBuf::from(std::env::var_os(name).expect("run by its test"));
    let cgroup = path("ORIGIN_TEST_PROC").join(std::process::id().to_string()).join("cgroup");
    until("our control group", || cgroup.exists().then_some(()));
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"hits:1|c", path("ORIGIN_TEST_SOCKET")).unwrap();
}

#[test]
fn fields_of_clients_name_container_pod_and_cardinality() {
    let kubelet = Kubelet::start(&list(&[&web(), &cron()]));
    let program = setup().with(&kubelet).set("dogstatsd_origin_detection_client", true).start();
    program.udp(format!(
        "by.id:1|g|c:{WEB}\nby.prefix:1|g|c:ci-{CRON}|card:ORCHESTRATOR|#dd.internal.card:low\nunknown:1|g|c:{STRANGER}|card:high|#a"
    ));
    program.udp(format!("by.external:1|g|e:it-false,cn-main,pu-{WEB_UID}\nby.entity:1|g|#dd.internal.entity_id:{WEB_UID}"));
    program.tags("by.id").have(&LOW).lack(&["pod_name"]);
    program.tags("by.prefix").have(&[
        "kube_cronjob:nightly",
        "kube_job:nightly-28391040",
        "pod_name:nightly-28391040-abcde",
        "dd.internal.card:low",
    ]);
    program.tags("unknown").are(&["a"]);
    // The older rules know no external data.
    program.tags("by.external").are(&[]);
    program.tags("by.entity").have(&["kube_deployment:web"]).lack(&["kube_container_name"]);
}

#[test]
fn unified_rules_take_the_first_identity_that_is_known() {
    let kubelet = Kubelet::start(&list(&[&web(), &cron()]));
    let program = setup()
        .with(&kubelet)
        .detecting(&in_container(STRANGER))
        .set("dogstatsd_origin_detection_client", true)
        .set("origin_detection_unified", true)
        .start();
    program.unix_datagram(format!("first:1|g|c:{CRON}|e:it-false,cn-main,pu-{WEB_UID}"));
    program.unix_datagram(format!("second:1|g|c:{STRANGER}|e:it-false,cn-main,pu-{WEB_UID}"));
    program.unix_datagram(format!("third:1|g|e:cn-other,pu-{WEB_UID}"));
    program.tags("first").have(&["kube_cronjob:nightly"]).lack(&["kube_deployment"]);
    program.tags("second").have(&["kube_deployment:web", "kube_container_name:main"]);
    program.tags("third").have(&["kube_deployment:web"]).lack(&["kube_container_name"]);
}

#[test]
fn an_entity_id_adds_to_the_sender_or_replaces_it() {
    let kubelet = Kubelet::start(&list(&[&web(), &cron()]));
    let origins = || setup().with(&kubelet).detecting(&in_container(CRON));
    let line = format!("x:1|g|#dd.internal.entity_id:{WEB_UID}");
    let both = origins().start();
    let one = origins().set("dogstatsd_entity_id_precedence", true).start();
    both.unix_datagram(&line);
    one.unix_datagram(&line);
    both.tags("x").have(&["kube_cronjob:nightly", "kube_deployment:web"]);
    one.tags("x").have(&["kube_deployment:web"]).lack(&["kube_cronjob"]);
}

#[test]
fn an_entity_id_works_with_nothing_but_a_kubelet() {
    let kubelet = Kubelet::start(&list(&[&web()]));
    let program = setup().with(&kubelet).start();
    program.udp(format!("x:1|g|#dd.internal.entity_id:{WEB_UID},dd.internal.card:orchestrator"));
    program.tags("x").have(&["pod_name:web-6d4cf56db6-x2x9k", "kube_namespace:shop"]);
}

#[test]
fn an_inode_is_a_container_once_control_groups_were_walked() {
    let kubelet = Kubelet::start(&list(&[&web()]));
    let program = setup().with(&kubelet).set("dogstatsd_origin_detection_client", true).start();
    let group = program.path("cgroup/kubepods.slice").join(format!("cri-containerd-{WEB}.scope"));
    std::fs::create_dir_all(&group).unwrap();
    let inode = std::fs::metadata(&group).unwrap().ino();
    let line = format!("by.inode:1|c|c:in-{inode}");
    program.udp(&line);
    until("tags of the inode", || {
        program.udp(&line);
        std::thread::sleep(std::time::Duration::from_millis(50));
        program.series("by.inode").iter().any(|row| row.2.has("kube_deployment:web")).then_some(())
    });
}

#[test]
fn without_an_orchestrator_a_container_has_its_id() {
    let program =
        setup().detecting(&in_container(WEB)).set("dogstatsd_tag_cardinality", "high").start();
    program.unix_datagram("x:1|g|#a");
    program.tags("x").are(&["a", &format!("container_id:{WEB}")]);
}

#[test]
fn a_process_that_cannot_be_found_costs_its_origin_alone() {
    let setup = setup().detecting(&in_container(WEB));
    std::fs::remove_dir_all(setup.path("proc")).unwrap();
    let program = setup.set("dogstatsd_tag_cardinality", "high").start();
    program.unix_datagram("x:1|g|#a");
    program.tags("x").are(&["a"]);
    program
        .logs("origin of 1 datagrams unknown: the control group of their process cannot be read");
}

#[test]
fn nothing_is_looked_up_while_detection_is_off() {
    let kubelet = Kubelet::start(&list(&[&web()]));
    let program = setup()
        .detecting(&in_container(WEB))
        .with(&kubelet)
        .set("dogstatsd_origin_detection", false)
        .start();
    program.unix_datagram(format!("x:1|g|#a|c:{WEB}|card:high"));
    program.tags("x").are(&["a"]);
}
