//! The kubelet as a source: trust, tokens, bounds, failures, and what moves the generation.

use std::path::Path;
use std::time::Duration;

use whippet::tagger::{
    Cardinality, Extraction, Identity, Kubelet as Client, KubeletError, KubeletSettings,
    LiveTagger, Tagger, TaggerSettings,
};

use super::kubelet::{Kubelet, TOKEN};
use super::pods::{CRON, STRANGER, WEB, cron, list, web, web_of};
use super::program::{Origins, Posted, setup};
use crate::support::program::until;

fn error(settings: KubeletSettings) -> KubeletError {
    Client::new(settings).pods().expect_err("no pods")
}

#[test]
fn a_certificate_is_trusted_only_with_its_authority_or_without_verification() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(&list(&[&web(), &cron()]));
    let settings = kubelet.settings(folder.path());
    assert_eq!(Client::new(settings.clone()).pods().unwrap().len(), 2);
    let other = tempfile::tempdir().unwrap();
    let stranger = Kubelet::start("").settings(other.path());
    let untrusted = KubeletSettings { ca_path: stranger.ca_path, ..settings.clone() };
    assert!(matches!(error(untrusted.clone()), KubeletError::Unreachable(_)));
    assert_eq!(kubelet.requests(), 1, "the token is not sent to an untrusted server");
    let unverified = KubeletSettings { tls_verify: false, ..untrusted };
    assert_eq!(Client::new(unverified).pods().unwrap().len(), 2);
}

#[test]
fn a_token_is_read_again_for_every_question() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(&list(&[&web()]));
    let settings = kubelet.settings(folder.path());
    let mut client = Client::new(settings.clone());
    assert!(client.pods().is_ok());
    kubelet.demand("renewed");
    let refused = client.pods().expect_err("the old token").to_string();
    assert!(refused.contains("401") && refused.contains("kubelet_auth_token_path"), "{refused}");
    std::fs::write(settings.token_path.unwrap(), "renewed").unwrap();
    assert!(client.pods().is_ok());
}

#[test]
fn an_answer_that_is_too_long_or_no_list_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(r#"{"kind":"Status","status":"Failure"}"#);
    let settings = kubelet.settings(folder.path());
    assert!(matches!(error(settings.clone()), KubeletError::Unreadable(_)));
    kubelet.answer(&" ".repeat((32 << 20) + 1));
    assert!(matches!(error(settings.clone()), KubeletError::TooLong));
    let unreachable = KubeletSettings { port: closed_port(), ..settings };
    assert!(matches!(error(unreachable), KubeletError::Unreachable(_)));
}

fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn live(kubelet: &Kubelet, folder: &Path) -> LiveTagger {
    let tagger = LiveTagger::start(TaggerSettings {
        kubelet: Some(kubelet.settings(folder)),
        cgroup_root: folder.join("none"),
        extraction: Extraction::new("", &[("team".to_owned(), "team".to_owned())], &[]),
    });
    let tagger = tagger.unwrap();
    assert!(tagger.wait_ready(Duration::from_secs(10)));
    tagger
}

/// Waits until the kubelet was asked once more after now, which an unknown identity hastens.
fn next_reading(kubelet: &Kubelet, tagger: &LiveTagger) {
    // One reading may be on its way with the old answer.
    let enough = kubelet.requests() + 2;
    until("the next reading", || {
        assert!(tagger.tags(Identity::Pod(b"nobody"), Cardinality::Low).is_none());
        (kubelet.requests() >= enough).then_some(())
    });
}

#[test]
fn only_answers_that_were_given_move_the_generation() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(&list(&[&web()]));
    let tagger = live(&kubelet, folder.path());
    let has = |id: &str, tag: &str| {
        let tags = tagger.tags(Identity::Container(id.as_bytes()), Cardinality::Low);
        tags.is_some_and(|tags| tags.iter().any(|has| has == tag.as_bytes()))
    };
    assert!(has(WEB, "team:blue"));
    let start = tagger.generation();
    kubelet.answer(&list(&[&web(), &cron()]));
    next_reading(&kubelet, &tagger);
    assert_eq!(tagger.generation(), start, "no message named the new pod");
    assert!(has(CRON, "team:red"));
    kubelet.answer(&list(&[&web_of("green"), &cron()]));
    until("the changed tag", || has(WEB, "team:green").then_some(()));
    until("the next generation", || (tagger.generation() != start).then_some(()));
}

#[test]
fn a_workload_that_was_asked_for_before_it_is_known_moves_the_generation() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(&list(&[]));
    let tagger = live(&kubelet, folder.path());
    let (start, web_id) = (tagger.generation(), Identity::Container(WEB.as_bytes()));
    assert!(tagger.tags(web_id, Cardinality::Low).is_none());
    assert!(tagger.tags(Identity::Container(STRANGER.as_bytes()), Cardinality::Low).is_none());
    kubelet.answer(&list(&[&web()]));
    until("the generation", || (tagger.generation() != start).then_some(()));
    assert!(tagger.tags(web_id, Cardinality::Low).is_some());
}

#[test]
fn a_failing_kubelet_is_named_once_and_costs_no_tag_that_was_known() {
    let kubelet = Kubelet::start(&list(&[&web()]));
    let program = setup().with(&kubelet).set("dogstatsd_origin_detection_client", true).start();
    kubelet.demand("another");
    let asked = kubelet.requests() + 2;
    until("two failures", || {
        // Unknown containers hasten the next question.
        program.udp(format!("hasten:1|g|c:{}", kubelet.requests()));
        std::thread::sleep(Duration::from_millis(50));
        (kubelet.requests() >= asked).then_some(())
    });
    let said = program.logs("status 401");
    assert!(said.contains("/pods") && said.contains("kubelet_auth_token_path"), "{said}");
    program.udp(format!("x:1|g|c:{WEB}"));
    program.tags("x").have(&["kube_deployment:web"]);
    let log = program.end();
    assert_eq!(log.matches("status 401").count(), 1, "{log}");
    assert!(!log.contains(TOKEN), "{log}");
}

#[test]
fn a_kubelet_that_never_answers_does_not_delay_the_start() {
    let kubelet = Kubelet::start("");
    let program =
        setup().reading(&kubelet).set("kubernetes_https_kubelet_port", closed_port()).start();
    program.udp("x:1|g|#a");
    program.tags("x").are(&["a"]);
    program.logs("tags of pods stay as they are");
}
