//! The arguments of `whippet send`.

use clap::{Args, Subcommand};

use super::target::Target;

/// `whippet send`.
#[derive(Args)]
pub(crate) struct Send {
    /// Target: udp://host:port, tcp://host:port, unix:///path, unixgram:///path or
    /// unixstream:///path.
    ///
    /// Default: DD_DOGSTATSD_URL, else DD_AGENT_HOST and DD_DOGSTATSD_PORT, else
    /// udp://127.0.0.1:8125.
    #[arg(long, value_name = "URL", global = true)]
    pub to: Option<Target>,
    /// Also send lines that no server would accept.
    #[arg(long, global = true)]
    pub force: bool,
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand)]
pub(crate) enum What {
    /// A metric: counter, gauge, histogram, timer, set or distribution.
    #[command(after_help = "\
Examples:
  whippet send metric page.views 1
  whippet send metric queue.depth -5 --type g
  whippet send metric request.time 12 15.5 9 --type ms --rate 0.5 --tag env:prod --tag route:/
  whippet send metric users alice bob --type s
  whippet send metric page.views 10 --timestamp 1700000000")]
    Metric(Metric),
    /// An event.
    #[command(after_help = "\
Examples:
  whippet send event \"deployed 1.2.3\" \"all hosts\" --alert-type success --tag service:web
  whippet send event disk \"$(df -h)\" --alert-type warning --priority low --key disk")]
    Event(Event),
    /// A service check.
    #[command(after_help = "\
Examples:
  whippet send check db.can_connect ok
  whippet send check db.can_connect 2 --message \"connection refused\" --tag db:main")]
    Check(Check),
    /// Lines in wire format.
    #[command(after_help = "\
Examples:
  whippet send raw 'page.views:1|c|#env:prod' 'queue.depth:7|g'
  whippet send raw - < lines.txt")]
    Raw {
        /// Lines; `-` reads them from standard input.
        #[arg(required = true, value_name = "LINE")]
        lines: Vec<String>,
    },
}

#[derive(Args)]
pub(crate) struct Metric {
    /// Its name.
    pub name: String,
    /// One or more values: numbers, or the members of a set.
    #[arg(required = true, value_name = "VALUE", allow_negative_numbers = true)]
    pub values: Vec<String>,
    /// c counter, g gauge, h histogram, ms timer, s set, d distribution.
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "c", value_parser = kind)]
    pub kind: String,
    /// The sample rate, above 0 and at most 1.
    #[arg(long, allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// A tag, as key:value or any word; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Unix timestamp in seconds: the value is posted at this time, without aggregation.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timestamp: Option<i64>,
}

#[derive(Args)]
pub(crate) struct Event {
    /// Its title.
    pub title: String,
    /// Its text; may be empty and contain newlines.
    pub text: String,
    /// info, warning, error or success.
    #[arg(long, value_name = "TYPE", value_parser = ["info", "warning", "error", "success"])]
    pub alert_type: Option<String>,
    /// normal or low.
    #[arg(long, value_parser = ["normal", "low"])]
    pub priority: Option<String>,
    /// Aggregation key: events with the same key are grouped.
    #[arg(long)]
    pub key: Option<String>,
    /// The source type.
    #[arg(long)]
    pub source: Option<String>,
    /// The host it concerns.
    #[arg(long)]
    pub host: Option<String>,
    /// A tag; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Unix timestamp in seconds. Default: the time of arrival.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timestamp: Option<i64>,
}

#[derive(Args)]
pub(crate) struct Check {
    /// Its name.
    pub name: String,
    /// 0 or ok, 1 or warning, 2 or critical, 3 or unknown.
    #[arg(value_parser = status)]
    pub status: u8,
    /// A message; may contain newlines.
    #[arg(long)]
    pub message: Option<String>,
    /// The host it concerns.
    #[arg(long)]
    pub host: Option<String>,
    /// A tag; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Unix timestamp in seconds. Default: the time of arrival.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timestamp: Option<i64>,
}

/// The letters of the protocol, or the full words.
fn kind(text: &str) -> Result<String, String> {
    let letters = match text {
        "c" | "count" | "counter" => "c",
        "g" | "gauge" => "g",
        "h" | "histogram" => "h",
        "ms" | "timer" | "timing" => "ms",
        "s" | "set" => "s",
        "d" | "distribution" => "d",
        _ => return Err("use c, g, h, ms, s or d".to_owned()),
    };
    Ok(letters.to_owned())
}

fn status(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "0" | "ok" => Ok(0),
        "1" | "warning" => Ok(1),
        "2" | "critical" => Ok(2),
        "3" | "unknown" => Ok(3),
        _ => Err("use 0 (ok), 1 (warning), 2 (critical) or 3 (unknown)".to_owned()),
    }
}

fn seconds(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(seconds),
        _ => Err("use whole unix seconds, at least 1".to_owned()),
    }
}
