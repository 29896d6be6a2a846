//! From the configured list of outputs to running ones.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{ServerError, settings};
use crate::clock::Clock;
use crate::config::{self, Config, OutputKind};
use crate::forward::{self, Forwarder};
use crate::output::{Console, DatadogOutput, Delivery, Discarded, DryRun, JsonLines, Output};
use crate::telemetry::Hub;

/// The outputs, and what the rest of the server needs of them.
pub(super) struct Started {
    pub outputs: Vec<Box<dyn Output>>,
    pub forwarder: Option<Arc<Forwarder>>,
    pub discarded: Option<Arc<Mutex<Discarded>>>,
}

impl Started {
    /// Where outputs that deliver nothing count what they were given.
    fn discarded(&mut self) -> &Arc<Mutex<Discarded>> {
        self.discarded.get_or_insert_default()
    }
}

pub(super) fn start(
    config: &Config,
    outputs: &config::Outputs,
    hostname: Option<&str>,
    clock: &Clock,
    hub: &Hub,
) -> Result<Started, ServerError> {
    let mut started = Started { outputs: Vec::new(), forwarder: None, discarded: None };
    let datadog = |delivery| {
        let settings = settings::datadog(config, hostname);
        DatadogOutput::new(settings, delivery, clock.clone(), hub.clone())
            .map_err(ServerError::system("preparing the encoders"))
    };
    for output in &outputs.list {
        let output: Box<dyn Output> = match output {
            OutputKind::Console => Box::new(Console::new(io::stdout())),
            OutputKind::JsonLines(None) => Box::new(JsonLines::new(io::stdout())),
            OutputKind::JsonLines(Some(path)) => Box::new(json_lines(path)?),
            OutputKind::Datadog => {
                let endpoints = forward::endpoints(&settings::endpoints(config))
                    .map_err(ServerError::Endpoints)?;
                let mut forwarder =
                    settings::forwarder(config).map_err(ServerError::system("ca_file"))?;
                forwarder.hub = hub.clone();
                let forwarder = Arc::new(Forwarder::start(endpoints, forwarder, clock.clone())?);
                started.forwarder = Some(Arc::clone(&forwarder));
                Box::new(datadog(Delivery::Forward(forwarder))?)
            }
            OutputKind::None => {
                Box::new(datadog(Delivery::Discard(Arc::clone(started.discarded())))?)
            }
            OutputKind::DryRun { bytes } => {
                let endpoints = forward::endpoints(&settings::endpoints_without_key(config))
                    .map_err(ServerError::Endpoints)?;
                let shown =
                    DryRun::new(endpoints, config.allow_arbitrary_tags, *bytes, io::stdout());
                Box::new(datadog(Delivery::Show(shown, Arc::clone(started.discarded())))?)
            }
        };
        started.outputs.push(output);
    }
    Ok(started)
}

pub(super) fn json_lines(path: &Path) -> Result<JsonLines<std::fs::File>, ServerError> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file =
        file.map_err(|error| ServerError::JsonLines { path: path.display().to_string(), error });
    Ok(JsonLines::new(file?))
}
