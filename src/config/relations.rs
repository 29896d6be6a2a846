//! Checks that involve several values, and values that change others.

use super::effective::{EffectiveValues, default_of};
use super::keys;
use super::problem::{Class, ValueOrigin};
use super::value::{Value, show};

/// Keys of a shared file that name a port or file only one process can use.
const OF_THE_PROCESS: [&str; 4] = ["health_port", "run_path", "forwarder_storage_path", "log_file"];

/// Precedence of a source.
fn rank(origin: &ValueOrigin) -> u8 {
    match origin {
        ValueOrigin::Default => 0,
        ValueOrigin::File { .. } => 1,
        ValueOrigin::Env(_) => 2,
        ValueOrigin::Flag(_) => 3,
    }
}

impl EffectiveValues {
    /// Runs every check that involves several values.
    pub(super) fn relations(&mut self) {
        self.old_queue_bound();
        if self.is_default("statsd_forward_port") && !self.is_default("statsd_forward_host") {
            let message = "has no effect without statsd_forward_port; set the port";
            self.problem(
                Class::Note,
                self.origin("statsd_forward_host"),
                "statsd_forward_host",
                message,
            );
        }
        let name = "observability_pipelines_worker.metrics.enabled";
        if self.values.get(name) == Some(&Value::Bool(true))
            && self.is_default("observability_pipelines_worker.metrics.url")
        {
            let message = "needs observability_pipelines_worker.metrics.url; set it";
            self.problem(Class::Value, self.origin(name), name, message);
        }
        self.beside_an_agent();
        self.doors();
        self.global();
        self.backoff();
    }

    /// `use_dogstatsd: false` tells an Agent to leave DogStatsD to whippet. Ports and files set by the
    /// same source or a weaker one then belong to that Agent: using them would put two programs on
    /// one port or in one directory. A flag is always meant for whippet.
    fn beside_an_agent(&mut self) {
        let name = "use_dogstatsd";
        if self.values.get(name) != Some(&Value::Bool(false)) {
            return;
        }
        let said = self.origin(name);
        let message = "does not turn whippet off: it tells an Agent on this host to leave DogStatsD to whippet";
        self.problem(Class::Note, said.clone(), name, message);
        for name in OF_THE_PROCESS {
            let origin = self.origin(name);
            if matches!(origin, ValueOrigin::Default | ValueOrigin::Flag(_))
                || rank(&origin) > rank(&said)
            {
                continue;
            }
            let Some(key) = keys::find(name) else { continue };
            let value = default_of(key);
            let message = format!(
                "is left to the Agent because use_dogstatsd is false; whippet uses its default, {}; \
                 --set {name}=… sets it for whippet only",
                show(&value)
            );
            self.values.insert(name, value);
            self.origins.insert(name, ValueOrigin::Default);
            self.problem(Class::Note, origin, name, message);
        }
    }

    /// A base above the maximum makes every backoff the maximum. Reported if the base was set.
    fn backoff(&mut self) {
        if let (Some(Value::Float(base)), Some(Value::Float(max))) =
            (self.values.get("forwarder_backoff_base"), self.values.get("forwarder_backoff_max"))
            && base > max
            && !self.is_default("forwarder_backoff_base")
        {
            let name = "forwarder_backoff_base";
            let message =
                format!("{base} is above forwarder_backoff_max ({max}); use at most that");
            self.problem(Class::Value, self.origin(name), name, message);
        }
    }

    /// `forwarder_retry_queue_max_size` counts payloads of 2 MiB, and only where the bound in
    /// bytes is not set.
    fn old_queue_bound(&mut self) {
        let (old, new) =
            ("forwarder_retry_queue_max_size", "forwarder_retry_queue_payloads_max_size");
        let Some(Value::Integer(payloads)) = self.values.get(old) else { return };
        let bytes = u64::try_from(*payloads).unwrap_or_default() << 21;
        let origin = self.origin(old);
        if self.is_default(new) {
            self.values.insert(new, Value::Bytes(bytes));
            self.origins.insert(new, origin.clone());
        }
        let message = format!("is deprecated; use {new}: {bytes}");
        self.problem(Class::Note, origin, old, message);
    }
}
