//! `whippet stats`: how often and when last each metric was sent.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use crate::text::printable;

#[derive(Args)]
pub(super) struct StatsArgs {
    /// Print JSON.
    #[arg(short, long)]
    json: bool,
    /// Print indented JSON.
    #[arg(short, long)]
    pretty_json: bool,
    /// Write to this file instead.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Count for this many seconds from now, instead of showing the counts since startup (which need
    /// dogstatsd_metrics_stats_enable).
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<f64>,
}

pub(super) fn run(args: &StatsArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    super::reader::end_with_it()?;
    let target = match args.seconds {
        Some(seconds) => format!("/stats?seconds={seconds}"),
        None => "/stats".to_owned(),
    };
    let stats = AdminClient::of(settings)?.json(&target)?;
    let shown = if args.pretty_json {
        format!("{stats:#}\n")
    } else if args.json {
        format!("{stats}\n")
    } else {
        table(&stats)
    };
    match &args.output {
        Some(path) => std::fs::write(path, shown).with_context(|| path.display().to_string()),
        None => admin_client::print(&shown),
    }
}

/// The Agent's columns, most frequent first.
fn table(stats: &Value) -> String {
    let mut rows: Vec<(u64, String, String, String)> = stats
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, row)| {
            let text = |name: &str| {
                let text = row[name].as_str().unwrap_or_default();
                printable(text.as_bytes(), 200)
            };
            (
                row["count"].as_u64().unwrap_or_default(),
                text("name"),
                text("tags"),
                text("last_seen"),
            )
        })
        .collect();
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (&a.1, &a.2).cmp(&(&b.1, &b.2))));
    let mut shown =
        format!("{:<40} | {:<20} | {:<10} | {:<20}\n", "Metric", "Tags", "Count", "Last Seen");
    let _ = writeln!(
        shown,
        "{}|{}|{}|{}",
        "-".repeat(41),
        "-".repeat(22),
        "-".repeat(12),
        "-".repeat(21)
    );
    for (count, name, tags, last_seen) in rows {
        let _ = writeln!(shown, "{name:<40} | {tags:<20} | {count:<10} | {last_seen:<20}");
    }
    shown
}
