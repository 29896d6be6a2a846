//! Files of Unix sockets: whose they are, and what stands in the way.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use whippet::net::{Addresses, InternetSettings, NetSettings, ProblemKind, Transport, bind};

use super::lane::{
    Running, drained, folder, frame, on_datagrams, on_stream, only_lane, refused, udp,
};

#[test]
fn a_live_socket_is_not_stolen() {
    let (_folder, path) = folder();
    let owner = UnixDatagram::bind(&path).unwrap();
    // Also when the rest would work, and when the owner's socket is of the other kind.
    for settings in [on_datagrams(&path), on_stream(&path)] {
        let error = refused(NetSettings { udp: udp(0), ..settings });
        assert_eq!(error.problems[0].kind, ProblemKind::LiveOwner);
        assert!(error.to_string().contains("a live process serves this socket"), "{error}");
    }
    UnixDatagram::unbound().unwrap().send_to(b"still here", &path).unwrap();
    assert_eq!(owner.recv(&mut [0; 16]).unwrap(), 10);
    let (_folder, path) = folder();
    let _owner = UnixListener::bind(&path).unwrap();
    assert_eq!(refused(on_stream(&path)).problems[0].kind, ProblemKind::LiveOwner);
}

#[test]
fn a_stale_socket_is_replaced_and_removed_at_the_end() {
    let (_folder, path) = folder();
    drop(UnixDatagram::bind(&path).unwrap());
    assert!(path.exists(), "a socket without a server");
    let mut lane = only_lane(bind(on_datagrams(&path)).unwrap());
    UnixDatagram::unbound().unwrap().send_to(b"a:1|c", &path).unwrap();
    assert_eq!(drained(&mut lane).texts(), ["a:1|c"]);
    assert!(!path.exists());
}

#[test]
fn a_socket_file_that_is_no_longer_ours_stays() {
    let (_folder, path) = folder();
    let lane = only_lane(bind(on_datagrams(&path)).unwrap());
    std::fs::rename(&path, path.with_extension("aside")).unwrap();
    let _successor = UnixDatagram::bind(&path).unwrap();
    drop(lane);
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let (_folder, path) = folder();
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(refused(on_datagrams(&path)).problems[0].kind, ProblemKind::NotASocket);
    let optional = vec![Transport::UnixDatagram];
    let bound = bind(NetSettings { udp: udp(0), optional, ..on_datagrams(&path) }).unwrap();
    assert_eq!((bound.listeners.len(), bound.remarks[0].kind), (1, ProblemKind::NotASocket));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_missing_folder_turns_an_optional_listener_off_while_another_works() {
    let (folder, _) = folder();
    let path = folder.path().join("datadog/dsd.socket");
    let optional = vec![Transport::UnixDatagram];
    let bound = bind(NetSettings { udp: udp(0), optional, ..on_datagrams(&path) }).unwrap();
    assert_eq!(bound.off().collect::<Vec<_>>(), [&bound.remarks[0]]);
    let remark = &bound.remarks[0];
    assert_eq!(
        (remark.kind, remark.transport),
        (ProblemKind::FolderMissing, Transport::UnixDatagram)
    );
    let missing = folder.path().join("datadog");
    assert_eq!(remark.detail, format!("{} does not exist", missing.display()));
    assert_eq!(refused(on_datagrams(&path)).problems[0].kind, ProblemKind::FolderMissing);
}

#[test]
fn a_listener_that_was_asked_for_has_to_work() {
    let (folder, path) = folder();
    let nowhere = folder.path().join("datadog/dsd.socket");
    let (datagrams, streams) = (on_datagrams(&nowhere), on_stream(&nowhere));
    for (settings, kind) in
        [(datagrams, ProblemKind::FolderMissing), (streams, ProblemKind::FolderMissing)]
    {
        let error = refused(NetSettings { udp: udp(0), ..settings });
        assert_eq!(error.problems[0].kind, kind, "{error}");
        assert!(error.to_string().contains("to '' for none"), "{error}");
    }
    let host = Addresses::Host("192.0.2.1".to_owned());
    let elsewhere = Some(InternetSettings { addresses: host, port: 0 });
    let error = refused(NetSettings { udp: elsewhere, ..on_datagrams(&path) });
    assert_eq!(error.problems[0].kind, ProblemKind::AddressUnavailable, "{error}");
    assert!(!path.exists(), "nothing stays bound");
}

#[test]
fn nothing_to_listen_on_is_an_error_that_names_the_keys() {
    let error = refused(NetSettings::default());
    assert!(error.problems.is_empty());
    assert!(error.to_string().contains("dogstatsd_port"), "{error}");
}

/// A folder in which not even root can make sockets.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_socket_is_named() {
    let error = refused(on_datagrams(Path::new("/sys/dsd.socket")));
    assert_eq!(error.problems[0].kind, ProblemKind::PermissionDenied);
    assert!(error.to_string().contains("make /sys writable for this user, or set"), "{error}");
}

#[test]
fn a_path_that_does_not_fit_is_explained() {
    let (folder, _) = folder();
    let path = folder.path().join("x".repeat(120));
    let error = refused(on_datagrams(&path));
    assert_eq!(error.problems[0].kind, ProblemKind::PathTooLong);
    assert!(error.to_string().contains("shorter path"), "{error}");
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let host =
        InternetSettings { addresses: Addresses::Host("no.such.host.invalid".into()), port: 0 };
    let error = refused(NetSettings { udp: Some(host), ..NetSettings::default() });
    assert_eq!(error.problems[0].kind, ProblemKind::UnknownHost);
    assert!(error.to_string().contains("bind_host"), "{error}");
}

#[test]
fn the_socket_has_exactly_the_mode_asked_for() {
    for mode in [0o722, 0o700, 0o666, 0o777] {
        let (_folder, path) = folder();
        let settings = NetSettings { socket_mode: mode, ..on_datagrams(&path) };
        let _bound = bind(settings).unwrap();
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{found:o}");
    }
}

/// How often the lanes of these tests look after their files; the lane looks twice a second at most.
const OFTEN: Duration = Duration::from_millis(100);

#[test]
fn a_removed_datagram_socket_is_bound_again_and_its_clients_go_on() {
    let (_folder, path) = folder();
    let settings = NetSettings { socket_mode: 0o720, ..on_datagrams(&path) };
    let running = Running::ticking(only_lane(bind(settings).unwrap()), OFTEN);
    let old = UnixDatagram::unbound().unwrap();
    old.connect(&path).unwrap();
    for again in 1..=3 {
        std::fs::remove_file(&path).unwrap();
        running.until(|seen| seen.incidents.len() == again && path.exists());
        let new = UnixDatagram::unbound().unwrap();
        new.send_to(format!("new{again}:1|c").as_bytes(), &path).unwrap();
        if again == 1 {
            old.send(b"old:1|c").unwrap();
        }
        running.until(|seen| seen.texts().contains(&format!("new{again}:1|c")));
    }
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o720, "{mode:o}");
    let (seen, counts) = running.stop();
    assert!(seen.texts().contains(&"old:1|c".to_owned()), "{:?}", seen.texts());
    assert_eq!((counts[0].bound_again, counts[0].socket_lost), (3, 0));
    assert_eq!(seen.incidents, ["SocketBoundAgain"; 3]);
    assert!(!path.exists(), "the new file is removed at the end");
}

#[test]
fn a_removed_stream_socket_is_bound_again_and_its_connections_stay() {
    let (_folder, path) = folder();
    let running = Running::ticking(only_lane(bind(on_stream(&path)).unwrap()), OFTEN);
    let mut old = UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    running.until(|seen| !seen.incidents.is_empty() && path.exists());
    let mut new = UnixStream::connect(&path).unwrap();
    new.write_all(&frame(b"new:1|c")).unwrap();
    old.write_all(&frame(b"old:1|c")).unwrap();
    running.until(|seen| seen.units.len() == 2);
    let (_, counts) = running.stop();
    assert_eq!(counts[0].bound_again, 1);
}

#[test]
fn a_socket_that_replaced_ours_is_not_stolen_while_it_lives() {
    let (_folder, path) = folder();
    let running = Running::ticking(only_lane(bind(on_datagrams(&path)).unwrap()), OFTEN);
    // In one step, so that the lane cannot bind again in between.
    let aside = path.with_extension("aside");
    let other = UnixDatagram::bind(&aside).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    running.until(|seen| !seen.incidents.is_empty());
    running.until(|seen| seen.ticks.last().is_some_and(|counts| counts[0].socket_lost == 1));
    UnixDatagram::unbound().unwrap().send_to(b"theirs", &path).unwrap();
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 6);
    drop(other);
    running.until(|seen| seen.incidents.len() == 2);
    UnixDatagram::unbound().unwrap().send_to(b"ours", &path).unwrap();
    running.until(|seen| seen.texts() == ["ours"]);
    let (seen, counts) = running.stop();
    assert!(seen.incidents[0].starts_with("SocketLost"), "{:?}", seen.incidents);
    assert!(seen.incidents[0].contains("LiveOwner"), "{:?}", seen.incidents);
    assert_eq!((counts[0].bound_again, counts[0].socket_lost), (1, 0));
}

#[test]
fn a_removed_file_of_the_service_manager_is_reported_and_left_to_it() {
    let (_folder, path) = folder();
    let passed = UnixDatagram::bind(&path).unwrap();
    let settings = NetSettings { inherited: vec![passed.into()], ..NetSettings::default() };
    let running = Running::ticking(only_lane(bind(settings).unwrap()), OFTEN);
    std::fs::remove_file(&path).unwrap();
    running.until(|seen| seen.incidents.iter().any(|text| text.contains("service manager")));
    running.until(|seen| seen.ticks.last().is_some_and(|counts| counts[0].socket_lost == 1));
    let (seen, counts) = running.stop();
    assert_eq!((seen.incidents.len(), counts[0].bound_again), (1, 0));
    assert!(!path.exists());
}
