//! `statsd_metric_namespace`: a prefix for metric names, with exemptions.

use std::borrow::Cow;

/// Prefixes that the Agent exempts by default (`pkg/config/setup/standard_names.go`). The test is
/// a plain string prefix, so `kafka` also exempts `kafkaesque.x`.
pub const EXEMPT_PREFIXES: [&str; 21] = [
    "datadog.agent",
    "datadog.dogstatsd",
    "datadog.process",
    "datadog.trace_agent",
    "datadog.tracer",
    "activemq",
    "activemq_58",
    "airflow",
    "cassandra",
    "confluent",
    "hazelcast",
    "hive",
    "ignite",
    "jboss",
    "jvm",
    "kafka",
    "presto",
    "sidekiq",
    "solr",
    "tomcat",
    "runtime",
];

/// The prefix, with its trailing dot, and the names it leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    prefix: Vec<u8>,
    exempt: Vec<Vec<u8>>,
}

impl Namespace {
    /// A missing trailing dot is added; an empty prefix changes nothing.
    #[must_use]
    pub fn new(prefix: &str, exempt: &[String]) -> Self {
        let mut prefix = prefix.as_bytes().to_vec();
        if !prefix.is_empty() && !prefix.ends_with(b".") {
            prefix.push(b'.');
        }
        Namespace { prefix, exempt: exempt.iter().map(|name| name.clone().into_bytes()).collect() }
    }

    /// The name in its namespace.
    #[must_use]
    pub fn apply<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        if self.prefix.is_empty() || self.exempt.iter().any(|prefix| name.starts_with(prefix)) {
            return Cow::Borrowed(name);
        }
        Cow::Owned([&self.prefix[..], name].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(prefix: &str, name: &str, expect: &str) {
        let exempt: Vec<String> = EXEMPT_PREFIXES.iter().map(ToString::to_string).collect();
        let got = Namespace::new(prefix, &exempt).apply(name.as_bytes()).into_owned();
        assert_eq!(String::from_utf8(got).unwrap(), expect);
    }

    #[test]
    fn names_are_prefixed_unless_exempt() {
        becomes("", "n", "n");
        becomes("ns", "n", "ns.n");
        becomes("ns.", "n", "ns.n");
        becomes("ns", "datadog.agent.x", "datadog.agent.x");
        becomes("ns", "kafkaesque.x", "kafkaesque.x");
        becomes("ns", "datadog.x", "ns.datadog.x");
    }
}
