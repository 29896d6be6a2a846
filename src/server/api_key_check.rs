//! Whether the intake can be reached with every key, asked as the running server asks.

use std::time::{Duration, Instant};

use super::{ServerError, settings};
use crate::clock::Clock;
use crate::config::Config;
use crate::forward::{self, EndpointCounts, Forwarder, ForwarderConfig, KeyStatus};

/// A little longer than the keys' own time limit.
const PATIENCE: Duration = Duration::from_secs(12);

/// What an intake says of one key.
#[derive(Clone, Debug)]
pub struct KeyCheck {
    /// The endpoint.
    pub endpoint: String,
    /// The end of the key.
    pub key: String,
    /// The answer; unknown with the reason when there was none.
    pub status: KeyStatus,
}

/// Asks every endpoint of the configuration about every key, over the configured proxy and TLS
/// settings. Sends no data and leaves the spool alone.
///
/// # Errors
/// When an endpoint, a proxy or a certificate file cannot be used at all.
pub fn check_api_keys(config: &Config) -> Result<Vec<KeyCheck>, ServerError> {
    let endpoints =
        forward::endpoints(&settings::endpoints(config)).map_err(ServerError::Endpoints)?;
    let forwarder = settings::forwarder(config).map_err(ServerError::system("ca_file"))?;
    let forwarder =
        ForwarderConfig { spool: None, validation_interval: Some(Duration::MAX), ..forwarder };
    let forwarder = Forwarder::start(endpoints, forwarder, Clock::wall())?;
    let deadline = Instant::now() + PATIENCE;
    let asked = |endpoint: &EndpointCounts| !endpoint.key_status.is_unchecked();
    let accounting = loop {
        let accounting = forwarder.accounting();
        if accounting.endpoints.iter().all(asked) || Instant::now() >= deadline {
            break accounting;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    forwarder.shutdown(Instant::now());
    let check = |endpoint: EndpointCounts| KeyCheck {
        endpoint: endpoint.name,
        key: endpoint.key_shown,
        status: endpoint.key_status,
    };
    Ok(accounting.endpoints.into_iter().map(check).collect())
}
