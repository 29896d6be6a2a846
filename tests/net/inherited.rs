//! Sockets that a service manager hands over.

use std::net::UdpSocket;

use whippet::net::{NetSettings, ProblemKind, bind};

use super::lane::{address_of, client_of, drained, folder, on_datagrams, only_lane, udp};

#[test]
fn an_inherited_socket_replaces_the_listener_of_its_kind() {
    let (_folder, path) = folder();
    let passed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = passed.local_addr().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let inherited = vec![passed.into(), file.into()];
    // The port asked for is the passed one: binding it would fail.
    let settings = NetSettings { udp: udp(address.port()), inherited, ..on_datagrams(&path) };
    let bound = bind(settings).unwrap();
    assert_eq!(address_of(&bound, 0), address);
    let inherited: Vec<bool> = bound.listeners.iter().map(|found| found.inherited).collect();
    assert_eq!(inherited, [true, false]);
    assert_eq!(bound.remarks[0].kind, ProblemKind::NotOurs);
    let client = client_of(&bound);
    client.send(b"a:1|c").unwrap();
    assert_eq!(drained(&mut only_lane(bound)).texts(), ["a:1|c"]);
}

/// Runs this program again as a service manager would: the socket is descriptor 3.
#[track_caller]
fn under_a_manager(pid: &str, passed: UdpSocket) -> String {
    let script = format!("exec 3<&0; LISTEN_PID={pid} LISTEN_FDS=1 exec \"$0\" \"$@\"");
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c".as_ref(), script.as_ref(), program.as_os_str()])
        .args(["--exact", "net::inherited::the_managed_program", "--ignored", "--nocapture"])
        .stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(passed)))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "started by the test below"]
fn the_managed_program() {
    let inherited = whippet::net::inherited_sockets();
    assert!(whippet::net::inherited_sockets().is_empty(), "a second call has nothing to give");
    if inherited.is_empty() {
        println!("nothing inherited");
        return;
    }
    let bound = bind(NetSettings { inherited, ..NetSettings::default() }).unwrap();
    println!("inherited {}", address_of(&bound, 0));
    println!("read {:?}", drained(&mut only_lane(bound)).texts());
}

#[test]
fn a_manager_hands_over_sockets_with_what_is_queued_in_them() {
    let socket = || {
        let passed = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = passed.local_addr().unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"a:1|c", address).unwrap();
        (passed, address)
    };
    let (passed, address) = socket();
    let output = under_a_manager("$$", passed);
    assert!(output.contains(&format!("inherited {address}\n")), "{output}");
    assert!(output.contains("read [\"a:1|c\"]"), "{output}");
    // Meant for another process.
    let output = under_a_manager("1", socket().0);
    assert!(output.contains("nothing inherited"), "{output}");
}
