//! `whippet telemetry`: whether whippet reports on itself, and what it would say.

use std::fmt::Write as _;

use clap::Args;

use super::config_args::ConfigArgs;
use super::{print, run};
use crate::config::{self, Mode};
use crate::server::self_report;

#[derive(Args)]
pub(super) struct TelemetryArgs {
    /// Print the requests that a start would send, one JSON object per line, and send nothing; every
    /// metric is there once, with the value 0.
    #[arg(long)]
    dry_run: bool,
}

/// Prints the state, or the requests. The setting need not be on to see them.
pub(super) fn telemetry(args: &TelemetryArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    let loaded = config::load(settings.sources(Mode::Run))?;
    if args.dry_run {
        let identity = run::identity(&loaded);
        let requests = self_report::dry_run(&loaded, identity.hostname.as_deref())?;
        return print(&requests.iter().map(|request| format!("{request}\n")).collect::<String>());
    }
    let (config, mut text) = (&loaded.config, String::new());
    let to = self_report::destination(config);
    // Writing into memory does not fail.
    let _ = if config.instrumentation_telemetry {
        let origin = loaded.origin("instrumentation_telemetry");
        writeln!(text, "on ({origin}): whippet reports on itself to {to}")
    } else {
        writeln!(
            text,
            "off: whippet sends nothing about itself; instrumentation_telemetry: true would send to {to}"
        )
    };
    text.push_str("whippet telemetry --dry-run shows what is sent\n");
    print(&text)
}
