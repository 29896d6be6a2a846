//! `whippet run`: starts the server, and stops it on a signal.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::config_args::ConfigArgs;
use super::reload::reload;
use super::{logging, notify, program_memory};
use crate::clock::Clock;
use crate::config::identity::{Identity, Machine};
use crate::config::{self, Loaded, Mode, OutputKind, Outputs, Problems};
use crate::server::{Server, ServerSettings, Signal, Signals};
use crate::telemetry::{Hub, LogRing};
use crate::telemetry_client;

/// Stop signals this close together are one: systemd signals the main process and then the whole
/// control group, `timeout` the process and then its group, a terminal and a supervisor both.
const ONE_STOP: Duration = Duration::from_millis(500);

#[derive(Args, Default)]
pub(super) struct RunArgs {
    /// Print the requests the intake would receive, one JSON object per line, and post nothing;
    /// `bytes` adds the exact bytes of each body. Needs no API key; replaces all outputs.
    #[arg(long, value_name = "bytes", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    dry_run: Option<DryRun>,
}

/// The detail of a dry run.
#[derive(Clone, Copy)]
enum DryRun {
    Readable,
    Bytes,
}

impl FromStr for DryRun {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Ok(DryRun::Readable),
            "bytes" => Ok(DryRun::Bytes),
            _ => Err("use --dry-run or --dry-run=bytes"),
        }
    }
}

pub(super) fn run(args: &RunArgs, mut settings: ConfigArgs) -> anyhow::Result<ExitCode> {
    let output = args.dry_run.map(|shown| match shown {
        DryRun::Readable => "dry-run",
        DryRun::Bytes => "dry-run:bytes",
    });
    settings.set.extend(output.map(|output| ("output".to_owned(), output.to_owned())));
    let settings = &settings;
    // First, so that no signal arrives before its handler is installed.
    let mut signals = Signals::new()?;
    program_memory::give_back_at_once();
    let loaded = config::load(settings.sources(Mode::Run))?;
    let log = Arc::new(LogRing::default());
    let log_level = logging::start(&loaded.config, &log)?;
    let outputs = Outputs::choose(&loaded).map_err(|problem| Problems(vec![problem]))?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!(target: "config", "{warning}"));
    let identity = identity(&loaded);
    headline(&loaded, &outputs, &identity);
    let mut running = loaded.clone();
    let server = Server::start(ServerSettings {
        loaded,
        outputs,
        hostname: identity.hostname,
        hostname_origin: identity.origin,
        clock: Clock::wall(),
        hub: Hub::default(),
        log,
    })?;
    if let Some(client) = server.telemetry() {
        // It takes the errors that were logged until now too.
        telemetry_client::global().exchange(client.clone());
    }
    let watchdog = notify::watchdog(server.alive())?;
    notify::ready();
    program_memory::unmap_start_up();
    let signal = loop {
        match signals.wait() {
            Signal::Reload => {
                notify::reloading();
                reload(settings, &server, &mut running, &log_level);
                notify::ready();
            }
            Signal::ToggleDebug => {
                let level = log_level.toggle_debug();
                server.log_level_changed();
                // As an error, so that it is seen at any level but `off`.
                tracing::error!(target: "server", "SIGUSR1: log level {level}");
            }
            Signal::Unused => unused(),
            Signal::Stop(signal) => break signal,
        }
    };
    let asked = Instant::now();
    notify::stopping();
    // Lanes that stop no longer answer; the manager's stop timeout applies from here on.
    drop(watchdog);
    let name = if signal == libc::SIGINT { "^C" } else { "SIGTERM" };
    let within = server.stop_within().as_secs();
    tracing::info!(target: "server", "{name} stopping, at most {within} s ({name} again stops at once)");
    stop_at_second_signal(signals, asked)?;
    server.stop();
    Ok(ExitCode::SUCCESS)
}

fn unused() {
    tracing::info!(target: "server", "SIGUSR2 is ignored");
}

/// A second signal ends the process at once, even if data is undelivered.
fn stop_at_second_signal(mut signals: Signals, first: Instant) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("signals".to_owned());
    let wait = move || loop {
        match signals.wait() {
            Signal::Stop(signal) if first.elapsed() >= ONE_STOP => {
                tracing::warn!(target: "server", "stopped at once; undelivered data is lost");
                std::process::exit(128 + signal);
            }
            Signal::Stop(_) => {
                let within = ONE_STOP.as_secs_f64();
                tracing::info!(
                    target: "server",
                    "a second stop signal within {within} s of the first counts as the same one"
                );
            }
            Signal::Unused => unused(),
            // The server is shutting down.
            Signal::Reload | Signal::ToggleDebug => {}
        }
    };
    thread.spawn(wait).map(drop)
}

pub(super) fn identity(loaded: &Loaded) -> Identity {
    let env = |name: &str| std::env::var(name).ok();
    let system_name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .ok()
        .map(|name| name.trim().to_owned());
    Identity::resolve(&loaded.config, &Machine { env: &env, root: "/".into(), system_name })
}

fn headline(loaded: &Loaded, outputs: &Outputs, identity: &Identity) {
    let version = env!("CARGO_PKG_VERSION");
    let config = &loaded.config;
    let list = outputs.list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if outputs.implied {
        tracing::info!(
            target: "server",
            "whippet {version}: no API key, printing to the console, posting nothing (set DD_API_KEY to post)"
        );
    } else if outputs.list.contains(&OutputKind::Datadog) {
        let place = config.dd_url.as_ref().map_or(config.site.clone(), ToString::to_string);
        let key = config.api_key.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::info!(target: "server", "whippet {version}: output {list}, to {place} with API key {key}");
    } else {
        tracing::info!(target: "server", "whippet {version}: output {list}");
    }
    match &identity.hostname {
        Some(name) => tracing::info!(target: "config", "host {name} (from {})", identity.origin),
        None => tracing::info!(target: "config", "host none"),
    }
    if let Some(remark) = &identity.remark {
        tracing::warn!(target: "config", "hostname: {remark}");
    }
    if loaded.degraded() {
        tracing::warn!(target: "config", "running in a degraded state: some entries were skipped, see above");
    }
}
