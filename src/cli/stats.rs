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
    /// Show at most this many rows of the table, the most frequent; 0 for all. JSON has them all.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
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
        table(&stats, args.limit)
    };
    match &args.output {
        Some(path) => std::fs::write(path, shown).with_context(|| path.display().to_string()),
        None => admin_client::print(&shown),
    }
}

/// Widest name and list of tags, in characters; longer ones end in `…`.
const WIDTH_MAX: usize = 60;

/// The Agent's columns, most frequent first, at most `limit` rows (0: all), as wide as they need.
fn table(stats: &Value, limit: usize) -> String {
    let mut rows: Vec<(u64, String, String, String)> = stats
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, row)| {
            let text = |name: &str| {
                let text = row[name].as_str().unwrap_or_default();
                printable(text.as_bytes(), WIDTH_MAX)
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
    let total = rows.len();
    rows.truncate(if limit == 0 { total } else { limit });
    let width = |head: &str, cell: fn(&(u64, String, String, String)) -> usize| {
        rows.iter().map(cell).max().unwrap_or_default().max(head.len())
    };
    let names = width("Metric", |row| row.1.chars().count());
    let tags = width("Tags", |row| row.2.chars().count());
    let counts = width("Count", |row| row.0.to_string().len());
    let times = width("Last Seen", |row| row.3.chars().count());
    let line = |name: &str, tag: &str, count: &str, time: &str| {
        format!("{name:<names$} | {tag:<tags$} | {count:<counts$} | {time}\n")
    };
    let mut shown = line("Metric", "Tags", "Count", "Last Seen");
    let bars = [names + 1, tags + 2, counts + 2, times + 1].map(|width| "-".repeat(width));
    let _ = writeln!(shown, "{}", bars.join("|"));
    for (count, name, tag, last_seen) in &rows {
        shown.push_str(&line(name, tag, &count.to_string(), last_seen));
    }
    if total > rows.len() {
        let _ = writeln!(shown, "… and {} more; --limit 0 shows all", total - rows.len());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_whatever_is_in_them_and_rows_are_limited() {
        let row = |name: &str, count: u64| serde_json::json!({"name": name, "tags": "env:prod", "count": count, "last_seen": "2026-11-26T00:00:00Z"});
        let stats = serde_json::json!({
            "a": row(&"long.".repeat(40), 7), "b": row("b\u{202e}", 12_345_678_901), "c": row("c", 1),
        });
        let shown = table(&stats, 2);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 5, "{shown}");
        assert_eq!(lines[4], "… and 1 more; --limit 0 shows all");
        let bars = |line: &str| -> Vec<usize> {
            let all = line.chars().enumerate();
            all.filter(|(_, character)| *character == '|').map(|(at, _)| at).collect()
        };
        assert!(lines[..4].iter().all(|line| bars(line) == bars(lines[0])), "{shown}");
        assert!(lines[2].starts_with("b\\u{202e} ") && lines[3].contains('…'), "{shown}");
        assert_eq!(table(&stats, 0).lines().count(), 5);
    }
}
