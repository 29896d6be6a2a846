//! The command line: one file per subcommand.
//!
//! Exit codes: 0 done; 1 it could not start, or what was asked for failed; 2 the command line is
//! wrong; 128 + n stopped at once by a second signal n.

mod admin_client;
mod check_config;
mod config_args;
mod contexts;
mod diagnose;
mod exit;
mod explain;
mod health;
mod logging;
mod notify;
mod reference;
mod run;
mod send;
mod stats;
mod status;
mod tap;
mod top;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::config_args::ConfigArgs;
use self::exit::FAILED;
#[cfg(feature = "bench")]
use crate::bench;
use crate::config::Mode;

#[derive(Parser)]
#[command(
    name = "whippet",
    version,
    about = "A DogStatsD server: applications that speak statsd or DogStatsD point at it unchanged.",
    after_help = "\
Examples:
  whippet                                   listen on 127.0.0.1:8125 and print what arrives
  whippet send metric page.views 1          send it something
  echo \"x:1|c\" | nc -u -w1 127.0.0.1 8125   the same without whippet
  whippet explain 'x:1|c|@0.5|#a'           how a line is read, and what would be posted
  DD_API_KEY=… whippet                      post to Datadog
  whippet run -c datadog.yaml               with the Agent's configuration file
  whippet check-config -c datadog.yaml      what would run, and what is wrong with it
  whippet config port                       the settings that have to do with ports
  whippet bench --help                      put a server under load and measure it

Every setting is a key of the configuration file, an environment variable (DD_…, WHIPPET_…) or
--set key=value; `whippet config` lists them. Without a command, `run` is meant.

Exit codes: 0 done; 1 could not start, or what was asked for failed; 2 wrong command line; 128 + n
stopped at once by a second signal n."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: ConfigArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Listen, aggregate and post. This is what a bare `whippet` does.
    #[command(after_help = "\
Outputs (WHIPPET_OUTPUT, a list): console, jsonl[:path], datadog, dry-run[:bytes], none. Without it:
datadog with an API key, else console.

Signals: SIGTERM and SIGINT drain, flush and deliver within 8 s; a second one stops at once.
SIGHUP reads the configuration again.

Under systemd it takes passed sockets and tells when it is ready, reloading, stopping, and alive
(WatchdogSec=).

Examples:
  whippet run                                        print what arrives on 127.0.0.1:8125
  WHIPPET_OUTPUT=jsonl whippet run                   one JSON object per series, for scripts
  DD_API_KEY=… DD_SITE=datadoghq.eu whippet run      post to Datadog
  whippet run --dry-run | jq .body                   print the requests instead of posting them
  whippet run --set interval=1 --set bind_host=0.0.0.0")]
    Run(run::RunArgs),
    /// Send a metric, an event or a check from a shell.
    #[command(after_help = "\
Each line is read as a server would read it before it is sent, and printed. Exit code 1: something
was refused, or nobody listens (as far as the network tells).

Examples:
  whippet send metric page.views 1
  whippet send metric request.time 12 15.5 --type ms --rate 0.5 --tag env:prod
  whippet send event \"deployed 1.2.3\" \"all hosts\" --alert-type success
  whippet send check db.can_connect critical --message \"connection refused\"
  whippet send raw 'page.views:1|c|#env:prod' --to unix:///var/run/datadog/dsd.socket
  whippet send raw - < lines.txt")]
    Send(Box<send::Send>),
    /// Show how a line is read, what changes on the way, and what would be posted.
    #[command(after_help = "\
Nothing is sent. The configuration counts as it would for `run`: namespace, tags, percentiles and
so on. Exit code 1: a line is refused.

Examples:
  whippet explain 'page.views:1|c|@0.5|#env:prod'
  whippet explain 'a:1:2:3|h' '_sc|db.up|0' --set 'histogram_percentiles=0.5 0.99'
  tail -1 lines.txt | whippet explain -")]
    Explain {
        /// Lines of the protocol; `-` reads them from standard input.
        #[arg(required = true, value_name = "LINE")]
        lines: Vec<OsString>,
    },
    /// Print the effective configuration with the origin of each value, and all problems.
    #[command(after_help = "\
Secrets are never shown beyond their last characters. Exit code 1: something is wrong.

Examples:
  whippet check-config
  whippet check-config -c /etc/datadog-agent/datadog.yaml
  DD_TAGS=env:prod whippet check-config --set dogstatsd_port=9125")]
    CheckConfig,
    /// List the settings: name, default, what it does.
    #[command(after_help = "\
Examples:
  whippet config                       all of them
  whippet config tags                  those with `tags` in their name, in full
  whippet config --sample > whippet.yaml")]
    Config {
        /// Show only settings whose name holds this, with all that is known of them.
        #[arg(value_name = "WORD")]
        word: Option<String>,
        /// A configuration file with every setting, commented out.
        #[arg(long, conflicts_with = "word")]
        sample: bool,
    },
    /// Print completions for a shell.
    #[command(after_help = "\
Examples:
  whippet completions bash > /etc/bash_completion.d/whippet
  whippet completions fish > ~/.config/fish/completions/whippet.fish")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Send a known load to a statsd server and measure it.
    #[cfg(feature = "bench")]
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
    /// Write the contexts of the running server to a file, as the Agent dumps them.
    #[command(alias = "dogstatsd-dump-contexts")]
    DumpContexts(contexts::DumpArgs),
    /// Say whether the running server is healthy; exit code 1 when it is not.
    Health,
    /// Ask every intake of the configuration whether it takes the key.
    Diagnose,
    /// Print the version.
    Version,
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = cli.settings;
    let done = match cli.command.unwrap_or_else(|| Command::Run(run::RunArgs::default())) {
        Command::Run(args) => run::run(&args, settings),
        Command::CheckConfig => {
            check_config::check_config(settings.sources(Mode::Check), &mut std::io::stdout().lock())
                .map(|code| ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
                .map_err(Into::into)
        }
        Command::Send(args) => send::send(&args),
        Command::Explain { lines } => explain::explain(&settings, &lines),
        Command::Config { word, sample } => {
            print(&reference::text(word.as_deref(), sample)).map(|()| ExitCode::SUCCESS)
        }
        Command::Completions { shell } => completions(shell),
        #[cfg(feature = "bench")]
        Command::Bench(args) => {
            bench::run(*args).map(|code| ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
        }
        Command::Status(args) => status::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Stats(args) => stats::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Top(args) => top::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Tap(args) => tap::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::DumpContexts(args) => contexts::dump(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Health => health::run(&settings).map(|()| ExitCode::SUCCESS),
        Command::Diagnose => diagnose::run(&settings),
        Command::Version => {
            println!("whippet {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error: anyhow::Error| {
        // `whippet config | head` is no failure.
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
        {
            return ExitCode::SUCCESS;
        }
        eprintln!("whippet: {error:#}");
        ExitCode::from(FAILED)
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "whippet", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
