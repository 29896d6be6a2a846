//! The answers to probes: which threads and parts are healthy, in the Agent's shape.

use serde::{Deserialize, Serialize};

use super::status::GlobalStatus;
use crate::forward::{ForwardAccounting, KeyStatus};
use crate::watch::Liveness;

/// Names of what is healthy and of what is not, as the Agent's `/live` and `/ready` list them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    pub healthy: Vec<String>,
    pub unhealthy: Vec<String>,
    /// Default listeners that are off, with the reason: no fault, but good to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub off: Vec<String>,
}

impl Health {
    fn add(&mut self, name: String, healthy: bool) {
        let list = if healthy { &mut self.healthy } else { &mut self.unhealthy };
        list.push(name);
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        if self.unhealthy.is_empty() { 200 } else { 500 }
    }

    /// Whether the threads are alive.
    pub fn live(liveness: &Liveness) -> Self {
        let mut health = Health::default();
        liveness.threads().into_iter().for_each(|thread| health.add(thread.name, thread.alive));
        health
    }

    /// Alive, not stopping, with a key that at least one intake accepts, and with a global tier that
    /// works, where it is on.
    pub fn ready(
        liveness: &Liveness,
        accounting: Option<&ForwardAccounting>,
        global: &GlobalStatus,
    ) -> Self {
        let mut health = Health::live(liveness);
        health.add("server".to_owned(), !liveness.is_stopping());
        if let Some(accounting) = accounting {
            let refused = |endpoint: &crate::forward::EndpointCounts| {
                endpoint.key_status == KeyStatus::Invalid
            };
            health.add("forwarder".to_owned(), !accounting.endpoints.iter().all(refused));
        }
        if global.is_on() && global.problems.is_empty() {
            health.add("global".to_owned(), true);
        }
        global.problems.iter().for_each(|problem| health.add(format!("global: {problem}"), false));
        health
    }

    /// Listeners are bound before the admin address is.
    pub fn startup() -> Self {
        Health { healthy: vec!["server".to_owned()], ..Health::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_silent_thread_is_named() {
        let liveness = Liveness::silent_for_a_minute(2);
        liveness.lane(1);
        liveness.flusher();
        let health = Health::live(&liveness);
        assert_eq!(health.unhealthy, ["lane-0"]);
        assert_eq!(health.healthy, ["lane-1", "flusher"]);
        assert_eq!(health.status(), 500);
    }

    #[test]
    fn a_stopping_server_is_alive_and_not_ready() {
        let liveness = Liveness::new(1, Duration::from_secs(10));
        let off = GlobalStatus::default();
        assert_eq!(Health::ready(&liveness, None, &off).unhealthy, [""; 0]);
        liveness.stopping();
        assert_eq!(Health::live(&liveness).status(), 200);
        assert_eq!(Health::ready(&liveness, None, &off).unhealthy, ["server"]);
    }

    #[test]
    fn a_global_tier_that_does_not_work_says_why() {
        let liveness = Liveness::new(1, Duration::from_secs(10));
        let mut global = GlobalStatus { mode: "own".to_owned(), ..GlobalStatus::default() };
        let health = Health::ready(&liveness, None, &global);
        assert!(health.healthy.contains(&"global".to_owned()) && health.unhealthy.is_empty());
        global.problems.push("the group is silent".to_owned());
        let health = Health::ready(&liveness, None, &global);
        assert_eq!(health.unhealthy, ["global: the group is silent"]);
        assert_eq!(health.status(), 500);
    }
}
