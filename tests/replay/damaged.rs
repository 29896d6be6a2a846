//! Files that are cut off, damaged or none: a message with the place, and an exit code.

use std::net::UdpSocket;

use super::agent_file::{file, message, written};
use crate::support::program::whippet;

/// The message of `whippet replay` for these bytes, live (exit code 1) and offline (2).
#[track_caller]
fn refused(bytes: &[u8], expect: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "f.dog", bytes);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap().to_string();
    for (arguments, code) in
        [(["--to", &to, "--speed", "max"], 1), (["--offline", "--format", "json", "-v"], 2)]
    {
        let arguments = if code == 2 { &arguments[..3] } else { &arguments[..] };
        let output = whippet().arg("replay").arg(&path).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let message = said.lines().last().unwrap_or_default();
        let expect = format!("whippet: {}: {expect}", path.display());
        assert_eq!((message, output.status.code()), (&*expect, Some(code)), "{said}");
    }
}

/// Two whole records; where the second begins.
fn two() -> (Vec<u8>, usize) {
    let records: [(u64, &[u8], u32); 2] = [(1, b"a:1|c", 1), (2, b"b:1|c", 1)];
    (file(3, &records), 8 + 4 + message(records[0]).len())
}

#[test]
fn what_is_no_capture_is_told_from_one() {
    let begins = |shown: &str| {
        format!(
            "not a capture file: it begins with {shown}, a capture with d4 74 d0 60; use a file of \
             `whippet capture` or `agent dogstatsd-capture`"
        )
    };
    refused(b"", &begins("nothing"));
    refused(b"hello, world", &begins("68 65 6c 6c 6f 2c 20 77"));
    refused(&[0xd4, 0x74, 0xd0, 0x60, 0xf3, 0xff, 0x00], &begins("d4 74 d0 60 f3 ff 00"));
    refused(
        &[0xd4, 0x74, 0xd0, 0x60, 0xf4, 0xff, 0x00, 0x00],
        "version 4 of the capture format; versions 0 to 3 can be read; update whippet",
    );
}

#[test]
fn a_file_that_is_cut_off_names_the_record_and_its_offset() {
    let (whole, second) = two();
    let end = whole.len();
    let only = "; records before it are whole; --records 1 reads only those";
    refused(
        &whole[..second + 2],
        &format!(
            "record 2 at byte {second}: the file is cut off: 2 of the 4 bytes of the length are there{only}"
        ),
    );
    let length = message((2, b"b:1|c", 1)).len();
    refused(
        &whole[..second + 4 + 9],
        &format!(
            "record 2 at byte {second}: the file is cut off: 9 of {length} bytes are there{only}"
        ),
    );
    let state = end - (second + 4 + length);
    let two = "; records before it are whole; --records 2 reads only those";
    refused(
        &whole[..end - state],
        &format!(
            "record 3 at byte {}: the file is cut off: the closing section is missing{two}",
            end - state
        ),
    );
    refused(
        &whole[..8],
        "record 1 at byte 8: the file is cut off: the closing section is missing; records before it are whole",
    );
    // The first versions have no closing section.
    let old = file(1, &[(1, b"a:1|c", 1)]);
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "old", &old);
    let output = whippet().arg("replay").arg(&path).arg("--offline").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_file_that_is_damaged_names_the_record_and_what_is_wrong() {
    let (whole, second) = two();
    let only = "; records before it are whole; --records 1 reads only those";
    let place = format!("record 2 at byte {second}: the file is damaged: ");
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    refused(
        &changed(second, &[0xff, 0xff, 0xff, 0xff]),
        &format!("{place}a length of 4294967295 bytes; a record has at most 16842752{only}"),
    );
    // payloadSize, which follows key and value of the time.
    refused(
        &changed(second + 4 + 3, &[6]),
        &format!("{place}a payload of 6 bytes is announced, 5 are there{only}"),
    );
    // A length of the closing section that is not its own.
    let end = whole.len();
    let third = second + (4 + message((2, b"b:1|c", 1)).len());
    let found = end - third - 8;
    refused(
        &changed(end - 4, &[1, 0, 0, 0]),
        &format!(
            "record 3 at byte {third}: the file is damaged: the closing section announces 1 bytes, {found} are there; \
             records before it are whole; --records 2 reads only those"
        ),
    );
}

#[test]
fn bytes_that_are_no_message_and_times_before_1970_are_damage() {
    let with = |message: &[u8]| {
        let mut bytes = file(3, &[])[..8].to_vec();
        bytes.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
        bytes.extend(message);
        bytes
    };
    let folder = tempfile::tempdir().unwrap();
    let before_1970 = [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    for (message, expect) in [
        (&[0xff, 0xff][..], "record 1 at byte 8: the file is damaged: not a record: "),
        (&[26, 200, 1, b'x'], "record 1 at byte 8: the file is damaged: not a record: "),
        (&before_1970, "record 1 at byte 8: the file is damaged: the time -1 is before 1970"),
        (&[16, 0xff, 0xff, 0xff, 0xff, 0x0f], "a payload of -1 bytes is announced, 0 are there"),
    ] {
        let path = written(folder.path(), "f", &with(message));
        let output = whippet().arg("replay").arg(&path).arg("--offline").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expect), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn compressed_data_that_ends_early_is_cut_off() {
    let long = vec![b'x'; 300_000];
    let whole = zstd::encode_all(&file(3, &[(1, b"a:1|c", 1), (2, &long, 1)])[..], 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "f", &whole[..whole.len() - 9]);
    let output = whippet().arg("replay").arg(&path).arg("--offline").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(
            " of the decompressed data: the file is cut off: the compressed data ends early"
        ),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_whole_records_of_a_damaged_file_can_be_used() {
    let (whole, second) = two();
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "f", &whole[..second + 6]);
    let output =
        whippet().arg("replay").arg(&path).args(["--offline", "--records", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let posted = String::from_utf8(output.stdout).unwrap();
    assert!(posted.contains(r#""metric":"a""#) && !posted.contains(r#""metric":"b""#), "{posted}");
}
