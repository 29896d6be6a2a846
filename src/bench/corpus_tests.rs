use std::collections::{BTreeMap, HashSet};

use super::super::shape::{Profile, VALUE_BYTES_MAX};
use super::*;

/// A second, slow reader that shares nothing with the writer but the wire format.
struct Naive<'a> {
    name: &'a str,
    values: Vec<&'a str>,
    kind: &'a str,
    rate: f64,
    tags: Vec<&'a str>,
    origin: Option<&'a str>,
}

fn read(line: &str) -> Naive<'_> {
    let mut fields = line.split('|');
    let (name, values) = fields.next().unwrap().split_once(':').unwrap();
    let kind = fields.next().unwrap();
    let mut naive = Naive {
        name,
        values: values.split(':').collect(),
        kind,
        rate: 1.0,
        tags: vec![],
        origin: None,
    };
    for field in fields {
        match field.split_at(1) {
            ("@", rate) => naive.rate = rate.parse().unwrap(),
            ("#", tags) => naive.tags = tags.split(',').collect(),
            ("c", origin) => naive.origin = Some(origin),
            _ => panic!("unexpected field {field} in {line}"),
        }
    }
    naive.tags.sort_unstable();
    naive
}

fn lines(corpus: &Corpus) -> Vec<&str> {
    (0..corpus.len()).flat_map(|i| datagram_lines(corpus, i)).collect()
}

fn datagram_lines(corpus: &Corpus, index: usize) -> Vec<&str> {
    let text = std::str::from_utf8(corpus.payload(index)).unwrap();
    assert!(text.ends_with('\n'), "every line ends with a newline");
    text.lines().collect()
}

fn small(profile: Profile) -> Corpus {
    let shape = Shape { contexts: 300, names: 30, ..profile.shape() };
    Corpus::write(&shape, 1, 5_000, Framing::Bare).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    for profile in [Profile::Single, Profile::Packed, Profile::Uds, Profile::Realistic] {
        let shape = Shape { contexts: 100, ..profile.shape() };
        let write = |seed| Corpus::write(&shape, seed, 500, Framing::Bare).unwrap();
        assert_eq!(write(5), write(5), "{profile:?}");
        assert_ne!(write(5).bytes, write(6).bytes, "{profile:?}");
    }
}

#[test]
fn the_bytes_of_a_seed_do_not_change_between_releases() {
    let shape = Shape { contexts: 3, names: 3, ..Profile::Packed.shape() };
    let corpus = Corpus::write(&shape, 1, 3, Framing::Bare).unwrap();
    let text = String::from_utf8(corpus.payload(0).to_vec()).unwrap();
    assert_eq!(text, PINNED, "records under benches/record/ are no longer comparable");
}

const PINNED: &str = "\
bz0p2dl.4kp0p15:4347|ms|#khiw:ojld7xt1q,qwla:qg1dhbjsm,tad:06hpiwm
ec0pwkt.cz6ulgx.v59cw1:39|c|#o8k:q9gwg6,gs4o:qb6uukz,gxgu:boi88a01f
cubziuv.9o7i1yd.2f0x:8440|g|#s88:riiseju,qhj1:b0ngzszm,tjaq0:9tqkz9ugd
";

#[test]
fn totals_equal_a_recount_by_an_independent_reader() {
    for profile in [Profile::Single, Profile::Packed, Profile::Realistic] {
        let corpus = small(profile);
        let half = corpus.len() / 2;
        // Two senders: one goes twice round and a bit, the other wraps in the middle.
        let spans = [
            Span { start: 0, count: 2 * corpus.len() as u64 + 3 },
            Span { start: half, count: corpus.len() as u64 - 1 },
            Span { start: 1, count: 0 },
        ];
        let (mut datagrams, mut count, mut values, mut bytes) = (0, 0, 0, 0);
        let mut sums: BTreeMap<(String, String), f64> = BTreeMap::new();
        for span in spans {
            for step in 0..span.count {
                let index = (span.start + step as usize) % corpus.len();
                datagrams += 1;
                bytes += corpus.datagram(index).len() as u64;
                for line in datagram_lines(&corpus, index) {
                    let naive = read(line);
                    count += 1;
                    values += if naive.kind == "s" { 1 } else { naive.values.len() as u64 };
                    if naive.kind == "c" {
                        let sum: f64 = naive.values.iter().map(|v| v.parse::<f64>().unwrap()).sum();
                        *sums.entry((naive.name.into(), naive.tags.join(","))).or_default() +=
                            sum / naive.rate;
                    }
                }
            }
        }
        let tally = corpus.tally(&spans);
        assert_eq!(tally.traffic, Traffic { datagrams, lines: count, values, bytes });
        let totals: BTreeMap<(String, String), f64> = corpus
            .counters()
            .iter()
            .zip(&tally.counters)
            .filter_map(|(context, sum)| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                Some(((text(&context.name), text(&contexts::sorted(&context.tags))), (*sum)?))
            })
            .collect();
        assert_eq!(totals, sums, "{profile:?}");
        assert!(sums.len() > 50, "{profile:?} has {} counters", sums.len());
    }
}

#[test]
fn a_series_that_was_never_sent_has_no_sum() {
    let corpus = small(Profile::Single);
    let tally = corpus.tally(&[Span { start: 0, count: 1 }]);
    assert!(tally.counters.iter().flatten().count() <= 1);
}

#[test]
fn every_context_occurs_equally_often() {
    let shape = Shape { contexts: 250, names: 25, ..Profile::Packed.shape() };
    let corpus = Corpus::write(&shape, 1, 1_000, Framing::Bare).unwrap();
    let mut seen: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for line in lines(&corpus) {
        let naive = read(line);
        *seen.entry((naive.name, naive.tags.join(","))).or_default() += 1;
    }
    assert_eq!(seen.len(), 250);
    assert!(seen.values().all(|&times| times == 4), "{:?}", seen.values());
}

#[test]
fn a_block_holds_every_context_even_when_fewer_lines_are_asked() {
    let shape = Shape { contexts: 250, ..Profile::Packed.shape() };
    let corpus = Corpus::write(&shape, 1, 1, Framing::Bare).unwrap();
    assert_eq!(lines(&corpus).len(), 250);
}

#[test]
fn the_plain_profiles_have_the_stated_lines() {
    for (profile, payload) in [(Profile::Packed, 1432), (Profile::Uds, 8192)] {
        let corpus = Corpus::write(&profile.shape(), 1, 30_000, Framing::Bare).unwrap();
        let lines = lines(&corpus);
        let mean = corpus.bytes.len() as f64 / lines.len() as f64;
        assert!((66.0..70.0).contains(&mean), "{profile:?} lines have {mean} bytes");
        for kind in ["c", "g", "ms"] {
            let share = lines.iter().filter(|l| read(l).kind == kind).count() as f64 / 30_000.0;
            assert!((0.32..0.35).contains(&share), "{profile:?}: {kind} {share}");
        }
        assert!(lines.iter().all(|l| read(l).tags.len() == 3));
        for index in 0..corpus.len() {
            let bytes = corpus.payload(index).len();
            assert!(bytes <= payload, "{bytes} over {payload}");
            assert!(index + 1 == corpus.len() || bytes > payload - 90, "{bytes} wastes {payload}");
        }
    }
}

#[test]
fn single_has_one_line_in_each_datagram() {
    let corpus = small(Profile::Single);
    assert!((0..corpus.len()).all(|i| datagram_lines(&corpus, i).len() == 1));
}

#[test]
fn realistic_has_the_published_proportions() {
    let shape = Profile::Realistic.shape();
    let corpus = Corpus::write(&shape, 1, 6_000, Framing::Bare).unwrap();
    let naive: Vec<Naive> = lines(&corpus).into_iter().map(read).collect();
    let share = |test: &dyn Fn(&Naive) -> bool| {
        naive.iter().filter(|n| test(n)).count() as f64 / naive.len() as f64
    };
    let mean = corpus.bytes.len() as f64 / naive.len() as f64;
    assert!((1_900.0..2_300.0).contains(&mean), "lines of {mean} bytes");
    for (kind, weight) in [("c", 208.0), ("g", 66.0), ("d", 72.0), ("s", 9.0), ("h", 1.0)] {
        let share = share(&|n| n.kind == kind);
        assert!((share - weight / 356.0).abs() < 0.005, "{kind} {share}");
    }
    let packed = share(&|n| n.values.len() > 1);
    assert!((0.065..0.095).contains(&packed), "packed {packed}");
    let sampled = share(&|n| n.rate < 1.0);
    assert!((0.37..0.43).contains(&sampled), "sampled {sampled}");
    let origin: HashSet<&str> = naive.iter().filter_map(|n| n.origin).collect();
    let distinct = origin.len() as f64 / naive.len() as f64;
    assert!((0.47..0.53).contains(&distinct), "distinct origins {distinct}");
    assert!(naive.iter().all(|n| (1..=210).contains(&n.name.len())));
    assert!(naive.iter().all(|n| (2..=50).contains(&n.tags.len())));
    assert!(naive.iter().flat_map(|n| &n.tags).all(|t| (3..=150).contains(&t.len())));
    assert!(naive.iter().all(|n| n.values.len() <= 32));
    assert!((0..corpus.len()).all(|i| corpus.payload(i).len() <= 8192));
}

#[test]
fn values_never_exceed_the_bytes_kept_for_them() {
    for line in lines(&small(Profile::Realistic)) {
        assert!(read(line).values.iter().all(|v| v.len() < VALUE_BYTES_MAX), "{line}");
    }
}

#[test]
fn frames_hold_the_same_payload_behind_its_length() {
    let shape = Shape { contexts: 100, ..Profile::Uds.shape() };
    let bare = Corpus::write(&shape, 1, 500, Framing::Bare).unwrap();
    let framed = Corpus::write(&shape, 1, 500, Framing::LengthPrefixed).unwrap();
    assert_eq!(bare.len(), framed.len());
    for index in 0..bare.len() {
        assert_eq!(bare.payload(index), framed.payload(index));
        let length = u32::from_le_bytes(framed.datagram(index)[..4].try_into().unwrap());
        assert_eq!(length as usize, bare.payload(index).len());
    }
}
