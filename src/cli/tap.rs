//! `whippet tap`: lines as they arrive.

use std::io::{self, BufRead, Write};

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use crate::http::encoded;
use crate::text::{grouped, printable};

/// Characters shown of a line.
const WIDTH: usize = 8_192;

#[derive(Args)]
pub(super) struct TapArgs {
    /// Show only lines that match this regular expression, such as '^checkout\.' or 'env:prod'.
    #[arg(long = "match", value_name = "REGEX", default_value = "")]
    pattern: String,
    /// Stop after this many lines; without it, at ^C.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Print one JSON object per line: listener, sender, line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TapArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    super::reader::end_with_it()?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let target = format!("/tap?limit={limit}&match={}", encoded(&args.pattern));
    let mut reader = AdminClient::of(settings)?.open(&target)?;
    let mut text = String::new();
    loop {
        text.clear();
        if reader.read_line(&mut text).context("the server went away")? == 0 {
            return Ok(());
        }
        if text.trim().is_empty() {
            continue;
        }
        let tapped: Value = serde_json::from_str(&text).context("reading the response")?;
        if let Some(missed) = tapped["missed"].as_u64() {
            let missed = grouped(missed);
            // Not `eprintln!`, which panics when no one reads standard error.
            let _ =
                writeln!(io::stderr(), "({missed} lines were skipped: they came too fast to show)");
        } else if args.json {
            admin_client::print_json(&text)?;
        } else {
            let part =
                |name: &str| printable(tapped[name].as_str().unwrap_or_default().as_bytes(), WIDTH);
            admin_client::print(&format!(
                "{} {}  {}\n",
                part("listener"),
                part("sender"),
                part("line")
            ))?;
        }
    }
}
