//! `whippet health`: what the probes say.

use serde_json::Value;

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;

/// Prints the parts that are well. Parts that are not, or no answer, are an error.
pub(super) fn run(settings: &ConfigArgs) -> anyhow::Result<()> {
    let verdict: Value = AdminClient::of(settings)?.json("/ready").map_err(|error| {
        // The answer of an unhealthy server names the parts.
        let told = serde_json::from_str::<Value>(&error.to_string());
        told.map_or(error, |told| anyhow::anyhow!("unhealthy: {}", list(&told["Unhealthy"])))
    })?;
    admin_client::print(&format!("healthy: {}\n", list(&verdict["Healthy"])))
}

fn list(parts: &Value) -> String {
    let parts = parts.as_array().into_iter().flatten();
    parts.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}
