//! A capture file through the engine: what would be posted, or what another configuration would
//! change of it.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Format;
use super::diff::{self, Side};
use super::engine::{Engine, Totals};
use super::live::say;
use super::posted;
use crate::cli::config_args::ConfigArgs;
use crate::cli::exit::FAILED;
use crate::config::{self, Class, Config, Mode};
use crate::text::{bytes, grouped, printable_json, printable_lines};

/// Prints everything that would be posted, flush by flush.
pub(super) fn print(
    path: &Path,
    records: u64,
    settings: &ConfigArgs,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let config = loaded(settings)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let totals = Engine::new(&config)?.run(path, records, |payloads| {
        for posted in posted::of(&payloads)? {
            let line = match format {
                Format::Json => printable_json(&posted.json()),
                Format::Text => printable_lines(&posted.text()),
            };
            writeln!(out, "{line}")?;
        }
        Ok(())
    })?;
    out.flush()?;
    say(&summary(&totals));
    Ok(ExitCode::SUCCESS)
}

/// Prints the difference between two configurations. Exit code 1 when there is one.
pub(super) fn compare(
    path: &Path,
    records: u64,
    (settings, other): (&ConfigArgs, &ConfigArgs),
    format: Format,
) -> anyhow::Result<ExitCode> {
    let (before, totals_before) = posted_by(path, records, settings)?;
    let (after, totals_after) = posted_by(path, records, other)?;
    let all = diff::differences(&before, &after);
    let mut out = BufWriter::new(io::stdout().lock());
    for difference in &all {
        match format {
            Format::Json => {
                writeln!(out, "{}", printable_json(&difference.json().to_string()))?;
            }
            Format::Text => writeln!(out, "{}", printable_lines(&difference.text()))?,
        }
    }
    let sides = [(&before, &totals_before), (&after, &totals_after)];
    match format {
        Format::Json => {
            let [before, after] = sides.map(|(side, totals)| numbers(side, totals));
            let line = json!({
                "change": "summary", "differences": all.len(), "before": before, "after": after,
            });
            writeln!(out, "{line}")?;
        }
        Format::Text => {
            if !all.is_empty() {
                writeln!(out)?;
            }
            let names = [settings, other].map(|of| {
                let file = of.config.as_ref().map(|file| file.display().to_string());
                file.unwrap_or_else(|| "(no file)".to_owned())
            });
            let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
            for (name, (side, totals)) in names.iter().zip(sides) {
                writeln!(
                    out,
                    "{}",
                    printable_lines(&format!("{name:width$}  {}", row(side, totals)))
                )?;
            }
            writeln!(out, "{}", verdict(&all))?;
        }
    }
    out.flush()?;
    Ok(if all.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn posted_by(path: &Path, records: u64, settings: &ConfigArgs) -> anyhow::Result<(Side, Totals)> {
    let config = loaded(settings)?;
    let mut side = Side::default();
    let totals = Engine::new(&config)?.run(path, records, |payloads| {
        posted::of(&payloads)?.iter().for_each(|posted| side.add(posted));
        Ok(())
    })?;
    Ok((side, totals))
}

/// The configuration, as for `run`; its mistakes on standard error.
fn loaded(settings: &ConfigArgs) -> anyhow::Result<Config> {
    let named = settings.config.as_ref().map(|file| file.display().to_string());
    let loaded = config::load(settings.sources(Mode::Run)).map_err(|problems| {
        // The file is in the message already; a missing one is not.
        anyhow!("{problems}")
    })?;
    // Notes concern a running server only.
    for warning in loaded.warnings.iter().filter(|warning| warning.class != Class::Note) {
        say(&format!("whippet: {warning}"));
    }
    if loaded.degraded() {
        let file = named.unwrap_or_else(|| "the configuration".to_owned());
        say(&format!("whippet: {file}: some entries were skipped, see above"));
    }
    Ok(loaded.config)
}

fn summary(totals: &Totals) -> String {
    format!(
        "{} datagrams; lines {}; {} contexts; {} payloads, {}",
        grouped(totals.records),
        totals.lines,
        grouped(totals.contexts as u64),
        grouped(totals.payloads),
        size(totals.body_bytes)
    )
}

fn row(side: &Side, totals: &Totals) -> String {
    format!(
        "{} series, {} points, {} contexts, {} payloads, {}; lines {}",
        grouped(side.series() as u64),
        grouped(side.points() as u64),
        grouped(totals.contexts as u64),
        grouped(totals.payloads),
        size(totals.body_bytes),
        totals.lines
    )
}

fn numbers(side: &Side, totals: &Totals) -> Value {
    json!({
        "series": side.series(),
        "points": side.points(),
        "contexts": totals.contexts,
        "payloads": totals.payloads,
        "bytes": totals.body_bytes,
        "lines": {
            "received": totals.lines.received,
            "recorded": totals.lines.recorded(),
            "refused": totals.lines.refused_total(),
            "dropped": totals.lines.dropped_total(),
        },
    })
}

/// `same`, or `different: 2 renamed, 1 vanishes`.
fn verdict(all: &[super::changes::Difference]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for difference in all {
        *counts.entry(difference.change.word()).or_insert(0_u64) += 1;
    }
    let counts: Vec<String> =
        counts.into_iter().map(|(word, count)| format!("{} {word}", grouped(count))).collect();
    if counts.is_empty() { "same".to_owned() } else { format!("different: {}", counts.join(", ")) }
}

fn size(count: u64) -> String {
    bytes(usize::try_from(count).unwrap_or(usize::MAX))
}
