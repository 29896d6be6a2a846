//! Runs `corpus/posted.txt`: settings and lines on the left, what is posted after the flush on the
//! right; the format is described at its top.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use whippet::context::{EXEMPT_PREFIXES, Namespace, Rules};
use whippet::flush::{Aggregate, HistogramSettings, Percentile};
use whippet::protocol::Escaped;

use crate::corpus::unescape;
use crate::posting::{House, Settings};

/// When everything arrives: the third second of a bucket.
const ARRIVAL: u64 = 1_700_000_003;
/// When that bucket has passed.
const PASSED: u64 = 1_700_000_010;

#[test]
fn every_case_posts_as_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-tests/corpus/posted.txt");
    let file = fs::read_to_string(path).expect("the corpus");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for (index, line) in file.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        cases += 1;
        let place = format!("proto-tests/corpus/posted.txt:{}", index + 1);
        match complaint(line) {
            Ok(None) => {}
            Ok(Some(complaint)) => wrong.push(format!("{place}: {complaint}")),
            Err(problem) => panic!("{place}: {problem}"),
        }
    }
    assert!(cases > 0, "no case found");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

fn complaint(line: &str) -> Result<Option<String>, String> {
    let columns: Vec<&str> =
        line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    let [id, settings, input, outcome] = columns[..] else {
        return Err("id, settings, input and outcome, two spaces between them".to_owned());
    };
    let mut house = House::new(self::settings(settings)?, 1, ARRIVAL);
    house.datagram(0, Duration::from_secs(ARRIVAL), &unescape(input)?);
    // The bucket's own second goes without saying.
    let plain = |line: String| line.replace(" at 1700000000", "").replace(" at 1700000003", " now");
    let mut got: Vec<String> = house.pass(PASSED, &[0]).into_iter().map(plain).collect();
    got.sort();
    let got = if got.is_empty() { "nothing".to_owned() } else { got.join(" ; ") };
    let expect = unescape(outcome)?;
    Ok((got.as_bytes() != expect).then(|| {
        let (got, expect) = (Escaped(got.as_bytes()), Escaped(&expect));
        format!("{id}\n    expect  {expect}\n    got     {got}")
    }))
}

fn settings(column: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let mut rules = Rules { default_host: Box::from(&b"host"[..]), ..Rules::default() };
    let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
    for word in column.split_whitespace().filter(|word| *word != "-") {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let list = value.split(',').filter(|item| !item.is_empty());
        match key {
            "no-timestamps" => settings.shard.options.timestamps = false,
            "origin" => settings.shard.options.origin = true,
            "eol" => settings.newline_required = true,
            "namespace" => {
                rules.namespace = Namespace::new(value, &EXEMPT_PREFIXES.map(String::from))
            }
            "tags" => rules.common_tags = list.map(bytes).collect(),
            "copy" => settings.shard.histogram_copy = Some(bytes(value)),
            "members" => settings.shard.set_members_max = value.parse().map_err(|_| word)?,
            "aggregates" => {
                let aggregates: Option<Vec<_>> = list.map(Aggregate::from_word).collect();
                settings.histograms.aggregates = aggregates.ok_or(word)?;
            }
            "percentiles" => {
                let share = |text: &str| text.parse().ok().and_then(Percentile::new);
                let percentiles: Option<Vec<_>> = list.map(share).collect();
                settings.histograms.percentiles = percentiles.ok_or(word)?;
            }
            "only-count" => {
                let aggregates = vec![Aggregate::Count, Aggregate::Sum];
                settings.histograms = HistogramSettings { aggregates, percentiles: Vec::new() };
            }
            _ => return Err(format!("{word} is not a setting")),
        }
    }
    settings.rules = Arc::new(rules);
    Ok(settings)
}
