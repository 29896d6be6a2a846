//! Security: keys, sockets, certificates, proxies.

use super::setup::{Spooled, to_intake, to_url};
use super::wall::{Manner, Wall};
use crate::support::front::{ConnectProxy, TlsFront};
use crate::support::intake::{Answer, Intake};
use crate::support::program::{KEY, Setup, eventually};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

fn sum(intake: &Intake) -> f64 {
    intake.read(|state| state.sum_of_counter("c", &[]))
}

/// Neither the log nor a file but the ones that the operator wrote holds the text.
#[track_caller]
fn nowhere(log: &str, setup: &Setup, secret: &str) {
    assert!(!log.contains(secret), "the log holds {secret:?}:\n{log}");
    let files = setup.files();
    for (path, bytes) in
        files.iter().filter(|(path, _)| !path.ends_with("key") && !path.ends_with("whippet.yaml"))
    {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds {secret:?}", path.display());
    }
}

#[test]
fn keys_and_passwords_are_in_no_log_and_no_file_whatever_goes_wrong() {
    const SECOND: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
    const PASSWORD: &str = "hunter2-of-the-proxy";
    let intake = Intake::start();
    let wall = Wall::before(&intake.address(), Manner::Echo(403));
    let proxy = format!("http://user:{PASSWORD}@127.0.0.1:1");
    let second = format!("{{\"{}/\": [{SECOND}]}}", wall.url());
    let setup = to_url(&wall.url())
        .spooling(200)
        .set("log_level", "trace")
        .set("additional_endpoints", second)
        .set("proxy.https", proxy);
    let process = setup.start();
    // Each answer quotes the head of the request, with the key in it.
    for (manner, word) in [
        (Manner::Echo(403), "403"),
        (Manner::Echo(500), "500"),
        (Manner::Echo(400), "400"),
        (Manner::Garbage, "other"),
        (Manner::Slam, "disconnect"),
    ] {
        wall.now(manner);
        process.unix_datagram("c:1|c");
        process.logs_until(|log| log.contains(word));
    }
    setup.write();
    process.signal("HUP");
    process.logs_until(|log| log.contains("configuration reloaded"));
    let ended = process.terminate();
    ended.balances();
    assert!(setup.records() > 0, "the spool is looked at");
    for secret in [KEY, SECOND, PASSWORD] {
        nowhere(&ended.stderr, &setup, secret);
    }
}

#[test]
fn the_key_in_its_file_is_the_one_that_is_sent() {
    let intake = Intake::start();
    let setup = to_intake(&intake);
    let process = setup.start();
    process.unix_datagram("c:1|c");
    eventually(Duration::from_secs(20), "the line", || sum(&intake) == 1.0);
    intake.read(|state| {
        assert!(state.requests.iter().all(|request| request.header("DD-API-KEY") == KEY));
        assert!(state.validations.iter().all(|request| request.target.ends_with(KEY)));
    });
    process.terminate().balances();
}

/// Local addresses, in hexadecimal, of UDP sockets with that port.
fn bound_to(port: u16) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let local = line.split_whitespace().nth(1).and_then(|local| local.split_once(':'));
            if let Some((address, _)) =
                local.filter(|(_, at)| u16::from_str_radix(at, 16) == Ok(port))
            {
                found.push(address.to_owned());
            }
        }
    }
    found
}

#[test]
fn only_loopback_is_bound_unless_asked_and_wider_is_warned_of() {
    let intake = Intake::start();
    let setup = to_intake(&intake);
    let process = setup.start();
    let bound = bound_to(process.udp_address().port());
    let loopback = ["0100007F", "00000000000000000000000001000000"];
    assert!(!bound.is_empty());
    assert!(bound.iter().all(|address| loopback.contains(&address.as_str())), "{bound:?}");
    let log = process.end();
    assert!(!log.contains("open to other machines"), "{log}");
    let setup = to_intake(&intake).set("dogstatsd_non_local_traffic", true);
    let process = setup.start();
    // The banner of the listener is there before the warning.
    process.log_line(|line| line.starts_with("WARN") && line.contains("open to other machines"));
}

#[test]
fn sockets_have_the_permissions_that_were_configured() {
    let intake = Intake::start();
    let mode = |setup: &Setup, name: &str| {
        fs::metadata(setup.path(name)).expect("a socket").permissions().mode() & 0o777
    };
    let setup = to_intake(&intake);
    let process = setup.start();
    assert_eq!((mode(&setup, "d.sock"), mode(&setup, "s.sock")), (0o722, 0o722));
    drop(process);
    let setup = to_intake(&intake)
        .set("dogstatsd_socket_mode", "\"0700\"")
        .set("dogstatsd_stream_socket_mode", "\"0720\"")
        .spooling(1 << 20);
    let _process = setup.start();
    assert_eq!((mode(&setup, "d.sock"), mode(&setup, "s.sock")), (0o700, 0o720));
    // What waits on disk is private. The folder is made after the sockets.
    eventually(Duration::from_secs(20), "the spool", || setup.path("spool").exists());
    assert_eq!(mode(&setup, "spool") & 0o077, 0);
}

#[test]
fn a_server_below_the_least_version_of_tls_gets_nothing() {
    let intake = Intake::start();
    let front = TlsFront::start(&intake.address(), &[&rustls::version::TLS12]);
    let setup = to_url(&front.url());
    fs::write(setup.path("ca.pem"), &front.certificate_pem).expect("a writable folder");
    let ca = setup.path("ca.pem").display().to_string();
    let setup = setup.set("ca_file", ca).set("min_tls_version", "tlsv1.3");
    let process = setup.start();
    process.unix_datagram("c:1|c");
    process.logs_until(|log| log.contains("tls") && log.contains("next try"));
    assert_eq!(sum(&intake), 0.0);
    drop(process);
    let setup = setup.set("min_tls_version", "tlsv1.2");
    let process = setup.start();
    process.unix_datagram("c:1|c");
    eventually(Duration::from_secs(20), "the line", || sum(&intake) == 1.0);
    process.terminate().balances();
}

/// Posts one line through TLS and whatever the setup says; true when the proxy was asked.
#[track_caller]
fn is_proxied(through: impl Fn(Setup, &ConnectProxy) -> Setup) -> bool {
    let (intake, proxy) = (Intake::start(), ConnectProxy::start());
    let front = TlsFront::start(&intake.address(), &[&rustls::version::TLS13]);
    let setup = to_url(&front.url());
    fs::write(setup.path("ca.pem"), &front.certificate_pem).expect("a writable folder");
    let ca = setup.path("ca.pem").display().to_string();
    let setup = through(setup.set("ca_file", ca), &proxy);
    let process = setup.start();
    process.unix_datagram("c:1|c");
    eventually(Duration::from_secs(20), "the line", || sum(&intake) == 1.0);
    process.terminate().balances();
    let heads = proxy.heads();
    assert!(heads.iter().all(|head| !head.contains(KEY)), "the proxy sees the key");
    !heads.is_empty()
}

#[test]
fn the_proxy_of_file_and_environment_is_used_unless_the_host_is_exempt() {
    let url = |proxy: &ConnectProxy| format!("http://user:secret@{}", proxy.address());
    assert!(is_proxied(|setup, proxy| setup.set("proxy.https", url(proxy))));
    assert!(is_proxied(|setup, proxy| setup.env("DD_PROXY_HTTPS", url(proxy))));
    assert!(is_proxied(|setup, proxy| setup.env("HTTPS_PROXY", url(proxy))));
    assert!(!is_proxied(|setup, proxy| {
        setup.set("proxy.https", url(proxy)).set("proxy.no_proxy", "[localhost]")
    }));
    assert!(!is_proxied(|setup, proxy| {
        setup.env("HTTPS_PROXY", url(proxy)).env("NO_PROXY", "localhost")
    }));
}

#[test]
fn a_reload_with_errors_changes_nothing_and_keeps_the_sockets() {
    let intake = Intake::start();
    let mut setup = to_intake(&intake);
    let process = setup.start();
    let socket = process.unix();
    setup.change("tags", "[env:new]");
    setup.change("interval", "never");
    setup.write();
    process.signal("HUP");
    process.logs_until(|log| log.contains("configuration not reloaded"));
    socket.send(b"c:1|c").expect("sent");
    intake.wait_until(|state| state.sum_of_counter("c", &[]) == 1.0);
    assert!(intake.read(|state| state.series("c", &["env:new"]).is_empty()));
    setup.change("interval", "1s");
    setup.write();
    process.signal("HUP");
    process.logs_until(|log| log.contains("configuration reloaded"));
    socket.send(b"c:1|c").expect("sent");
    eventually(Duration::from_secs(20), "the new tag", || {
        intake.read(|state| state.sum_of_counter("c", &["env:new"])) == 1.0
    });
    intake.script([Answer::status(503)]);
    process.terminate().balances();
}
