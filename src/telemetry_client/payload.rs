//! What is sent: the shapes of instrumentation telemetry v2, as JSON.

use std::collections::BTreeMap;

use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

/// Where the value of a setting comes from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// An environment variable.
    EnvVar,
    /// The program itself, or its command line.
    Code,
    /// A configuration file.
    DdConfig,
    /// The vendor's remote configuration.
    RemoteConfig,
    /// A file on this machine that the vendor's installer reads.
    LocalStableConfig,
    /// The same, managed for a fleet.
    FleetStableConfig,
    /// Computed from other settings.
    Calculated,
    /// An environment variable of OpenTelemetry.
    OtelEnvVar,
    /// An ini file.
    Ini,
    /// Somewhere else.
    Unknown,
}

/// The value of a setting: a scalar, as the intake takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// No value.
    Null,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number; NaN and infinities become [`SettingValue::Null`], as JSON has none.
    Float(f64),
    /// A text. Lists (`a,b`) and maps (`a:1,b:2`) are texts too.
    Text(String),
}

impl From<bool> for SettingValue {
    fn from(value: bool) -> Self {
        SettingValue::Bool(value)
    }
}

impl From<i64> for SettingValue {
    fn from(value: i64) -> Self {
        SettingValue::Integer(value)
    }
}

impl From<i32> for SettingValue {
    fn from(value: i32) -> Self {
        SettingValue::Integer(value.into())
    }
}

impl From<f64> for SettingValue {
    fn from(value: f64) -> Self {
        if value.is_finite() { SettingValue::Float(value) } else { SettingValue::Null }
    }
}

impl From<&str> for SettingValue {
    fn from(value: &str) -> Self {
        SettingValue::Text(value.to_owned())
    }
}

impl From<String> for SettingValue {
    fn from(value: String) -> Self {
        SettingValue::Text(value)
    }
}

impl<T: Into<SettingValue>> From<Option<T>> for SettingValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(SettingValue::Null, Into::into)
    }
}

/// A list as one text: `a,b`.
impl From<&[&str]> for SettingValue {
    fn from(items: &[&str]) -> Self {
        SettingValue::Text(items.join(","))
    }
}

/// A map as one text, in the order of its keys: `a:1,b:2`.
impl From<&BTreeMap<String, String>> for SettingValue {
    fn from(map: &BTreeMap<String, String>) -> Self {
        let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        SettingValue::Text(pairs.join(","))
    }
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: SettingValue,
    /// Where the value comes from.
    pub origin: Origin,
    /// The remote configuration that set it.
    pub config_id: Option<String>,
    /// Of two values of one name the one with the larger number is in force. 0 asks for the next
    /// number, which is given at the first flush.
    pub seq_id: u64,
}

impl Setting {
    /// A setting without remote configuration and without a number of its own.
    pub fn new(name: impl Into<String>, value: impl Into<SettingValue>, origin: Origin) -> Self {
        Setting { name: name.into(), value: value.into(), origin, config_id: None, seq_id: 0 }
    }
}

/// A library that the program works with, or a source or sink of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Integration {
    /// Its name.
    pub name: String,
    /// True unless there is an error.
    pub enabled: bool,
    /// Its version; empty when that is not known.
    pub version: String,
    /// Whether the program can work with it.
    pub compatible: bool,
    /// Whether it was enabled without being asked for.
    pub auto_enabled: bool,
    /// Why it is not enabled.
    pub error: Option<String>,
}

impl Integration {
    /// An integration that works.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Integration {
            name: name.into(),
            enabled: true,
            version: version.into(),
            compatible: true,
            ..Integration::default()
        }
    }

    /// An integration that could not be enabled.
    pub fn failed(name: impl Into<String>, error: impl Into<String>) -> Self {
        Integration { name: name.into(), error: Some(error.into()), ..Integration::default() }
    }
}

/// A library that is part of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Why a product does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProductError {
    /// A number such as the system's for a failed call; 0 for none.
    pub code: i64,
    /// What happened.
    pub message: String,
}

/// Whether a part of the program works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProductState {
    /// True if it does.
    pub enabled: bool,
    /// The version of the program.
    pub version: String,
    /// Why it does not.
    pub error: Option<ProductError>,
}

/// How the program was installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InstallSignature {
    /// Names the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_id: Option<String>,
    /// What installed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_type: Option<String>,
    /// When, in Unix seconds, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_time: Option<String>,
}

/// The kinds of metrics that carry points with times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Sums since the point before.
    Count,
    /// Sums per second.
    Rate,
    /// The last value.
    Gauge,
}

/// The points of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricSeries {
    /// Whose metric it is, such as `tracers`.
    pub namespace: String,
    /// Its name.
    pub metric: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: MetricKind,
    /// Unix seconds and value.
    pub points: Vec<(u64, f64)>,
    /// Seconds that a rate was divided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
    /// Sorted.
    pub tags: Vec<String>,
    /// Whether libraries in other languages have the same metric.
    pub common: bool,
}

/// The values of one distribution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DistributionSeries {
    /// Whose metric it is.
    pub namespace: String,
    /// Its name.
    pub metric: String,
    /// The values, oldest first.
    pub points: Vec<f64>,
    /// Sorted.
    pub tags: Vec<String>,
    /// Whether libraries in other languages have the same metric.
    pub common: bool,
}

/// How bad a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may fail.
    Warn,
    /// For developers.
    Debug,
}

/// A log line and how often it came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogLine {
    /// What it says.
    pub message: String,
    /// How bad that is.
    pub level: LogLevel,
    /// How often it came since the last flush.
    pub count: u64,
    /// `key:value`, joined by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tags: String,
    /// Redacted; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stack_trace: String,
    /// Unix seconds of the first time.
    pub tracer_time: u64,
}

/// One message, without its envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// The first one. It holds no dependencies and no integrations: the backend refuses one that does.
    AppStarted {
        /// The settings in force.
        configuration: Vec<Setting>,
        /// The parts of the program.
        products: BTreeMap<String, ProductState>,
        /// How the program was installed.
        install_signature: Option<InstallSignature>,
    },
    /// The program is alive.
    AppHeartbeat,
    /// The program is alive, and everything known of it, in case the backend lost it.
    AppExtendedHeartbeat {
        /// Every setting.
        configuration: Vec<Setting>,
        /// The first dependencies that were sent.
        dependencies: Vec<Dependency>,
        /// Every integration.
        integrations: Vec<Integration>,
    },
    /// The last one.
    AppClosing,
    /// Libraries of the program.
    AppDependenciesLoaded {
        /// At most 2,000 of them.
        dependencies: Vec<Dependency>,
    },
    /// Integrations since the last flush.
    AppIntegrationsChange {
        /// In the order they came.
        integrations: Vec<Integration>,
    },
    /// Settings that changed since the last flush.
    AppClientConfigurationChange {
        /// By name and origin.
        configuration: Vec<Setting>,
    },
    /// Products that changed since the last flush.
    AppProductChange {
        /// By name.
        products: BTreeMap<String, ProductState>,
    },
    /// Counts, rates and gauges.
    GenerateMetrics {
        /// By namespace, kind, name and tags.
        series: Vec<MetricSeries>,
    },
    /// Values of distributions.
    Distributions {
        /// By namespace, name and tags.
        series: Vec<DistributionSeries>,
    },
    /// Log lines.
    Logs {
        /// By level, message and tags.
        logs: Vec<LogLine>,
    },
    /// Several messages in one request.
    MessageBatch(Vec<Payload>),
}

impl Payload {
    /// The name of the message type.
    #[must_use]
    pub fn request_type(&self) -> &'static str {
        match self {
            Payload::AppStarted { .. } => "app-started",
            Payload::AppHeartbeat => "app-heartbeat",
            Payload::AppExtendedHeartbeat { .. } => "app-extended-heartbeat",
            Payload::AppClosing => "app-closing",
            Payload::AppDependenciesLoaded { .. } => "app-dependencies-loaded",
            Payload::AppIntegrationsChange { .. } => "app-integrations-change",
            Payload::AppClientConfigurationChange { .. } => "app-client-configuration-change",
            Payload::AppProductChange { .. } => "app-product-change",
            Payload::GenerateMetrics { .. } => "generate-metrics",
            Payload::Distributions { .. } => "distributions",
            Payload::Logs { .. } => "logs",
            Payload::MessageBatch(_) => "message-batch",
        }
    }
}

/// A message of a batch.
#[derive(Serialize)]
struct Message<'a> {
    request_type: &'static str,
    payload: &'a Payload,
}

/// An object with one field.
fn field<S: Serializer>(
    to: S,
    name: &'static str,
    value: impl Serialize,
) -> Result<S::Ok, S::Error> {
    to.collect_map([(name, value)])
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Started<'a> {
            configuration: &'a [Setting],
            products: &'a BTreeMap<String, ProductState>,
            #[serde(skip_serializing_if = "Option::is_none")]
            install_signature: &'a Option<InstallSignature>,
        }
        #[derive(Serialize)]
        struct Everything<'a> {
            configuration: &'a [Setting],
            dependencies: &'a [Dependency],
            integrations: &'a [Integration],
        }
        match self {
            Payload::AppStarted { configuration, products, install_signature } => {
                Started { configuration, products, install_signature }.serialize(to)
            }
            // An empty object, as dd-trace-go sends it; others leave the payload out.
            Payload::AppHeartbeat | Payload::AppClosing => to.collect_map([("", ""); 0]),
            Payload::AppExtendedHeartbeat { configuration, dependencies, integrations } => {
                Everything { configuration, dependencies, integrations }.serialize(to)
            }
            Payload::AppDependenciesLoaded { dependencies } => {
                field(to, "dependencies", dependencies)
            }
            Payload::AppIntegrationsChange { integrations } => {
                field(to, "integrations", integrations)
            }
            Payload::AppClientConfigurationChange { configuration } => {
                field(to, "configuration", configuration)
            }
            Payload::AppProductChange { products } => field(to, "products", products),
            Payload::GenerateMetrics { series } => field(to, "series", series),
            Payload::Distributions { series } => field(to, "series", series),
            Payload::Logs { logs } => field(to, "logs", logs),
            Payload::MessageBatch(payloads) => {
                let mut list = to.serialize_seq(Some(payloads.len()))?;
                for payload in payloads {
                    let request_type = payload.request_type();
                    list.serialize_element(&Message { request_type, payload })?;
                }
                list.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_written(payload: &Payload, json: &str) {
        assert_eq!(serde_json::to_string(payload).unwrap(), json);
    }

    #[test]
    fn values_of_settings_are_scalars() {
        let map = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".into(), "1".into())]);
        for (value, json) in [
            (SettingValue::from(true), "true"),
            (8125.into(), "8125"),
            (0.5.into(), "0.5"),
            (f64::NAN.into(), "null"),
            (f64::NEG_INFINITY.into(), "null"),
            ("x".into(), r#""x""#),
            (None::<&str>.into(), "null"),
            (Some(1).into(), "1"),
            ((&["a", "b"][..]).into(), r#""a,b""#),
            ((&map).into(), r#""a:1,b:2""#),
        ] {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
    }

    #[test]
    fn a_setting_says_its_origin_in_the_words_of_the_protocol() {
        let setting = Setting::new("log_level", "info", Origin::FleetStableConfig);
        is_written(
            &Payload::AppClientConfigurationChange { configuration: vec![setting] },
            r#"{"configuration":[{"name":"log_level","value":"info","origin":"fleet_stable_config","config_id":null,"seq_id":0}]}"#,
        );
    }

    #[test]
    fn a_batch_is_a_list_and_a_heartbeat_an_empty_object() {
        let error = Some(ProductError { code: 13, message: "permission denied".into() });
        let state = ProductState { enabled: false, version: "1".into(), error };
        let products = BTreeMap::from([("uds".to_owned(), state)]);
        is_written(
            &Payload::MessageBatch(vec![
                Payload::AppProductChange { products },
                Payload::AppHeartbeat,
            ]),
            r#"[{"request_type":"app-product-change","payload":{"products":{"uds":{"enabled":false,"version":"1","error":{"code":13,"message":"permission denied"}}}}},{"request_type":"app-heartbeat","payload":{}}]"#,
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_of_an_app_started() {
        let started = |install_signature| Payload::AppStarted {
            configuration: vec![],
            products: BTreeMap::new(),
            install_signature,
        };
        is_written(&started(None), r#"{"configuration":[],"products":{}}"#);
        let signature = InstallSignature { install_type: Some("deb".into()), ..Default::default() };
        is_written(
            &started(Some(signature)),
            r#"{"configuration":[],"products":{},"install_signature":{"install_type":"deb"}}"#,
        );
    }
}
