//! `whippet top`: what costs most right now.

mod parts;
#[cfg(feature = "tui")]
mod screen;
#[cfg(feature = "tui")]
mod view;

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use self::parts::{
    doors, first_of, headline, overflow, rows, sender, tag_keys, text, whole,
    without_client_telemetry,
};
use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use super::contexts as dumped;
use crate::text::grouped;

#[derive(Args)]
pub(super) struct TopArgs {
    /// Print one screen and exit.
    #[arg(long)]
    once: bool,
    /// Print JSON, one object per screen.
    #[arg(long)]
    json: bool,
    /// Rank the contexts of a dump instead (from `whippet dump-contexts` or an Agent).
    #[arg(short, long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Seconds per screen, over which rates are computed.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    every: f64,
    /// Metrics and senders shown.
    #[arg(short, long, value_name = "COUNT", default_value_t = 10)]
    metrics: usize,
    /// Tag keys shown per metric.
    #[arg(short, long, value_name = "COUNT", default_value_t = 5)]
    tags: usize,
    /// Show the client libraries' own telemetry (`datadog.dogstatsd.client.*`) too.
    #[arg(long)]
    client_telemetry: bool,
}

/// Metrics and senders that the screen asks for, so that sorting and filtering find them.
#[cfg(feature = "tui")]
const SCREEN_NAMES: usize = 500;
/// Names of client telemetry are asked for on top, because they are left out.
const CLIENT_NAMES: usize = 32;

/// Clears the screen and goes to its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) fn run(args: &TopArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    super::reader::end_with_it()?;
    if let Some(path) = &args.path {
        let ranking = dumped::rank_file(path, args.metrics, args.tags)?;
        let mut shown = format!("{ranking}\n");
        if !args.json {
            shown.clear();
            contexts(&mut shown, &ranking);
        }
        return admin_client::print(shown.trim_start_matches('\n'));
    }
    let server = AdminClient::of(settings)?;
    // The server measures for this long before it answers, which paces the loop.
    let every = if args.every.is_finite() { args.every.clamp(0.1, 60.0) } else { 2.0 };
    let target = |names| format!("/top?seconds={every}&names={names}&keys={}", args.tags);
    let redraw = !args.once && !args.json && std::io::stdout().is_terminal();
    #[cfg(feature = "tui")]
    if redraw {
        return screen::run(server, target(SCREEN_NAMES), every, args.client_telemetry);
    }
    let hides = !args.client_telemetry && !args.json;
    let target = target(args.metrics.saturating_add(if hides { CLIENT_NAMES } else { 0 }));
    loop {
        let shown = if args.json {
            server.get(&target)?
        } else {
            let top = server.json(&target)?;
            let top =
                if hides { first_of(without_client_telemetry(top), args.metrics) } else { top };
            render(&top, every, args.once)
        };
        if args.json {
            admin_client::print_json(&shown)?;
        } else {
            let clear = if redraw { CLEAR } else { "" };
            admin_client::print_after(clear, &shown)?;
        }
        if args.once {
            return Ok(());
        }
    }
}

fn render(top: &Value, every: f64, once: bool) -> String {
    let mut out = headline(top);
    out.push_str(&if once {
        format!("; over {every} s\n")
    } else {
        format!("; every {every} s, ^C ends\n")
    });
    if let Some(sentence) = doors(&top["doors"]) {
        let _ = writeln!(out, "{sentence}");
    }
    if let Some(sentence) = overflow(&top["overflow"]) {
        let _ = writeln!(out, "\n{sentence}");
    }
    contexts(&mut out, &top["by_contexts"]);
    sent(
        &mut out,
        "Samples/s",
        "Bytes/s",
        top,
        "by_samples",
        ["samples_per_second", "bytes_per_second"],
    );
    sent(
        &mut out,
        "Bytes/s",
        "Samples/s",
        top,
        "by_bytes",
        ["bytes_per_second", "samples_per_second"],
    );
    senders(&mut out, &top["senders"]);
    out
}

/// The Agent's table.
fn contexts(out: &mut String, ranking: &Value) {
    out.push_str("\n   Contexts\tMetric name\t(number of unique values for each tag)\n");
    for row in rows(&ranking["names"]) {
        let _ = writeln!(
            out,
            "{:>11}\t{}\t({})",
            row["contexts"].as_u64().unwrap_or_default(),
            text(&row["name"]),
            tag_keys(row)
        );
    }
    let others = &ranking["others"];
    if others["names"].as_u64() > Some(0) {
        let _ = writeln!(
            out,
            "{:>11}\t(other {} metrics)",
            others["contexts"].as_u64().unwrap_or_default(),
            others["names"]
        );
    }
}

fn sent(out: &mut String, first: &str, second: &str, top: &Value, list: &str, figures: [&str; 2]) {
    let _ = writeln!(out, "\n{first:>11} {second:>13}  Metric name");
    for row in rows(&top[list]) {
        let _ = writeln!(
            out,
            "{:>11} {:>13}  {}",
            whole(&row[figures[0]]),
            whole(&row[figures[1]]),
            text(&row["name"])
        );
    }
}

fn senders(out: &mut String, senders: &Value) {
    out.push_str("\n  Packets/s     Lines/s       Bytes/s   Refused  New contexts  Sender\n");
    for row in rows(senders) {
        let _ = writeln!(
            out,
            "{:>11} {:>11} {:>13} {:>9} {:>13}  {}",
            whole(&row["packets_per_second"]),
            whole(&row["lines_per_second"]),
            whole(&row["bytes_per_second"]),
            whole(&row["refused"]),
            grouped(
                row["contexts_new"].as_u64().unwrap_or_default()
                    + row["past_cap"].as_u64().unwrap_or_default()
            ),
            sender(row),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_contexts_is_that_of_the_agent() {
        let ranking = serde_json::json!({
            "names": [{"name": "request.count", "contexts": 3,
                "tag_keys": [{"key": "env", "values": 2}, {"key": "service", "values": 1}],
                "other_keys": {"keys": 2, "values": 7}}],
            "others": {"names": 4, "contexts": 9},
        });
        let mut out = String::new();
        contexts(&mut out, &ranking);
        assert_eq!(
            out,
            "\n   Contexts\tMetric name\t(number of unique values for each tag)\n\
             \u{20}         3\trequest.count\t(2 env, 1 service, 7 values in 2 other tags)\n\
             \u{20}         9\t(other 4 metrics)\n"
        );
    }
}
