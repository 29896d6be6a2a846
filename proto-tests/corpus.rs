//! Runs `corpus/*.txt`; the format is described in `corpus/README.md`.

use std::fs;
use std::path::{Path, PathBuf};

use whippet::protocol::{self, Escaped, Options};

use crate::print;

/// One line of a corpus file.
struct Case {
    /// `file:line`
    place: String,
    id: String,
    setting: Setting,
    input: Vec<u8>,
    outcome: Vec<u8>,
}

/// What the options column says.
#[derive(Clone, Copy, Default)]
struct Setting {
    options: Options,
    newline_required: bool,
}

/// Files whose rows follow the protocol's tables, and the prefix of their ids.
const TABLES: [(&str, &str); 3] = [("metrics.txt", "M"), ("events.txt", "E"), ("checks.txt", "S")];

#[test]
fn every_case_reads_as_written() {
    let files = files();
    assert!(TABLES.iter().all(|(name, _)| files.contains(&directory().join(name))), "{files:?}");
    let cases: Vec<Case> = files.iter().flat_map(|file| cases(file)).collect();
    let wrong: Vec<String> = cases.iter().filter_map(complaint).collect();
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_rows_of_the_tables_are_numbered_without_a_gap() {
    for (name, prefix) in TABLES {
        let is_row = |id: &String| {
            id.strip_prefix(prefix).is_some_and(|number| number.parse::<usize>().is_ok())
        };
        let mut ids: Vec<String> =
            cases(&directory().join(name)).into_iter().map(|case| case.id).filter(is_row).collect();
        ids.dedup();
        let expect: Vec<String> = (1..=ids.len()).map(|row| format!("{prefix}{row}")).collect();
        assert_eq!(ids, expect, "{name}");
    }
}

#[test]
fn escapes_of_the_files_are_those_of_the_program() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unescape(&Escaped(&all).to_string()).unwrap(), all);
    assert_eq!(unescape("é\\x41").unwrap(), "éA".as_bytes());
    for wrong in ["\\", "\\q", "\\x4", "\\xgg", "\\x+1"] {
        assert!(unescape(wrong).is_err(), "{wrong}");
    }
}

/// What is wrong with a case, if anything: both sides escaped, the got one ready to paste.
fn complaint(case: &Case) -> Option<String> {
    let got = outcome(&case.input, case.setting);
    (got != case.outcome).then(|| {
        let (expect, got) = (Escaped(&case.outcome), Escaped(&got));
        format!("{}: {}\n    expect  {expect}\n    got     {got}", case.place, case.id)
    })
}

fn outcome(datagram: &[u8], setting: Setting) -> Vec<u8> {
    let lines: Vec<Vec<u8>> = protocol::lines(datagram)
        .map(|line| {
            if setting.newline_required && !line.terminated {
                return b"unterminated".to_vec();
            }
            print::line(protocol::read(line.bytes, setting.options))
        })
        .collect();
    if lines.is_empty() { b"nothing".to_vec() } else { lines.join(&b" ; "[..]) }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-tests/corpus")
}

/// The text files here, but for what other runners read (their own columns begin with `#!`).
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("#!"))
        .collect();
    files.sort();
    files
}

fn cases(file: &Path) -> Vec<Case> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lines = text.lines().enumerate();
    let cases: Vec<Case> = lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let place = format!("proto-tests/corpus/{name}:{}", index + 1);
            case(place.clone(), line).unwrap_or_else(|problem| panic!("{place}: {problem}"))
        })
        .collect();
    assert!(!cases.is_empty(), "{name} has no case");
    cases
}

fn case(place: String, line: &str) -> Result<Case, String> {
    let (id, rest) = column(line)?;
    let (options, rest) = column(rest)?;
    let (input, outcome) = column(rest)?;
    let input = if input == "-" { Vec::new() } else { unescape(input)? };
    Ok(Case {
        place,
        id: id.to_string(),
        setting: setting(options)?,
        input,
        outcome: unescape(outcome)?,
    })
}

/// The next column and what follows the two or more spaces behind it.
fn column(line: &str) -> Result<(&str, &str), String> {
    let (column, rest) =
        line.split_once("  ").ok_or("id, options, input and outcome, two spaces between them")?;
    Ok((column, rest.trim_start_matches(' ')))
}

fn setting(column: &str) -> Result<Setting, String> {
    let mut setting = Setting::default();
    for word in column.split(',').filter(|word| *word != "-") {
        match word {
            "no-timestamps" => setting.options.timestamps = false,
            "origin" => setting.options.origin = true,
            "eol" => setting.newline_required = true,
            _ => return Err(format!("{word} is not an option")),
        }
    }
    Ok(setting)
}

pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, length) = match rest {
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', high, low, ..] => (hex(*high)? << 4 | hex(*low)?, 3),
            _ => return Err(format!("bad escape in {text}")),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    Ok(bytes)
}

fn hex(digit: u8) -> Result<u8, String> {
    let value = char::from(digit).to_digit(16).ok_or("\\x needs two hexadecimal digits")?;
    Ok(u8::try_from(value).unwrap())
}
