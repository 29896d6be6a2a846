//! The command line: one file per subcommand.
//!
//! Exit codes: 0 done; 1 it could not start, or what was asked for failed; 2 the command line is
//! wrong; 128 + n stopped at once by a second signal n.

mod ask;
pub mod bench;
pub mod check_config;
mod diagnose;
mod logging;
mod run;
mod stats;
mod status;
mod tap;
mod top;
#[cfg(feature = "tui")]
mod top_screen;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Mode, Sources};

/// It could not start, or what was asked for failed.
pub(crate) const FAILED: u8 = 1;

#[derive(Parser)]
#[command(
    name = "whippet",
    version,
    about = "A DogStatsD server: applications that speak statsd or DogStatsD point at it unchanged.",
    after_help = "\
Examples:
  whippet                                   listen on 127.0.0.1:8125 and print what arrives
  echo \"x:1|c\" | nc -u -w1 127.0.0.1 8125   send it something
  DD_API_KEY=… whippet                      post to Datadog
  whippet run -c datadog.yaml               with the Agent's configuration file
  whippet check-config -c datadog.yaml      what would run, and what is wrong with it

Every setting is a key of the configuration file, an environment variable (DD_…, WHIPPET_…) or
--set key=value; docs/configuration.md lists them. Without a command, `run` is meant."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Listen, aggregate and post. This is what a bare `whippet` does.
    #[command(after_help = "\
Outputs (WHIPPET_OUTPUT, a list): console, jsonl[:path], datadog, none. Without it: datadog with an
API key, else console.

Signals: SIGTERM and SIGINT drain, flush and deliver within 8 s; a second one stops at once.
SIGHUP reads the configuration again.")]
    Run,
    /// Print the effective configuration with the origin of each value, and all problems.
    CheckConfig,
    /// Drive a statsd server with a known load and report what became of it.
    Bench(Box<bench::BenchArgs>),
    /// Show the state of the running server: books, queues, listeners, limits.
    Status(status::StatusArgs),
    /// Show how often each metric was sent to the running server, and when last.
    #[command(alias = "dogstatsd-stats")]
    Stats(stats::StatsArgs),
    /// Show what costs most now: metrics by contexts, samples and bytes, their tags, and senders.
    Top(top::TopArgs),
    /// Show lines as they arrive.
    Tap(tap::TapArgs),
    /// Ask every intake of the configuration whether it takes the key.
    Diagnose,
    /// Print the version.
    Version,
}

#[derive(Args, Default)]
struct Settings {
    /// Configuration file, or a folder that holds whippet.yaml, dogstatsd.yaml or datadog.yaml.
    #[arg(short, long, alias = "cfgpath", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Set one key, stronger than file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair, global = true)]
    set: Vec<(String, String)>,
}

impl Settings {
    fn sources(&self, mode: Mode) -> Sources<Vec<(String, String)>> {
        // A variable that is no text can be none of ours.
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Sources {
            file: self.config.clone(),
            env: std::env::vars_os().filter_map(text).collect(),
            flags: self.set.clone(),
            mode,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = cli.settings;
    let done = match cli.command.unwrap_or(Command::Run) {
        Command::Run => run::run(&settings),
        Command::CheckConfig => {
            check_config::check_config(settings.sources(Mode::Check), &mut std::io::stdout().lock())
                .map(|code| ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
                .map_err(Into::into)
        }
        Command::Bench(args) => {
            bench::run(*args).map(|code| ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
        }
        Command::Status(args) => status::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Stats(args) => stats::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Top(args) => top::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Tap(args) => tap::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Diagnose => diagnose::run(&settings),
        Command::Version => {
            println!("whippet {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error: anyhow::Error| {
        eprintln!("whippet: {error:#}");
        ExitCode::from(FAILED)
    })
}
