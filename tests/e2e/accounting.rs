//! Every line that was sent is counted, whatever it was.

use crate::support::intake::{Answer, Intake};
use crate::support::program::{LineCounts, Setup};
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

fn counts(received: u64, recorded: u64, refused: u64, dropped: u64) -> LineCounts {
    LineCounts { received, recorded, refused, dropped }
}

#[test]
fn good_bad_and_unwanted_lines_add_up() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.udp("a:1|c\njunk\nb:1|c\n\n\n");
    program.udp("a:1:2:3|c\r\na:nan|c\na:1|x\n:1|c\n");
    program.unix_datagram("_e{1,1}:a|b\n_e{9,9}:a|b\n_sc|x|0\n_sc|x|7\n");
    program.unix_stream("h:1|h|T5\nh:1|h");
    program.udp("");
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines(), counts(13, 6, 5, 2), "{}", ended.stderr);
    for reason in ["missing_type 1", "unknown_type 1", "empty_name 1", "bad_status 1"] {
        assert!(ended.stderr.contains(reason), "{reason}: {}", ended.stderr);
    }
    for reason in ["non_finite 1", "timestamp_unsupported 1"] {
        assert!(ended.stderr.contains(reason), "{reason}: {}", ended.stderr);
    }
    assert!(ended.stderr.contains("values   6 in 4 metric lines"), "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("a", &[]), 7.0);
        assert_eq!(state.sum_of_counter("b", &[]), 1.0);
    });
}

/// A small generator of noise, so that every run sends the same.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Bytes that matter to the reader, among all others.
    let special = b"\n\r|:#@_,{}cgdhmsT0159.-e\\n";
    (0..length)
        .map(|_| {
            let word = next();
            let choice = usize::try_from(word >> 40).expect("24 bits");
            if word & 1 == 0 { special[choice % special.len()] } else { (word >> 8) as u8 }
        })
        .collect()
}

#[test]
fn garbage_is_counted_line_by_line_and_harms_no_other_line() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    let mut expected = 0;
    for seed in 0..300 {
        let datagram = noise(seed, 1 + usize::try_from(seed).unwrap() * 7 % 900);
        let lines = datagram.split(|byte| *byte == b'\n');
        expected += lines.filter(|line| !matches!(line, [] | [b'\r'])).count() as u64;
        match seed % 3 {
            0 => program.udp(&datagram),
            1 => program.unix_datagram(&datagram),
            _ => program.unix_stream(&datagram),
        }
    }
    program.udp("fine:1|c");
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines().received, expected + 1, "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("fine", &[]), 1.0);
        assert_eq!(state.undecodable, [""; 0]);
    });
    // Refusals are logged once per reason and transport of noise, not 2,000 times.
    assert!(ended.stderr.lines().count() < 150, "{}", ended.stderr.lines().count());
}

#[test]
fn a_datagram_longer_than_the_buffer_keeps_its_whole_lines() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("dogstatsd_buffer_size", 1_024).start();
    let long: String = (0..200).map(|_| "counter:1|c\n").collect();
    let whole = (1_024 / "counter:1|c\n".len()) as u64;
    program.udp(&long);
    program.unix_datagram(&long);
    program.udp(&long[..1_020]);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines(), counts(3 * whole + 2, 3 * whole, 2, 0), "{}", ended.stderr);
    assert!(ended.stderr.contains("truncated 2"), "{}", ended.stderr);
    assert!(ended.stderr.contains("2 were longer than dogstatsd_buffer_size"), "{}", ended.stderr);
    intake.read(|state| assert_eq!(state.sum_of_counter("counter", &[]), (3 * whole) as f64));
}

#[test]
fn lines_without_their_newline_are_refused_where_it_is_required() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("dogstatsd_eol_required", "udp").start();
    program.udp("a:1|c\nb:1|c");
    program.unix_datagram("c:1|c\nd:1|c");
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines(), counts(4, 3, 1, 0), "{}", ended.stderr);
    assert!(ended.stderr.contains("unterminated 1"), "{}", ended.stderr);
    intake.read(|state| assert!(state.series("b", &[]).is_empty()));
}

#[test]
fn a_frame_too_long_costs_its_connection_and_no_other() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake);
    let path = setup.path("s.sock");
    let program = setup.start();
    let mut good = UnixStream::connect(&path).expect("a listener");
    let mut bad = UnixStream::connect(&path).expect("a listener");
    good.write_all(b"\x06\0\0\0a:1|c\n").expect("sent");
    // Lines without a length, as a client of the wrong mode sends them.
    bad.write_all(b"a:1|c\na:1|c\n").expect("sent");
    let log = program.logs_until(|log| log.contains("longer than dogstatsd_buffer_size"));
    let length = u32::from_le_bytes(*b"a:1|");
    assert!(log.contains(&format!("a frame of {length} bytes")), "{log}");
    good.write_all(b"\x06\0\0\0a:2|c\n").expect("still open");
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines().recorded, 2);
    intake.read(|state| assert_eq!(state.sum_of_counter("a", &[]), 3.0));
}

#[test]
fn what_the_kernel_drops_is_known_to_the_last_datagram() {
    const SENT: u64 = 5_000;
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake).set("dogstatsd_so_rcvbuf", 16_384);
    let program = setup.start();
    // It cannot read while it is stopped, so the small buffer overflows for certain.
    program.signal("STOP");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for _ in 0..SENT {
        socket.send_to(b"flood:1|c", program.udp_address()).expect("sent");
    }
    program.signal("CONT");
    let ended = program.terminate();
    ended.balances();
    let line = ended.stderr.lines().find(|line| line.starts_with("kernel   dropped "));
    let line = line.unwrap_or_else(|| panic!("no drops logged:\n{}", ended.stderr));
    let number = line["kernel   dropped ".len()..].split(' ').next().unwrap_or_default();
    let drops: u64 = number.replace(',', "").parse().expect("a number");
    let received = ended.lines().received;
    assert!(drops > 0 && received > 0, "{drops} {received}");
    assert_eq!(received + drops, SENT, "{}", ended.stderr);
    assert!(ended.stderr.contains("raise dogstatsd_so_rcvbuf"), "{}", ended.stderr);
    intake.read(|state| assert_eq!(state.sum_of_counter("flood", &[]), received as f64));
}

#[test]
fn several_lanes_keep_one_accounting() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("lanes", 2).set("interval", 1).start();
    // One sender stays with one lane, which keeps its order; the others are spread.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for round in 0..200 {
        program.udp(format!("c:1|c\nd:1|d\ns:{round}|s\njunk"));
        socket.send_to(format!("g:{round}|g").as_bytes(), program.udp_address()).expect("sent");
    }
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines(), counts(1_000, 800, 200, 0), "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("c", &[]), 200.0);
        assert_eq!(state.count_of_sketches("d", &[]), 200);
        assert_eq!(state.last_value("g", &[]), Some(199.0));
        assert_eq!(state.overwritten, 0);
    });
}

#[test]
fn refused_lines_are_shown_with_their_sender_once_unless_not_wanted() {
    for (quiet, shown) in [(false, 1), (true, 0)] {
        let intake = Intake::start();
        let setup = Setup::posting_to(&intake).set("dogstatsd_disable_verbose_logs", quiet);
        let program = setup.start();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let sender = socket.local_addr().expect("bound").to_string();
        for _ in 0..5 {
            socket.send_to(b"page.views:1|c|@zz|#env:prod", program.udp_address()).expect("sent");
        }
        let ended = program.terminate();
        ended.balances();
        assert_eq!(ended.lines(), counts(5, 0, 5, 0));
        let with_sender = ended.stderr.lines().filter(|line| line.contains(&sender)).count();
        assert_eq!(with_sender, shown, "{}", ended.stderr);
        assert_eq!(ended.stderr.contains("refused 4 more lines"), !quiet, "{}", ended.stderr);
    }
}

#[test]
fn the_accounting_adds_up_for_each_listener_and_each_endpoint() {
    let (first, second) = (Intake::start(), Intake::start());
    second.respond_on("/api/v2/series", Answer::status(400));
    let endpoints = format!("{{\"{}\":[\"another00\"]}}", second.url());
    let program = Setup::posting_to(&first)
        .set("interval", 1)
        .set("dogstatsd_buffer_size", 512)
        .env("DD_ADDITIONAL_ENDPOINTS", endpoints)
        .start();
    let udp = program.udp_address();
    program.udp("a:1|c\njunk\na:1|c");
    program.unix_datagram("a:1|c\na:nan|c");
    program.unix_stream("a:1|c\n_sc|x|0");
    program.udp("junk");
    program.unix_datagram("a:1|c\n".repeat(100));
    first.wait_until(|state| state.sum_of_counter("a", &[]) == 4.0 + 85.0);
    let ended = program.terminate();
    ended.balances();
    for equation in [
        format!("  of udp {udp}: 4 received = 2 recorded + 2 refused + 0 dropped (missing_type 2)"),
        "/d.sock: 88 received = 86 recorded + 1 refused + 1 dropped (truncated 1, non_finite 1)"
            .to_owned(),
        "/s.sock: 2 received = 2 recorded + 0 refused + 0 dropped".to_owned(),
        "were longer than 512 bytes; ".to_owned(),
    ] {
        assert!(ended.stderr.contains(&equation), "{equation}:\n{}", ended.stderr);
    }
    let payloads = ended.payloads();
    for (intake, dropped) in [(&first, false), (&second, true)] {
        let beginning = format!("  of {} with key *****", intake.address());
        let line = ended.stderr.lines().find(|line| line.starts_with(&beginning));
        let line = line.unwrap_or_else(|| panic!("{beginning}:\n{}", ended.stderr));
        let built = format!("payloads {} built = ", payloads.built / 2);
        assert!(line.contains(&built), "{line}");
        assert_eq!(line.contains("(bad_request "), dropped, "{line}");
    }
}

#[test]
fn a_value_that_no_sum_can_hold_is_counted_whatever_the_kind() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("histogram_aggregates", "sum count").start();
    program.udp("d:1e308|d\nd:1e308|d");
    for kind in ["c", "h", "ms"] {
        program.udp(format!("{kind}:1e308|{kind}\n{kind}:1e308|{kind}\n{kind}:-1e308|{kind}"));
    }
    program.udp("packed:1e308:1e308:1|h");
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines(), counts(12, 8, 0, 4), "{}", ended.stderr);
    assert!(ended.stderr.contains("(non_finite 4)"), "{}", ended.stderr);
    assert!(ended.stderr.contains("5 NaN or infinite values"), "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.last_value("h.sum", &[]), Some(0.0));
        assert_eq!(state.sum_of_counter("h.count", &[]), 2.0);
        assert_eq!(state.sum_of_counter("packed.count", &[]), 2.0);
        assert_eq!(state.count_of_sketches("d", &[]), 1);
    });
}

#[test]
fn estimates_instead_of_exact_values_are_counted() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("set_members_max", 10).start();
    let members: String = (0..50).map(|n| format!("s:{n}|s\n")).collect();
    let samples = format!("h{}|h", ":1".repeat(1_001));
    program.udp(members);
    program.udp("few:1|s\nfew:2|s\nother:1|h");
    program.udp(samples);
    let ended = program.terminate();
    ended.balances();
    let expected = "1 sets of more than set_members_max members are estimates, and the percentiles of 1 \
                histograms of more than 1,000 samples are within 1 % (said once)";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}
