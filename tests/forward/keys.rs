//! API keys: checked in the background, shown nowhere.

use crate::support::intake::{Answer, Intake};
use crate::support::log;
use std::time::Duration;
use whippet::clock::Clock;
use whippet::forward::{Endpoint, Forwarder, KeyStatus};

use super::forwarder::{
    KEY, counter, delivered, quick, series_counts, shutdown_now, start, submit, wait_accounting,
};

#[test]
fn the_key_is_checked_in_the_background() {
    for (answer, status) in [
        (Answer::status(200), KeyStatus::Valid),
        (Answer::status(403), KeyStatus::Invalid),
        (Answer::status(500), KeyStatus::Unknown("status 500".to_owned())),
    ] {
        let intake = Intake::start();
        intake.validate_with(answer);
        let mut config = quick();
        config.validation_interval = Some(Duration::from_secs(3600));
        let forwarder = start(&[intake.url()], config);
        wait_accounting(&forwarder, |accounting| accounting.endpoints[0].key_status == status);
        intake.read(|state| {
            assert_eq!(state.validations[0].header("dd-api-key"), KEY);
            assert_eq!(state.validations[0].target, format!("/api/v1/validate?api_key={KEY}"));
        });
        forwarder.check_keys();
        intake.wait_until(|state| state.validations.len() == 2);
        // Whatever the check says, payloads are sent.
        submit(&forwarder, &counter("m"));
        wait_accounting(&forwarder, |accounting| delivered(accounting) == 1);
    }
    let log = log::text();
    assert!(log.contains("API key ending in *****6d7e8 is valid"), "{log}");
    assert!(log.contains("API key ending in *****6d7e8 is refused (403)"), "{log}");
}

#[test]
fn the_key_of_zeros_is_never_checked() {
    let intake = Intake::start();
    let endpoint = Endpoint::at(&intake.url(), &"0".repeat(32)).expect("a URL");
    let mut config = quick();
    config.validation_interval = Some(Duration::from_secs(3600));
    let forwarder = Forwarder::start(vec![endpoint], config, Clock::wall()).expect("valid");
    wait_accounting(&forwarder, |accounting| {
        accounting.endpoints[0].key_status == KeyStatus::Valid
    });
    assert_eq!(intake.read(|state| state.validations.len()), 0);
}

#[test]
fn no_log_line_and_no_report_shows_a_key() {
    let secret = "5ec7e75ec7e75ec7e75ec7e75ec7e700";
    let quoting = Answer::status(503).header("X-Key", secret);
    for url in ["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1/with/a/path".to_owned()] {
        let mut config = quick();
        config.validation_interval = Some(Duration::from_secs(3600));
        let endpoint = Endpoint::at(&url, secret).expect("a URL");
        let forwarder = Forwarder::start(vec![endpoint], config, Clock::wall()).expect("valid");
        submit(&forwarder, &counter("m"));
        wait_accounting(&forwarder, |accounting| {
            accounting.endpoints[0].key_status != KeyStatus::Unknown("not checked yet".to_owned())
                && series_counts(accounting).requests > 1
        });
        shutdown_now(&forwarder);
        assert!(!format!("{:?}", forwarder.accounting()).contains(secret));
    }
    let intake = Intake::start();
    intake.script([quoting, Answer::status(403), Answer::status(400), Answer::status(413)]);
    let endpoint = Endpoint::at(&intake.url(), secret).expect("a URL");
    assert!(!format!("{endpoint:?}").contains(secret));
    let forwarder = Forwarder::start(vec![endpoint], quick(), Clock::wall()).expect("valid");
    for n in 0..4 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.wait_until(|state| state.requests.len() >= 4);
    shutdown_now(&forwarder);
    let log = log::text();
    assert!(log.contains("7e700"), "the end of the key is there to be recognised");
    assert!(log.contains("status 400"), "and the troubles were logged");
    assert!(!log.contains(secret));
    assert!(!log.contains("api_key="));
}
