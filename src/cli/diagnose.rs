//! `whippet diagnose`: does the intake accept every key?

use std::process::ExitCode;

use super::admin_client;
use super::config_args::ConfigArgs;
use super::exit::FAILED;
use crate::admin::key_name;
use crate::config::{self, Mode};
use crate::forward::KeyStatus;
use crate::server;

/// What was checked and what was not.
const SCOPE: &str = "\
Checked: the connection and the API key of each intake (/api/v1/validate). No data was posted: whether
each route takes series, sketches, events and checks is in `whippet status` of a running server.\n";

/// Prints one line per endpoint and key, and what was not checked. Succeeds if each key is accepted.
pub(super) fn run(settings: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let loaded = config::load(settings.sources(Mode::Run))?;
    if loaded.config.api_key.is_none() {
        anyhow::bail!("api_key is not set (DD_API_KEY): there is no intake to check");
    }
    let mut failed = 0;
    for reached in server::check_api_keys(&loaded.config)? {
        let (word, remedy) = match &reached.status {
            KeyStatus::Valid => ("good", ""),
            KeyStatus::Invalid => ("refused", "; check api_key, and that it belongs to this site"),
            KeyStatus::Unknown(_) => {
                ("no answer", "; check the network, dd_url or site, and the proxy settings")
            }
        };
        failed += usize::from(reached.status != KeyStatus::Valid);
        admin_client::print(&format!(
            "{word:9}  {}  {}: {}{remedy}\n",
            reached.endpoint,
            key_name(&reached.key),
            reached.status,
        ))?;
    }
    admin_client::print(SCOPE)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
