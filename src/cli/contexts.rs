//! `whippet dump-contexts`, and the ranking of a dump (`whippet top --path`).

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use crate::config::{self, Mode};

#[derive(Args)]
pub(super) struct DumpArgs {
    /// Write to this file instead of run_path/whippet/dogstatsd_contexts.json.zstd.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the running server's contexts to a file and prints its path.
pub(super) fn dump(args: &DumpArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    let path = match &args.output {
        Some(path) => path.clone(),
        None => {
            // An Agent that shares run_path has a file of this name.
            let run_path = config::load(settings.sources(Mode::Run))?.config.run_path;
            run_path.join("whippet").join("dogstatsd_contexts.json.zstd")
        }
    };
    let mut dump = AdminClient::of(settings)?.open("/contexts.zstd")?;
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    // Metric names and tags may be confidential.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let mut file = file.with_context(|| path.display().to_string())?;
    io::copy(&mut dump, &mut file)
        .and_then(|_| file.flush())
        .with_context(|| path.display().to_string())?;
    admin_client::print(&format!("{}\n", path.display()))
}

/// The fields of a dumped context that the ranking needs.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dumped {
    name: String,
    #[serde(default)]
    tagger_tags: Option<Vec<String>>,
    #[serde(default)]
    metric_tags: Option<Vec<String>>,
}

/// The ranking of a dump by whippet or an Agent, compressed or not, in the format of `/top`.
pub(super) fn rank_file(path: &Path, names: usize, keys: usize) -> anyhow::Result<Value> {
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    let mut file = BufReader::new(file);
    let is_zstd = file.fill_buf()?.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]);
    let plain: Box<dyn Read> = if is_zstd { unpacked(file)? } else { Box::new(file) };
    rank(BufReader::new(plain), names, keys).with_context(|| path.display().to_string())
}

#[cfg(feature = "zstd")]
fn unpacked(file: BufReader<fs::File>) -> anyhow::Result<Box<dyn Read>> {
    Ok(Box::new(zstd::stream::read::Decoder::with_buffer(file)?))
}

#[cfg(not(feature = "zstd"))]
fn unpacked(_: BufReader<fs::File>) -> anyhow::Result<Box<dyn Read>> {
    anyhow::bail!("it is compressed, but this whippet was built without zstd; decompress it first")
}

/// The contexts of a metric, and the values of each of its tag keys.
#[derive(Default)]
struct Ranked {
    contexts: u64,
    keys: HashMap<String, HashSet<String>>,
}

fn rank(dump: impl BufRead, names: usize, keys: usize) -> anyhow::Result<Value> {
    let mut ranked: HashMap<String, Ranked> = HashMap::new();
    for (at, line) in dump.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let dumped: Dumped = serde_json::from_str(&line)
            .with_context(|| format!("line {} is not a dumped context", at + 1))?;
        let name = ranked.entry(dumped.name).or_default();
        name.contexts += 1;
        for tag in [dumped.tagger_tags, dumped.metric_tags].into_iter().flatten().flatten() {
            let (key, value) = tag.split_once(':').unwrap_or((&tag, ""));
            name.keys.entry(key.to_owned()).or_default().insert(value.to_owned());
        }
    }
    let mut rows: Vec<(String, Ranked)> = ranked.into_iter().collect();
    rows.sort_by(|a, b| b.1.contexts.cmp(&a.1.contexts).then_with(|| a.0.cmp(&b.0)));
    let rest = rows.split_off(names.min(rows.len()));
    let row = |(name, ranked): &(String, Ranked)| {
        let mut sizes: Vec<(&str, usize)> =
            ranked.keys.iter().map(|(key, values)| (key.as_str(), values.len())).collect();
        sizes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let others = sizes.split_off(keys.min(sizes.len()));
        let key = |(key, values): &(&str, usize)| json!({ "key": key, "values": values });
        json!({
            "name": name,
            "contexts": ranked.contexts,
            "tag_keys": sizes.iter().map(key).collect::<Vec<_>>(),
            "other_keys": {
                "keys": others.len(),
                "values": others.iter().map(|(_, values)| values).sum::<usize>(),
            },
        })
    };
    Ok(json!({
        "names": rows.iter().map(row).collect::<Vec<_>>(),
        "others": {
            "names": rest.len(),
            "contexts": rest.iter().map(|(_, ranked)| ranked.contexts).sum::<u64>(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_ranked_and_its_tail_summed_up() {
        let dump = r#"
            {"Name":"b","Host":"","Type":"Gauge","TaggerTags":null,"MetricTags":["x:1","bare"]}
            {"Name":"a","TaggerTags":["pod:1"],"MetricTags":["x:1","y:1","y:2"],"Source":1}
            {"Name":"b","TaggerTags":[],"MetricTags":["x:2"]}
            {"Name":"c"}"#;
        let ranking = rank(dump.as_bytes(), 2, 1).unwrap();
        let names = ranking["names"].as_array().unwrap();
        assert_eq!(
            names[0],
            json!({"name": "b", "contexts": 2, "tag_keys": [{"key": "x", "values": 2}],
                "other_keys": {"keys": 1, "values": 1}})
        );
        assert_eq!(names[1]["tag_keys"], json!([{"key": "y", "values": 2}]));
        assert_eq!(ranking["others"], json!({"names": 1, "contexts": 1}));
        let error = rank(&b"{}"[..], 1, 1).unwrap_err();
        assert!(format!("{error:#}").starts_with("line 1 is not a dumped context"), "{error:#}");
    }
}
