//! `whippet health`: the result of the readiness probe.

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use crate::admin::Health;
use crate::text::printable;

/// Prints the healthy components. Unhealthy ones, or no response, are an error.
pub(super) fn run(settings: &ConfigArgs) -> anyhow::Result<()> {
    let health: Health = AdminClient::of(settings)?.json("/ready").map_err(|error| {
        // The response of an unhealthy server lists its components.
        let answer = serde_json::from_str::<Health>(&error.to_string());
        answer.map_or(error, |health| anyhow::anyhow!("unhealthy: {}", health.unhealthy.join(", ")))
    })?;
    let off = |listener: &String| format!("off: {}\n", printable(listener.as_bytes(), 400));
    let off: String = health.off.iter().map(off).collect();
    admin_client::print(&format!("healthy: {}\n{off}", health.healthy.join(", ")))
}
