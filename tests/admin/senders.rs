use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use serde_json::Value;

use super::server::server;

fn row<'a>(senders: &'a Value, name: &str) -> &'a Value {
    let rows = senders.as_array().unwrap();
    rows.iter()
        .find(|row| row["sender"] == name)
        .unwrap_or_else(|| panic!("no {name}: {senders:#}"))
}

#[test]
fn every_address_has_its_packets_bytes_lines_and_last_bad_lines() {
    let program = server(&[]);
    let socket = |ip: &str| UdpSocket::bind(format!("{ip}:0")).unwrap();
    for _ in 0..3 {
        // Another port each time, the same machine.
        program.udp_from(&socket("127.0.0.2"), "a:1|c\nb:1|c");
    }
    program.udp_from(&socket("127.0.0.3"), "a:1|c\nn:1|c|@7x\nbad\n");
    let senders = program.wait_json("/senders", |senders| {
        senders.as_array().unwrap().iter().filter_map(|row| row["packets"].as_u64()).sum::<u64>()
            == 4
    });
    let good = row(&senders, "127.0.0.2");
    assert_eq!(
        (&good["packets"], &good["lines"], &good["bytes"]),
        (&3.into(), &6.into(), &33.into())
    );
    assert_eq!((&good["refused"], &good["contexts_new"]), (&0.into(), &2.into()));
    let bad = row(&senders, "127.0.0.3");
    assert_eq!(
        (&bad["lines"], &bad["refused"], &bad["contexts_new"]),
        (&3.into(), &2.into(), &0.into())
    );
    assert_eq!(bad["bad_lines"][0]["reason"], "bad_rate");
    assert!(
        bad["bad_lines"][0]["shown"].as_str().unwrap().contains("sample rate must be a number")
    );
    assert_eq!(bad["bad_lines"][1]["line"], "bad");
    program.wait_lines(9);
    let shown = program.says(&["status"]);
    assert!(
        shown.contains("  127.0.0.2: 3 packets, 6 lines, 33 bytes, 2 new contexts\n"),
        "{shown}"
    );
    assert!(shown.contains("      n:1|c|@7x\n"), "{shown}");
}

#[test]
fn processes_are_told_apart_on_a_unix_socket_with_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.socket");
    let pid = std::process::id();
    // What a container's process finds of itself.
    let container = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";
    let own = folder.path().join(pid.to_string());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("cgroup"), format!("0::/system.slice/docker-{container}.scope\n"))
        .unwrap();
    let program = server(&[
        ("dogstatsd_socket", path.to_str().unwrap()),
        ("dogstatsd_origin_detection", "true"),
        ("container_proc_root", folder.path().to_str().unwrap()),
    ]);
    UnixDatagram::unbound().unwrap().send_to(b"a:1|c", &path).unwrap();
    let senders = program.wait_json("/senders", |senders| !senders.as_array().unwrap().is_empty());
    let ours = &senders[0];
    assert!(ours["sender"].as_str().unwrap().starts_with(&format!("pid {pid} uid ")), "{ours}");
    assert!(ours["command"].is_string(), "{ours}");
    assert_eq!((&ours["packets"], &ours["container"]), (&1.into(), &container.into()));
    assert_eq!(program.json("/status")["senders"][0]["container"], container);
    let top = program.says(&["top", "--once", "--json", "--every", "0.1"]);
    let top: Value = serde_json::from_str(&top).unwrap();
    assert_eq!(top["senders"][0]["container"], container);
    assert!(program.says(&["status"]).contains(", container 3726184226f5): 1 packets"));
    assert!(program.says(&["top", "--once", "--every", "0.1"]).contains("container 3726184226f5)"));
}

#[test]
fn loss_shows_where_a_client_reports_what_it_sent() {
    let program = server(&[]);
    let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
    let mut total = 0;
    for (received, sent, dropped) in [(2, 2, 0), (5, 9, 1)] {
        for _ in 0..received {
            program.udp_from(&socket, "a:1|c");
        }
        let telling = format!(
            "datadog.dogstatsd.client.packets_sent:{sent}|c|#client:py\n\
             datadog.dogstatsd.client.packets_dropped:{dropped}|c|#client:py"
        );
        program.udp_from(&socket, &telling);
        total += received + 1;
    }
    let senders = program.wait_json("/senders", |senders| senders[0]["packets"] == total);
    let client = &row(&senders, "127.0.0.9")["client"];
    assert_eq!((&client["packets_sent"], &client["packets_dropped"]), (&11.into(), &1.into()));
    // Between the two reports nine were sent, and six arrived.
    assert_eq!(client["packets_missing"], 3);
    program.wait_lines(11);
    assert!(program.says(&["status"]).contains(
        "its client says: 11 packets sent, 1 dropped before sending; 3 of them did not arrive"
    ));
}

#[test]
fn clients_are_heard_wherever_their_report_stands() {
    let program = server(&[]);
    let socket = UdpSocket::bind("127.0.0.8:0").unwrap();
    let report = |sent: u64| {
        format!(
            "datadog.dogstatsd.client.metrics:{sent}|c|#client:go\n\
             datadog.dogstatsd.client.packets_sent:{sent}|c|#client:go\n\
             datadog.dogstatsd.client.packets_dropped:1|c|#client:go\n\
             datadog.dogstatsd.client.packets_dropped_queue:1|c|#client:go"
        )
    };
    // Alone, first, in the middle and last; the same lines again and again.
    program.udp_from(&socket, report(1));
    program.udp_from(&socket, format!("{}\na:1|c", report(2)));
    program.udp_from(&socket, format!("a:1|c\n{}\nb:1|c\n", report(3)));
    program.udp_from(&socket, format!("a:1|c\nb:1|c\n{}\n", report(4)));
    let senders = program.wait_json("/senders", |senders| senders[0]["packets"] == 4);
    let row = row(&senders, "127.0.0.8");
    let client = &row["client"];
    assert_eq!(
        (&client["reports"], &client["packets_sent"], &client["metrics"]),
        (&4.into(), &10.into(), &10.into())
    );
    assert_eq!((&client["packets_dropped"], &row["contexts_new"]), (&4.into(), &6.into()));
    // They are metrics like any other, too.
    assert_eq!(program.wait_lines(21)["contexts"]["live"], 6);
}

#[test]
fn without_sender_accounts_no_sender_is_listed() {
    let program = server(&[("sender_accounts", "false")]);
    program.udp("a:1|c\nbad\ndatadog.dogstatsd.client.packets_sent:1|c");
    let status = program.wait_lines(3);
    assert_eq!(
        (&status["senders"], &status["lines"]["balances"]),
        (&Value::Array(vec![]), &true.into())
    );
    assert!(!program.says(&["status"]).contains("Senders"));
}

#[test]
fn when_contexts_run_out_metric_tag_and_sender_are_named_within_one_flush() {
    let program = server(&[("contexts_max", "200"), ("interval", "2")]);
    let socket = UdpSocket::bind("127.0.0.5:0").unwrap();
    program.udp("quiet:1|c|#env:prod");
    for first in (0..2_000).step_by(20) {
        let lines: Vec<String> = (first..first + 20)
            .map(|user| format!("logins:1|c|#env:prod,user_id:{user}"))
            .collect();
        program.udp_from(&socket, lines.join("\n"));
        if first % 200 == 0 {
            // Not faster than the smallest receive buffer holds.
            program.json("/senders");
        }
    }
    let line = program.log_line(|line| line.contains("out of contexts"));
    for part in ["contexts_max 200", "metric logins", "tag user_id", "most sent by 127.0.0.5"] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    let status = program.wait_lines(2_001);
    let overflow = &status["contexts"]["overflow"];
    assert_eq!(overflow["names"][0]["name"], "logins");
    assert_eq!(overflow["names"][0]["tag_keys"][0]["key"], "user_id");
    assert!(overflow["names"][0]["tag_keys"][0]["values"].as_u64() > Some(1_000), "{overflow}");
    let folded = status["lines"]["folded"].as_u64().unwrap();
    // 2,001 contexts were sent; the cap holds 200.
    assert_eq!(folded, 1_801);
    assert_eq!(status["lines"]["balances"], true);
    assert!(program.says(&["status"]).contains("logins: "));
}

/// Issue 11, point 18: every UDP client on this machine was `127.0.0.1` and nothing more.
#[cfg(target_os = "linux")]
#[test]
fn a_loopback_sender_is_shown_with_the_processes_behind_it() {
    let program = server(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(program.udp_address()).unwrap();
    socket.send(b"a:1|c").unwrap();
    let senders = program.wait_json("/senders", |senders| senders[0]["packets"] == 1);
    let command = senders[0]["command"].as_str().unwrap_or_default();
    assert!(command.ends_with(&format!(" pid {}", std::process::id())), "{senders:#}");
}
