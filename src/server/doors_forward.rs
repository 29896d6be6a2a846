//! What the doors forward to the vendor: which routes, where to, under which name.

use std::sync::Arc;

use super::{ServerError, settings};
use crate::clock::Clock;
use crate::config::{AdditionalEndpoint, Config, DoorMode, Outputs};
use crate::context::Rules;
use crate::doors::{
    Agent, DeliverySettings, DoorsAccounting, Forward, ForwardError, ForwardSettings, Route,
    TargetSettings,
};
use crate::tagger::Cardinality;

/// What an Agent calls the environment when none is configured.
const NO_ENV: &str = "none";

/// True for a mode that forwards.
pub(super) fn sends_on(mode: DoorMode) -> bool {
    matches!(mode, DoorMode::Forward | DoorMode::Both)
}

/// Starts delivery; none when no route is forwarded. With an output that sends nothing to the vendor,
/// what would be forwarded is counted as dropped.
pub(super) fn start(
    config: &Config,
    outputs: &Outputs,
    rules: &Rules,
    accounting: &DoorsAccounting,
    clock: &Clock,
) -> Result<Option<Arc<Forward>>, ServerError> {
    let modes = [
        (Route::Stats, "doors_stats", config.doors_stats),
        (Route::DataStreams, "doors_data_streams", config.doors_data_streams),
        (Route::Telemetry, "doors_telemetry", config.telemetry_door()),
    ];
    let routes: Vec<(Route, &'static str)> =
        modes.into_iter().filter(|of| sends_on(of.2)).map(|of| (of.0, of.1)).collect();
    if routes.is_empty() {
        return Ok(None);
    }
    let delivery = if outputs.withholds() {
        let keys: Vec<&str> = routes.iter().map(|(_, key)| *key).collect();
        let kinds: Vec<String> = outputs.list.iter().map(ToString::to_string).collect();
        tracing::warn!(
            target: "doors",
            "output: {} sends nothing to the vendor, so nothing is forwarded for {}; it is counted as dropped (output). \
             To forward, set output to datadog",
            kinds.join(", "),
            keys.join(", ")
        );
        None
    } else {
        let forwarder = settings::forwarder(config).map_err(ServerError::system("ca_file"))?;
        Some(DeliverySettings {
            retry: forwarder.retry,
            http: forwarder.http,
            jitter: forwarder.jitter,
        })
    };
    let settings = ForwardSettings {
        routes,
        targets: targets(config),
        agent: Agent {
            hostname: String::from_utf8_lossy(&rules.default_host).into_owned(),
            env: config.doors_env().unwrap_or(NO_ENV).to_owned(),
        },
        delivery,
        tagger: rules.origin.as_ref().map(|of| (Arc::clone(&of.tagger), Cardinality::High)),
    };
    let failed = |error: ForwardError| ServerError::Doors(error.to_string());
    Forward::start(settings, accounting, clock).map(Arc::new).map(Some).map_err(failed)
}

fn targets(config: &Config) -> TargetSettings {
    let additional = |endpoints: &[AdditionalEndpoint]| {
        let keys = |of: &AdditionalEndpoint| {
            of.api_keys.iter().map(|key| key.expose().to_owned()).collect()
        };
        endpoints.iter().map(|of| (of.url.expose().to_owned(), keys(of))).collect()
    };
    TargetSettings {
        site: config.site.clone(),
        api_key: config.api_key.as_ref().map(|key| key.expose().to_owned()).unwrap_or_default(),
        apm_url: config.traces_url(),
        apm_additional: additional(&config.apm_config_additional_endpoints),
        telemetry_url: config.telemetry_url(),
        telemetry_additional: additional(&config.apm_config_telemetry_additional_endpoints),
    }
}
