//! What the keys of the HTTP doors mean together: what is open, and where data goes on to.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::effective::EffectiveValues;
use super::problem::{Class, ValueOrigin};
use super::settings::Config;
use super::types::{DoorMode, Port};
use super::value::{Value, show};

const PORT: &str = "apm_config.receiver_port";
const SOCKET: &str = "apm_config.receiver_socket";

/// Where clients look for an Agent's trace receiver.
const AGENT_PORT: u16 = 8126;
const AGENT_SOCKET: Option<&str> =
    if cfg!(target_os = "linux") { Some("/var/run/datadog/apm.socket") } else { None };

/// The Agent's time for one request, which 0 stands for.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(5);

impl Config {
    /// True when a door is open.
    #[must_use]
    pub fn doors_open(&self) -> bool {
        self.apm_config_receiver_socket.is_some()
            || !matches!(self.apm_config_receiver_port, None | Some(Port::Off))
    }

    /// What is done with telemetry, which another key can turn off.
    #[must_use]
    pub fn telemetry_door(&self) -> DoorMode {
        if self.apm_config_telemetry_enabled { self.doors_telemetry } else { DoorMode::Off }
    }

    /// The environment of data that comes without one.
    #[must_use]
    pub fn doors_env(&self) -> Option<&str> {
        self.apm_config_env.as_deref().or(self.env.as_deref())
    }

    /// Time for one whole request.
    #[must_use]
    pub fn receiver_timeout(&self) -> Duration {
        match self.apm_config_receiver_timeout {
            Duration::ZERO => RECEIVER_TIMEOUT,
            time => time,
        }
    }

    /// Where trace statistics and data streams are forwarded, without a trailing slash.
    #[must_use]
    pub fn traces_url(&self) -> String {
        let url = self.apm_config_apm_dd_url.as_ref();
        url.map_or_else(|| format!("https://trace.agent.{}", self.site), |url| url.expose().into())
    }

    /// Where telemetry is forwarded, without a trailing slash.
    #[must_use]
    pub fn telemetry_url(&self) -> String {
        let site = || format!("https://instrumentation-telemetry-intake.{}", self.site);
        self.apm_config_telemetry_dd_url.as_ref().map_or_else(site, |url| url.expose().into())
    }
}

impl EffectiveValues {
    /// Decides what is open; after that a port or socket without a value is closed.
    pub(super) fn doors(&mut self) {
        match self.values.get("doors") {
            Some(Value::Bool(true)) => self.open_doors(),
            Some(Value::Bool(false)) => self.close_doors(),
            _ => self.close_doors_of_files(),
        }
        let closed = |value: Option<&Value>| {
            matches!(value, None | Some(Value::Unset | Value::Port(Port::Off)))
        };
        if !(closed(self.values.get(PORT)) && closed(self.values.get(SOCKET))) {
            self.destinations();
        }
    }

    /// Both of the Agent's places, where no other is named. They have the origin of `doors`.
    fn open_doors(&mut self) {
        let socket = AGENT_SOCKET.map(|path| Value::Path(PathBuf::from(path)));
        let port = Some(Value::Port(Port::Fixed(AGENT_PORT)));
        for (name, value) in [(PORT, port), (SOCKET, socket)] {
            if let Some(value) = value.filter(|_| self.is_default(name)) {
                self.values.insert(name, value);
                self.origins.insert(name, self.origin("doors"));
            }
        }
    }

    fn close_doors(&mut self) {
        for name in [PORT, SOCKET] {
            self.close(name, "is closed because doors is false; remove one of the two");
        }
    }

    /// A file may be shared with an Agent, which owns the port and the socket it names.
    fn close_doors_of_files(&mut self) {
        for name in [PORT, SOCKET] {
            if let ValueOrigin::File { .. } = self.origin(name) {
                let variable = name.rsplit('.').next().unwrap_or_default().to_uppercase();
                self.close(
                    name,
                    &format!(
                        "opens nothing from a file, which may be an Agent's; to open it here set \
                         doors: true, DD_APM_{variable} or --set {name}=…"
                    ),
                );
            }
        }
    }

    fn close(&mut self, name: &'static str, message: &str) {
        let Some(value @ (Value::Port(Port::Fixed(_) | Port::Random) | Value::Path(_))) =
            self.values.get(name)
        else {
            return;
        };
        let (message, origin) = (format!("{} {message}", show(value)), self.origin(name));
        self.values.insert(name, Value::Unset);
        self.origins.insert(name, ValueOrigin::Default);
        self.problem(Class::Note, origin, name, message);
    }

    /// Data that is to go on needs somewhere to go.
    fn destinations(&mut self) {
        let without_key = self.values.get("api_key").is_none_or(|key| *key == Value::Unset);
        let telemetry =
            self.values.get("apm_config.telemetry.enabled") != Some(&Value::Bool(false));
        for (name, used) in
            [("doors_stats", true), ("doors_data_streams", true), ("doors_telemetry", telemetry)]
        {
            if let Some(Value::Word(word @ ("forward" | "both"))) = self.values.get(name)
                && used
                && without_key
            {
                let message = format!("{word} needs an API key; set DD_API_KEY, or use local");
                self.problem(Class::Value, self.origin(name), name, message);
            }
        }
        let upstream = match self.values.get("doors_upstream") {
            Some(Value::Url(url)) => Some(url.expose().to_owned()),
            _ => None,
        };
        if self.values.get("doors_traces") == Some(&Value::Word("upstream")) && upstream.is_none() {
            let message = "upstream needs doors_upstream; set it, or use count";
            self.problem(Class::Value, self.origin("doors_traces"), "doors_traces", message);
        }
        if upstream.is_some_and(|upstream| self.is_ourselves(&upstream)) {
            let message = "is the door itself; name the address of a real Agent";
            self.problem(Class::Value, self.origin("doors_upstream"), "doors_upstream", message);
        }
    }

    /// True when requests passed to that URL would come back here.
    fn is_ourselves(&self, upstream: &str) -> bool {
        if let Some(path) = upstream.strip_prefix("unix://") {
            return self.values.get(SOCKET) == Some(&Value::Path(PathBuf::from(path)));
        }
        let Some(Value::Port(Port::Fixed(port))) = self.values.get(PORT) else { return false };
        let place = upstream.trim_start_matches("http://");
        let Some(host) = place.strip_suffix(&format!(":{port}")) else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Examined, Mode, Sources, TracesMode, examine};

    fn look(yaml: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> (Config, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.yaml");
        std::fs::write(&path, yaml).unwrap();
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<Vec<_>>()
        };
        let file = (!yaml.is_empty()).then_some(path);
        let sources = Sources { file, env: owned(env), flags: owned(flags), mode: Mode::Check };
        let Examined { loaded, problems } = examine(sources);
        let short = |text: String| text.find("w.yaml").map_or(text.clone(), |at| text[at..].into());
        let mark = |problem: &crate::config::Problem| match problem.is_error(Mode::Run) {
            true => format!("error {}", short(problem.to_string())),
            false => format!("note {}", short(problem.to_string())),
        };
        (loaded.unwrap().config, problems.iter().map(mark).collect())
    }

    /// The port and socket that are open, and the notes.
    #[track_caller]
    fn opens(yaml: &str, env: &[(&str, &str)], flags: &[(&str, &str)], expect: &str) {
        let (config, problems) = look(yaml, env, flags);
        assert!(problems.iter().all(|problem| problem.starts_with("note ")), "{problems:?}");
        let port = match config.apm_config_receiver_port {
            None => "closed".to_owned(),
            Some(Port::Off) => "0".to_owned(),
            Some(Port::Fixed(port)) => port.to_string(),
            Some(Port::Random) => "any".to_owned(),
        };
        let socket = config.apm_config_receiver_socket.as_ref();
        let socket = socket.map_or("closed".into(), |path| path.display().to_string());
        assert_eq!(format!("{port} {socket}"), expect);
        assert_eq!(config.doors_open(), !matches!(expect, "closed closed" | "0 closed"));
    }

    const AGENTS: &str = "apm_config: {receiver_port: 8136, receiver_socket: /x/apm.socket}\n";

    #[test]
    fn a_file_gives_values_and_opens_nothing() {
        opens("", &[], &[], "closed closed");
        opens(AGENTS, &[], &[], "closed closed");
        let (_, problems) = look(AGENTS, &[], &[]);
        assert_eq!(problems.len(), 2);
        assert_eq!(
            problems[0],
            "note w.yaml:1:29: apm_config.receiver_port: 8136 opens nothing from a file, which may \
             be an Agent's; to open it here set doors: true, DD_APM_RECEIVER_PORT or --set \
             apm_config.receiver_port=…"
        );
        opens(AGENTS, &[("WHIPPET_DOORS", "true")], &[], "8136 /x/apm.socket");
        opens(&format!("{AGENTS}doors: true\n"), &[], &[], "8136 /x/apm.socket");
        opens(
            "doors: true\napm_config: {receiver_port: 0, receiver_socket: ''}",
            &[],
            &[],
            "0 closed",
        );
    }

    #[test]
    fn the_environment_and_flags_open_what_they_name() {
        opens("", &[("DD_APM_RECEIVER_PORT", "1")], &[], "1 closed");
        opens("", &[("DD_RECEIVER_PORT", "2")], &[], "2 closed");
        opens("", &[("DD_APM_RECEIVER_PORT", "1"), ("DD_RECEIVER_PORT", "2")], &[], "1 closed");
        opens("", &[("DD_APM_RECEIVER_SOCKET", "/a")], &[], "closed /a");
        opens("", &[("DD_APM_RECEIVER_PORT", "0")], &[], "0 closed");
        opens(AGENTS, &[("DD_APM_RECEIVER_PORT", "1")], &[], "1 closed");
        opens("", &[], &[("apm_config.receiver_port", "__random__")], "any closed");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn doors_opens_both_places_of_an_agent_or_closes_all() {
        opens("", &[("WHIPPET_DOORS", "true")], &[], "8126 /var/run/datadog/apm.socket");
        opens(
            "",
            &[("WHIPPET_DOORS", "true"), ("DD_APM_RECEIVER_PORT", "0")],
            &[],
            "0 /var/run/datadog/apm.socket",
        );
        let env = &[("DD_APM_RECEIVER_PORT", "1"), ("DD_APM_RECEIVER_SOCKET", "/a")];
        opens(AGENTS, env, &[("doors", "false")], "closed closed");
        let (_, problems) = look("", env, &[("doors", "false")]);
        assert_eq!(
            problems[0],
            "note DD_APM_RECEIVER_PORT: apm_config.receiver_port: 1 is closed because doors is \
             false; remove one of the two"
        );
    }

    #[test]
    fn variables_have_the_names_of_the_agent() {
        let env = [
            ("DD_APM_RECEIVER_PORT", "1"),
            ("DD_APM_NON_LOCAL_TRAFFIC", "true"),
            ("WHIPPET_DOORS_STATS", "off"),
            ("WHIPPET_DOORS_DATA_STREAMS", "off"),
            ("WHIPPET_DOORS_TELEMETRY", "off"),
            ("WHIPPET_DOORS_TRACES", "upstream"),
            ("WHIPPET_DOORS_DOGSTATSD", "off"),
            ("WHIPPET_DOORS_API", "off"),
            ("WHIPPET_DOORS_UPSTREAM", "unix:///run/apm.socket"),
            ("WHIPPET_DOORS_PREFIX", "w."),
            ("DD_APM_DD_URL", "http://traces:1"),
            ("DD_APM_ADDITIONAL_ENDPOINTS", r#"{"http://b:1": ["k"]}"#),
            ("DD_APM_TELEMETRY_ENABLED", "false"),
            ("DD_APM_TELEMETRY_DD_URL", "http://telemetry:1/"),
            ("DD_APM_TELEMETRY_ADDITIONAL_ENDPOINTS", r#"{"http://c:1": ["k"]}"#),
            ("DD_APM_MAX_PAYLOAD_SIZE", "7"),
            ("DD_APM_RECEIVER_TIMEOUT", "3"),
            ("DD_APM_MAX_CONNECTIONS", "4"),
            ("DD_APM_ENV", "e"),
        ];
        let (config, problems) = look("", &env, &[]);
        assert_eq!(problems, [""; 0]);
        assert!(config.apm_config_apm_non_local_traffic);
        for mode in [
            config.doors_stats,
            config.doors_data_streams,
            config.doors_dogstatsd,
            config.doors_api,
        ] {
            assert_eq!(mode, DoorMode::Off);
        }
        assert_eq!(config.telemetry_door(), DoorMode::Off);
        assert_eq!(config.doors_traces, TracesMode::Upstream);
        assert_eq!(config.doors_upstream.as_ref().unwrap().expose(), "unix:///run/apm.socket");
        assert_eq!(config.doors_prefix, "w.");
        assert_eq!(config.traces_url(), "http://traces:1");
        assert_eq!(config.telemetry_url(), "http://telemetry:1");
        assert_eq!(config.apm_config_additional_endpoints[0].url.expose(), "http://b:1");
        assert_eq!(config.apm_config_telemetry_additional_endpoints[0].url.expose(), "http://c:1");
        assert_eq!(config.apm_config_max_payload_size, 7);
        assert_eq!(config.receiver_timeout(), Duration::from_secs(3));
        assert_eq!(config.apm_config_max_connections, 4);
        assert_eq!(config.doors_env(), Some("e"));
    }

    #[test]
    fn the_defaults_are_local_and_go_to_the_site() {
        let (config, _) = look("", &[("DD_SITE", "datadoghq.eu"), ("DD_ENV", "prod")], &[]);
        assert_eq!(config.doors_stats, DoorMode::Local);
        assert_eq!(config.telemetry_door(), DoorMode::Local);
        assert_eq!(config.doors_traces, TracesMode::Count);
        assert_eq!(config.traces_url(), "https://trace.agent.datadoghq.eu");
        assert_eq!(config.telemetry_url(), "https://instrumentation-telemetry-intake.datadoghq.eu");
        assert_eq!(config.apm_config_max_payload_size, 26_214_400);
        assert_eq!(config.receiver_timeout(), Duration::from_secs(5));
        assert_eq!(config.apm_config_max_connections, 256);
        assert_eq!(config.doors_env(), Some("prod"));
        let (config, _) = look("", &[("DD_APM_RECEIVER_TIMEOUT", "0")], &[]);
        assert_eq!(config.receiver_timeout(), Duration::from_secs(5));
    }

    #[test]
    fn data_that_is_to_go_on_needs_somewhere_to_go() {
        let open = ("apm_config.receiver_port", "1");
        let refuses = |flags: &[(&str, &str)], expect: &[&str]| {
            let (_, problems) = look("", &[], flags);
            assert_eq!(problems, expect, "{flags:?}");
        };
        let key = "error --set doors_stats: doors_stats: both needs an API key; set DD_API_KEY, or \
                   use local";
        refuses(&[open, ("doors_stats", "both")], &[key]);
        refuses(&[open, ("doors_stats", "both"), ("api_key", "0123456789")], &[]);
        refuses(&[("doors_stats", "both")], &[]);
        let off = ("apm_config.telemetry.enabled", "false");
        refuses(&[open, ("doors_telemetry", "forward"), off], &[]);
        let traces = "error --set doors_traces: doors_traces: upstream needs doors_upstream; set it, \
                      or use count";
        refuses(&[open, ("doors_traces", "upstream")], &[traces]);
        let ourselves = "error --set doors_upstream: doors_upstream: is the door itself; name the \
                         address of a real Agent";
        for upstream in ["http://localhost:1", "http://[::1]:1", "http://127.0.0.1:1/"] {
            refuses(&[open, ("doors_upstream", upstream)], &[ourselves]);
        }
        refuses(&[open, ("doors_upstream", "http://localhost:2")], &[]);
        refuses(&[open, ("doors_upstream", "http://agent:1")], &[]);
        let socket = ("apm_config.receiver_socket", "/a");
        refuses(&[socket, ("doors_upstream", "unix:///a")], &[ourselves]);
    }

    #[test]
    fn an_upstream_is_a_host_with_a_port_or_a_path() {
        let reads = |value: &str, expect: &str| {
            let (_, problems) = look("", &[], &[("doors_upstream", value)]);
            assert!(problems[0].contains(expect) && problems.len() == 1, "{problems:?}");
        };
        let way_out = "; use http://host:port or unix:///path";
        reads("https://agent:8126", &format!("has a scheme other than http{way_out}"));
        reads("agent:8126", &format!("has no scheme{way_out}"));
        reads("unix://run/apm.socket", &format!("has no absolute path{way_out}"));
        reads("http://agent:8126/v0.4", &format!("has more than a host and a port{way_out}"));
        reads("http://u:p@agent:8126", &format!("has more than a host and a port{way_out}"));
    }
}
