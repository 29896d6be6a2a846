//! The command line: one file per subcommand.
//!
//! Exit codes: 0 success, also when the reader of the output went away (`whippet config | head`); 1 it
//! could not start, or the command failed; 2 the command line is invalid; 78 the configuration is
//! invalid; 128 + n stopped at once by a second signal n.

mod admin_client;
mod capture;
mod check_config;
mod config_args;
mod contexts;
mod diagnose;
mod door_status;
mod exit;
mod explain;
mod flare;
mod generate;
mod global_status;
mod health;
mod logging;
mod notify;
mod program_memory;
mod reader;
mod reference;
mod reload;
mod replay;
mod run;
mod section;
mod send;
mod stats;
mod status;
mod tap;
mod telemetry;
mod top;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

use self::config_args::ConfigArgs;
use self::exit::{CONFIG, FAILED};
#[cfg(feature = "bench")]
use crate::bench;
use crate::config::Mode;
use crate::text::printable_lines;

#[derive(Parser)]
#[command(
    name = "whippet",
    version,
    about = "A DogStatsD server: a drop-in target for applications that send statsd or DogStatsD.",
    after_help = "\
Examples:
  whippet                                   listen on 127.0.0.1:8125 and print what arrives
  whippet send metric page.views 1          send it a metric
  echo \"x:1|c\" | nc -u -w1 127.0.0.1 8125   send one without whippet
  whippet explain 'x:1|c|@0.5|#a'           how a line is parsed, and what would be posted
  DD_API_KEY=… whippet                      post to Datadog
  whippet run -c datadog.yaml               with the Agent's configuration file
  whippet check-config -c datadog.yaml      what would run, and any problems
  whippet config port                       the settings about ports
  whippet bench --help                      load-test a server

Every setting is a key of the configuration file, an environment variable (DD_…, WHIPPET_…) or
--set key=value; `whippet config` lists them. Without a command, whippet runs `run`.

Exit codes: 0 success; 1 could not start, or the command failed; 2 invalid command line; 78 invalid
configuration; 128 + n stopped at once by a second signal n."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: ConfigArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Listen, aggregate and post. The default command.
    #[command(after_help = "\
Outputs (WHIPPET_OUTPUT, a list): console, jsonl[:path], datadog, dry-run[:bytes], none. Default:
datadog with an API key, else console.

Signals: SIGTERM and SIGINT drain, flush and deliver within 8 s; a second one, at least half a
second after the first, stops at once. SIGHUP reloads the configuration, SIGUSR1 switches debug
logging on and off.

Under systemd it uses sockets passed to it and reports when it is ready, reloading, stopping and
alive (WatchdogSec=).

Examples:
  whippet run                                        print what arrives on 127.0.0.1:8125
  WHIPPET_OUTPUT=jsonl whippet run                   one JSON object per series, for scripts
  DD_API_KEY=… DD_SITE=datadoghq.eu whippet run      post to Datadog
  whippet run --dry-run | jq .body                   print the requests instead of posting them
  whippet run --set interval=1 --set bind_host=0.0.0.0")]
    Run(run::RunArgs),
    /// Send a metric, an event or a check from the shell.
    #[command(after_help = "\
Each line is checked with the server's parser, sent and printed. Exit code 1: a line was refused, or
nothing is listening (as far as the network reports it).

Examples:
  whippet send metric page.views 1
  whippet send metric request.time 12 15.5 --type ms --rate 0.5 --tag env:prod
  whippet send event \"deployed 1.2.3\" \"all hosts\" --alert-type success
  whippet send check db.can_connect critical --message \"connection refused\"
  whippet send raw 'page.views:1|c|#env:prod' --to unix:///var/run/datadog/dsd.socket
  whippet send raw - < lines.txt")]
    Send(Box<send::Send>),
    /// Show how a line is parsed, what changes before posting, and what would be posted.
    #[command(after_help = "\
Nothing is sent. The configuration applies as it would for `run`: namespace, tags, percentiles and so
on. Exit code 1: a line was refused.

Examples:
  whippet explain 'page.views:1|c|@0.5|#env:prod'
  whippet explain 'a:1:2:3|h' '_sc|db.up|0' --set 'histogram_percentiles=0.5 0.99'
  tail -1 lines.txt | whippet explain -")]
    Explain {
        /// Lines of the protocol; `-` reads them from standard input.
        #[arg(required = true, value_name = "LINE")]
        lines: Vec<OsString>,
    },
    /// Print the effective configuration, the origin of each value, and all problems.
    #[command(after_help = "\
At most the last five characters of a secret are shown. Exit code 78: the configuration has errors.

Examples:
  whippet check-config
  whippet check-config -c /etc/datadog-agent/datadog.yaml --changed
  DD_TAGS=env:prod whippet check-config --set dogstatsd_port=9125")]
    CheckConfig {
        /// Show only the settings that differ from their defaults, and the problems.
        #[arg(long)]
        changed: bool,
    },
    /// List the settings: name, default, description.
    #[command(after_help = "\
Examples:
  whippet config                       all of them
  whippet config tags                  those with `tags` in their name, in full
  whippet config --sample > whippet.yaml")]
    Config {
        /// Show only settings whose name contains this, with their full documentation.
        #[arg(value_name = "WORD")]
        word: Option<String>,
        /// Print a configuration file with every setting, commented out.
        #[arg(long, conflicts_with = "word")]
        sample: bool,
    },
    /// Print the manual page or a shell completion script.
    #[command(
        alias = "completions",
        after_help = "\
Examples:
  whippet generate man | man -l -
  whippet generate man -o /usr/local/share/man/man1
  whippet generate bash > /etc/bash_completion.d/whippet
  whippet generate fish > ~/.config/fish/completions/whippet.fish"
    )]
    Generate(generate::GenerateArgs),
    /// Send a known load to a statsd server and measure it.
    #[cfg(feature = "bench")]
    Bench(Box<bench::BenchArgs>),
    /// Show the state of the running server: accounting, queues, listeners, limits.
    Status(status::StatusArgs),
    /// Show how often and when last each metric was sent to the running server.
    #[command(alias = "dogstatsd-stats")]
    Stats(stats::StatsArgs),
    /// Show what costs most right now: metrics by contexts, samples and bytes, their tags, and senders.
    Top(top::TopArgs),
    /// Show lines as they arrive.
    Tap(tap::TapArgs),
    /// Write what the running server receives to a file, datagram by datagram.
    #[command(
        alias = "dogstatsd-capture",
        after_help = "\
The file has the format of the Datadog Agent's captures: `whippet replay` and `agent dogstatsd-replay`
read it. It holds every datagram and frame with its time and sender, before any rule is applied. The
server goes on as usual; what comes faster than this command can take it is counted.

Examples:
  whippet capture --for 10m
  whippet capture --for 5s --plain -o /tmp/now.dog
  whippet replay --offline /tmp/now.dog -c whippet.yaml"
    )]
    Capture(capture::CaptureArgs),
    /// Send a capture to a server, or show what a configuration makes of it.
    #[command(
        alias = "dogstatsd-replay",
        after_help = "\
Sent to a socket, datagrams keep their timing; the receiver sees this process as their sender. With
--offline nothing is sent: the lines go through the engine of this program, with the clock of the
capture and faster than time, and what would be posted is printed: the same file, the same bytes.

Exit codes with --offline: 0 done, and with --vs the same; 1 different; 2 an error. Else: 0 sent; 1 a
file that cannot be read to its end, or something that could not be sent.

Examples:
  whippet replay capture.dog --to udp://127.0.0.1:8125 --speed 10
  whippet replay capture.dog --offline -c whippet.yaml
  whippet replay capture.dog --offline -c whippet.yaml --vs changed.yaml"
    )]
    Replay(Box<replay::ReplayArgs>),
    /// Write the contexts of the running server to a file, in the Agent's format.
    #[command(alias = "dogstatsd-dump-contexts")]
    DumpContexts(contexts::DumpArgs),
    /// Report whether the running server is healthy; exit code 1 if it is not.
    Health,
    /// Write one archive with what support needs: status, configuration, log. Sends nothing.
    #[command(after_help = "\
The archive holds the state of the running server (status, metrics, senders with their bad lines, what
costs most, the last lines of the log, the configuration in force) and the configuration as check-config
shows it. Keys and passwords are redacted; names of metrics, tags and senders are not. Without a running
server the rest is there, and the archive says what is missing.

Examples:
  whippet flare --dry-run
  whippet flare -o /tmp/flare.tar.gz -c /etc/whippet/whippet.yaml")]
    Flare(flare::FlareArgs),
    /// Show whether whippet reports on itself (`instrumentation_telemetry`), and what it sends.
    #[command(after_help = "\
Examples:
  whippet telemetry                    on or off, and where to
  whippet telemetry --dry-run          the requests, one per line
  whippet telemetry --dry-run -c /etc/whippet/whippet.yaml | head -1")]
    Telemetry(telemetry::TelemetryArgs),
    /// Check every configured intake: is it reachable, and is its API key accepted? Posts no data.
    Diagnose,
    /// Print the version.
    Version,
}

/// The command line, or the end with what is wrong with it.
fn parsed() -> Cli {
    Cli::try_parse().unwrap_or_else(|mut error| {
        visible_suggestions(&mut error);
        error.exit()
    })
}

/// clap also suggests the hidden names of commands, which `--help` does not list: the visible name
/// stands for them.
fn visible_suggestions(error: &mut clap::Error) {
    let Some(ContextValue::Strings(suggested)) = error.get(ContextKind::SuggestedSubcommand) else {
        return;
    };
    let program = Cli::command();
    let visible = |name: &String| {
        let known = program.find_subcommand(name).filter(|known| !known.is_hide_set())?;
        Some(known.get_name().to_owned())
    };
    let mut names: Vec<String> = Vec::new();
    for name in suggested.iter().filter_map(visible) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        error.remove(ContextKind::SuggestedSubcommand);
    } else {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    // If this is refused, a file-size limit kills the process, as it kills any other.
    let _ = crate::server::survive_file_size_limit();
    let cli = parsed();
    let settings = cli.settings;
    let done = match cli.command.unwrap_or_else(|| Command::Run(run::RunArgs::default())) {
        Command::Run(args) => run::run(&args, settings),
        Command::CheckConfig { changed } => {
            let out = &mut std::io::stdout().lock();
            check_config::check_config(settings.sources(Mode::Check), changed, out)
                .map(|code| ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
                .map_err(Into::into)
        }
        Command::Send(args) => send::send(&args),
        Command::Explain { lines } => explain::explain(&settings, &lines),
        Command::Config { word, sample } => {
            print(&reference::text(word.as_deref(), sample)).map(|()| ExitCode::SUCCESS)
        }
        Command::Generate(args) => generate::run(&args, Cli::command()),
        #[cfg(feature = "bench")]
        Command::Bench(args) => {
            bench::run(*args).map(|code| ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
        }
        Command::Status(args) => status::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Stats(args) => stats::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Top(args) => top::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Tap(args) => tap::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Capture(args) => capture::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => replay::run(&args, &settings),
        Command::DumpContexts(args) => contexts::dump(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Health => health::run(&settings).map(|()| ExitCode::SUCCESS),
        Command::Flare(args) => flare::run(&args, &settings).map(|()| ExitCode::SUCCESS),
        Command::Telemetry(args) => {
            telemetry::telemetry(&args, &settings).map(|()| ExitCode::SUCCESS)
        }
        Command::Diagnose => diagnose::run(&settings),
        Command::Version => {
            print(concat!("whippet ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error: anyhow::Error| {
        // `whippet config | head` is not a failure.
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
        {
            return ExitCode::SUCCESS;
        }
        // `eprintln!` panics when standard error is a file on a full disk.
        let _ = writeln!(io::stderr(), "whippet: {}", printable_lines(&format!("{error:#}")));
        let invalid = error.is::<crate::config::Problems>();
        ExitCode::from(if invalid { CONFIG } else { FAILED })
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
