//! A reload at SIGHUP: the sources are read and checked as at a start, then taken over as a whole or
//! not at all, and the log says what changed.

use super::config_args::ConfigArgs;
use super::logging::LogControl;
use crate::config::{self, Change, Loaded, Mode, Outputs, Problem};
use crate::server::{self, Server};

/// Reloads the configuration. `running` is the one in force, before and after.
pub(super) fn reload(
    settings: &ConfigArgs,
    server: &Server,
    running: &mut Loaded,
    log_level: &LogControl,
) {
    let new = match checked(settings, server, running) {
        Ok(new) => new,
        Err(problems) => {
            // One line each, so that the first one is in the log with its reason.
            for problem in &problems {
                tracing::error!(target: "config", "configuration not reloaded, the running one stays in effect: {problem}");
            }
            return server.reload_refused(running, &problems);
        }
    };
    new.warnings.iter().for_each(|warning| tracing::warn!(target: "config", "{warning}"));
    let changes = running.reload(&new);
    server.reload(running);
    if changes.iter().any(|change| change.key == "log_level") {
        log_level.set(running.config.log_level);
        server.log_level_changed();
    }
    tracing::info!(target: "config", "configuration reloaded: {}", summary(&changes));
    if running.degraded() {
        tracing::warn!(target: "config", "running in a degraded state: some entries were skipped, see above");
    }
}

/// The new configuration, if a server could start with it and it may replace the running one.
fn checked(
    settings: &ConfigArgs,
    server: &Server,
    running: &Loaded,
) -> Result<Loaded, Vec<Problem>> {
    let new = config::load(settings.sources(Mode::Run)).map_err(|problems| problems.0)?;
    let outputs = Outputs::choose(&new).map_err(|problem| vec![problem])?;
    let mut problems = server::preflight(&new, &outputs, &server.inherited());
    problems.extend(running.refusals(&new));
    if problems.is_empty() { Ok(new) } else { Err(problems) }
}

/// `tags [a:1] → [a:2] in force; dogstatsd_port 8125 → 9126 needs a restart`.
fn summary(changes: &[Change]) -> String {
    let list = |in_force: bool| {
        let of_kind = changes.iter().filter(|change| change.in_force == in_force);
        of_kind.map(ToString::to_string).collect::<Vec<_>>()
    };
    let (in_force, later) = (list(true), list(false));
    let need = if later.len() == 1 { "needs" } else { "need" };
    match (in_force.is_empty(), later.is_empty()) {
        (true, true) => "nothing changed".to_owned(),
        (false, true) => format!("{} in force", in_force.join(", ")),
        (true, false) => format!("{} {need} a restart", later.join(", ")),
        (false, false) => {
            format!("{} in force; {} {need} a restart", in_force.join(", "), later.join(", "))
        }
    }
}
