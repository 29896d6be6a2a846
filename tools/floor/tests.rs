use crate::line::{self, Line};
use crate::table::Table;

fn read(text: &str) -> Vec<String> {
    let mut rest = text.as_bytes();
    let mut all = Vec::new();
    while let Some(line) = line::next(&mut rest) {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let (name, kind, tags) = (text(line.name), char::from(line.kind), text(line.tags));
        all.push(format!("{name} {kind} {} [{tags}]", line.sum));
    }
    all
}

#[track_caller]
fn reads(text: &str, expect: &[&str]) {
    assert_eq!(read(text), expect, "{text:?}");
}

#[test]
fn lines_are_taken_apart() {
    reads("a:1|c\n", &["a c 1 []"]);
    reads("a:1|c", &["a c 1 []"]);
    reads("a:1:2:3|ms|@0.5|#x:1,y|c:ci-1\nb:7|g\n", &["a m 6 [x:1,y]", "b g 7 []"]);
    reads("a:1|ms|#x|c:ci-1", &["a m 1 [x]"]);
    reads("a:1.5|g|#x", &["a g 1.5 [x]"]);
    reads("a:-3|g", &["a g -3 []"]);
    reads("a:u7|s|c:ci-1|#x:1", &["a s 1 [x:1]"]);
    reads("a:99999999999999999999|c", &["a c 100000000000000000000 []"]);
    reads("", &[]);
}

#[test]
fn a_broken_line_loses_only_itself() {
    reads("nonsense\na:1|c\n", &[" \0 0 []", "a c 1 []"]);
    reads("a:1\nb:2|c\n", &[" \0 0 []", "b c 2 []"]);
    reads("\n\na:1|c", &[" \0 0 []", " \0 0 []", "a c 1 []"]);
    reads("a:", &[" \0 0 []"]);
    reads("a:1|", &[" \0 0 []"]);
    reads("a:1|c|", &["a c 1 []"]);
}

#[test]
fn a_table_that_grows_keeps_every_sum() {
    let mut table = Table::default();
    let names: Vec<String> = (0..20_000).map(|n| format!("name.{n}")).collect();
    for round in 1..=3 {
        for name in &names {
            let line =
                Line { name: name.as_bytes(), kind: b'c', tags: b"x:1", sum: f64::from(round) };
            table.add(table.hash(&line), &line);
        }
    }
    assert_eq!((table.len(), table.total()), (20_000, 120_000.0));
}

#[test]
fn name_kind_and_tags_are_identity_and_their_borders_count() {
    let mut table = Table::default();
    let rows = [
        ("ab", b'c', "x"),
        ("a", b'c', "bx"),
        ("ab", b'm', "x"),
        ("ab", b'c', "y"),
        ("abx", b'c', ""),
    ];
    for (name, kind, tags) in rows {
        let (name, tags) = (name.as_bytes(), tags.as_bytes());
        let line = Line { name, kind, tags, sum: 1.0 };
        // The same hash for all: only the bytes tell them apart.
        table.add(7, &line);
        table.add(7, &line);
    }
    assert_eq!((table.len(), table.total()), (rows.len(), 2.0 * rows.len() as f64));
}
