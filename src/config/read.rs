//! Reads one value: from the parsed tree to the type of its key.
//!
//! An invalid scalar makes the whole value invalid; a list is read entry by entry (in `lists`), and
//! an invalid entry affects only itself.

use std::path::PathBuf;

use super::expected::expected;
use super::hostname::check_name;
use super::key::{Key, Kind};
use super::lists;
use super::node::{Node, Tree};
use super::problem::Class;
use super::secret::Secret;
use super::types::Port;
use super::units::{boolean, bytes, duration};
use super::url;
use super::value::{Fault, Value, quoted};

/// Reads a node as the type of `key`. Returns `None`, and adds a fault, when it is invalid.
pub(super) fn read(key: &Key, node: &Node, faults: &mut Vec<Fault>) -> Option<Value> {
    if let Some(list) = lists::read(key.kind, node, faults) {
        return list.ok();
    }
    let result = match &node.tree {
        Tree::Null => Ok(Value::Unset),
        Tree::Text(text) => scalar(key.kind, text),
        Tree::List(_) => Err("is a list; expected ".to_owned() + &expected(key.kind)),
        Tree::Map(_) => Err("is a map; expected ".to_owned() + &expected(key.kind)),
    };
    result
        .map_err(|message| {
            let shown = match node.as_text() {
                Some(_) if key.kind == Kind::Password => format!("***** {message}"),
                Some(text) if key.secret() => format!("{} {message}", Secret::new(text)),
                Some(text) => format!("{} {message}", quoted(text)),
                None => message,
            };
            let way_out = match key.default {
                "" => String::new(),
                default => format!(" (default {default})"),
            };
            let message = shown + &way_out;
            faults.push(Fault { class: Class::Value, at: node.at, path: String::new(), message });
        })
        .ok()
}

/// Reads a scalar. An empty string means "unset" for every type but `Text`.
fn scalar(kind: Kind, written: &str) -> Result<Value, String> {
    let text = written.trim();
    if text.is_empty() {
        return Ok(if kind == Kind::Text { Value::Text(String::new()) } else { Value::Unset });
    }
    let refuse = |what: &str| Err(format!("{what}; use {}", expected(kind)));
    match kind {
        Kind::Bool => match boolean(text) {
            Some(flag) => Ok(Value::Bool(flag)),
            None => refuse("is not a boolean"),
        },
        Kind::Integer { min, max } => match text.parse::<i64>() {
            Ok(number) if number < min => refuse("is too small"),
            Ok(number) if number > max => refuse("is too large"),
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => refuse("is not a whole number"),
        },
        Kind::Float { min, max } => match text.parse::<f64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Float(number)),
            Ok(_) => refuse("is out of range"),
            Err(_) => refuse("is not a number"),
        },
        Kind::Secret if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            refuse("contains whitespace")
        }
        Kind::Secret => Ok(Value::Secret(Secret::new(text))),
        Kind::Password if text.chars().any(char::is_control) => refuse("has a control character"),
        Kind::Password => Ok(Value::Secret(Secret::password(text))),
        Kind::Url => url::parse(text, &["http", "https"], false).map(Value::Url),
        Kind::Upstream => url::parse_upstream(text).map(Value::Url),
        Kind::Proxy => {
            url::parse(text, &["http", "https", "socks5", "socks5h"], true).map(Value::Url)
        }
        Kind::Path => Ok(Value::Path(PathBuf::from(text))),
        Kind::Hostname => match check_name(text) {
            Ok(()) => Ok(Value::Text(text.to_owned())),
            Err(reason) => refuse(reason),
        },
        Kind::Site => match check_name(text.trim_end_matches('.')) {
            Ok(()) => Ok(Value::Text(text.trim_end_matches('.').to_owned())),
            Err(_) => refuse("is not a valid site"),
        },
        Kind::Choice(words) => choice(words, text).map_or_else(|| refuse("is unknown"), Ok),
        Kind::Duration { unit, min, max, whole_seconds } => match duration(text, unit) {
            None => refuse("is not a duration"),
            Some(time) if time < min => refuse("is too short"),
            Some(time) if time > max => refuse("is too long"),
            Some(time) if whole_seconds && time.subsec_nanos() != 0 => {
                refuse("is not a whole number of seconds")
            }
            Some(time) => Ok(Value::Duration(time)),
        },
        Kind::Bytes { max } => match bytes(text) {
            None => refuse("is not a size"),
            Some(size) if size > max => refuse("is too large"),
            Some(size) => Ok(Value::Bytes(size)),
        },
        Kind::Mode => match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
            Ok(mode) if mode <= 0o777 => Ok(Value::Mode(mode)),
            _ => refuse("is not a file mode"),
        },
        Kind::Port if text == "__random__" => Ok(Value::Port(Port::Random)),
        Kind::Port => match text.parse::<u16>() {
            Ok(0) => Ok(Value::Port(Port::Off)),
            Ok(port) => Ok(Value::Port(Port::Fixed(port))),
            Err(_) => refuse("is not a valid port"),
        },
        // Lists are handled elsewhere.
        _ => Ok(Value::Text(written.to_owned())),
    }
}

/// Looks up a word of the list; other spellings of true and false match `true` and `false`.
fn choice(words: &'static [&'static str], text: &str) -> Option<Value> {
    // The Agent's other name for that log level.
    let text = if text.eq_ignore_ascii_case("warning") { "warn" } else { text };
    let word = words.iter().find(|word| word.eq_ignore_ascii_case(text)).or_else(|| {
        let as_bool = boolean(text)?.to_string();
        words.iter().find(|word| **word == as_bool)
    })?;
    Some(Value::Word(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::config::keys;
    use crate::config::units::show_duration;
    use crate::config::value::show;

    fn value(key: &str, text: &str) -> Result<String, String> {
        let mut faults = Vec::new();
        let key = keys::find(key).unwrap();
        match read(key, &Node::text(text), &mut faults) {
            Some(value) => Ok(show(&value)),
            None => Err(faults.remove(0).message),
        }
    }

    #[track_caller]
    fn reads(key: &str, text: &str, expect: &str) {
        assert_eq!(value(key, text).as_deref(), Ok(expect), "{key}={text}");
    }

    #[track_caller]
    fn refuses(key: &str, text: &str, expect: &str) {
        let message = value(key, text).unwrap_err();
        assert!(message.starts_with(expect), "{key}={text}: {message}");
    }

    #[test]
    fn booleans_are_go_words_and_yaml_words() {
        for text in ["1", "t", "T", "TRUE", "true", "True", "yes", "on"] {
            reads("log_payloads", text, "true");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False", "no", "off"] {
            reads("log_payloads", text, "false");
        }
        refuses(
            "log_payloads",
            "maybe",
            "\"maybe\" is not a boolean; use true or false (default false)",
        );
        refuses("log_payloads", "2", "\"2\" is not a boolean");
    }

    #[test]
    fn numbers_have_ranges() {
        reads("lanes", " 4 ", "4");
        refuses("lanes", "0", "\"0\" is too small; use a whole number from 1 to 1024 (default 1)");
        refuses("lanes", "1025", "\"1025\" is too large");
        refuses("lanes", "1.5", "\"1.5\" is not a whole number");
        refuses("lanes", "99999999999999999999", "\"99999999999999999999\" is not a whole number");
        reads("forwarder_backoff_factor", "2.5", "2.5");
        refuses("forwarder_backoff_factor", "nan", "\"nan\" is out of range");
        refuses("forwarder_backoff_factor", "inf", "\"inf\" is out of range");
        refuses("forwarder_backoff_factor", "1", "\"1\" is out of range; use a number from 2 to");
        refuses("forwarder_backoff_factor", "two", "\"two\" is not a number");
    }

    #[test]
    fn durations_are_go_durations_or_bare_numbers_in_the_unit_of_the_key() {
        reads("forwarder_timeout", "20", "20s");
        reads("forwarder_timeout", "1.5", "1.5s");
        reads("forwarder_timeout", "1h30m", "90m");
        reads("forwarder_timeout", "100ms", "100ms");
        reads("receive_pause", "2", "2ms");
        reads("receive_pause", "0", "0s");
        reads("forwarder_apikey_validation_interval", "60", "1h");
        reads("interval", "60s", "1m");
        refuses("interval", "0", "\"0\" is too short");
        refuses("interval", "1500ms", "\"1500ms\" is not a whole number of seconds");
        refuses("interval", "2h", "\"2h\" is too long");
        for text in ["10 apples", "-1s", "1x", "s", "1s1", "1e400", "-5", "nan"] {
            refuses("forwarder_timeout", text, &format!("\"{text}\" is not a duration"));
        }
    }

    #[test]
    fn ports_sizes_and_modes() {
        reads("dogstatsd_port", "8125", "8125");
        reads("dogstatsd_port", "0", "0 (off)");
        reads("dogstatsd_port", "__random__", "__random__");
        refuses(
            "dogstatsd_port",
            "65536",
            "\"65536\" is not a valid port; use a port from 1 to 65535",
        );
        refuses("dogstatsd_port", "-1", "\"-1\" is not a valid port");
        reads("log_file_max_size", "10Mb", "10485760");
        reads("log_file_max_size", "512 KiB", "524288");
        reads("log_file_max_size", "77", "77");
        refuses("log_file_max_size", "ten", "\"ten\" is not a size");
        refuses("log_file_max_size", "1.5Mb", "\"1.5Mb\" is not a size");
        refuses(
            "log_file_max_size",
            "18446744073709551615k",
            "\"18446744073709551615k\" is not a size",
        );
        reads("dogstatsd_socket_mode", "0722", "0722");
        reads("dogstatsd_socket_mode", "0o660", "0660");
        refuses("dogstatsd_socket_mode", "0800", "\"0800\" is not a file mode");
        refuses("dogstatsd_socket_mode", "1777", "\"1777\" is not a file mode");
    }

    #[test]
    fn urls_are_absolute() {
        reads("dd_url", "http://127.0.0.1:8080", "http://127.0.0.1:8080");
        reads("dd_url", "HTTPS://[::1]:8080/x/", "HTTPS://[::1]:8080/x");
        reads("proxy.https", "user:pa:ss@proxy:3128", "user:***@proxy:3128");
        reads("proxy.https", "http://user:pass@proxy:3128", "http://user:***@proxy:3128");
        refuses("proxy.https", "http//u:pw@x", "\"http//u:***@x\" has no scheme");
        refuses("dd_url", "app.datadoghq.eu", "\"app.datadoghq.eu\" has no scheme");
        refuses("dd_url", "ftp://x", "\"ftp://x\" has a scheme other than http, https");
        refuses("dd_url", "http://", "\"http://\" has no host");
        refuses("dd_url", "http://:80", "\"http://:80\" has no host");
        refuses("dd_url", "http://x:port", "\"http://x:port\" has an invalid port");
        refuses("dd_url", "http://[::1", "\"http://[::1\" has an unterminated IPv6 address");
        refuses("dd_url", "http://a b", "\"http://a b\" contains whitespace");
    }

    #[test]
    fn choices_ignore_case() {
        reads("log_level", "WARN", "warn");
        reads("log_level", "warning", "warn");
        reads("self_telemetry", "yes", "true");
        refuses("log_level", "loud", "\"loud\" is unknown; use trace, debug, info");
        reads("site", "us3.datadoghq.com.", "us3.datadoghq.com");
        refuses(
            "site",
            "https://datadoghq.eu",
            "\"https://datadoghq.eu\" is not a valid site; use a domain",
        );
        refuses("hostname", "localhost", "\"localhost\" is a loopback name");
    }

    #[test]
    fn lists_outside_of_files_are_words_or_json() {
        reads("tags", "env:prod  team:x", "[env:prod, team:x]");
        reads("tags", r#"["env:prod","a b"]"#, "[env:prod, a b]");
        for text in
            ["env:prod,team:x", "env:prod, team:x", " env:prod ,,team:x, ", "env:prod\tteam:x"]
        {
            reads("tags", text, "[env:prod, team:x]");
        }
        reads("histogram_percentiles", "0.95,0.99", "[0.95, 0.99]");
        reads("histogram_aggregates", "max,avg", "[max, avg]");
        reads("dogstatsd_eol_required", "udp,uds", "[udp, uds]");
        reads("metric_filterlist", "a.b,c.d e", "[a.b, c.d, e]");
        reads("proxy.no_proxy", "a.b,c.d", "[a.b, c.d]");
        reads("tags", r#"["city:a,b"]"#, "[city:a,b]");
        reads("secret_backend_arguments", "--keys=a,b -v", "[--keys=a,b, -v]");
        reads("output", "console,jsonl:/tmp/x none", "[console, jsonl:/tmp/x, none]");
        refuses("output", "consle", "\"consle\" is unknown; use console, jsonl");
        refuses("tags", "[1,", "is not valid JSON (it ends too early at column 3)");
        refuses("tags", r#"{"a":1}"#, "is a map; expected a list of strings");
        refuses(
            "dogstatsd_mapper_profiles",
            "abc",
            "\"abc\"; expected a list of mapper profiles, in the environment written as JSON",
        );
        reads("kubernetes_pod_labels_as_tags", r#"{"app":"service"}"#, "[app: service]");
    }

    #[test]
    fn long_and_odd_values_are_shown_short_and_escaped() {
        let message = value("lanes", &"9\n".repeat(100)).unwrap_err();
        assert!(
            message.len() < 220 && message.contains("9\\n9") && message.contains('…'),
            "{message}"
        );
    }

    #[test]
    fn every_default_is_read_without_a_fault_and_shown_as_it_is_read() {
        for key in keys::all() {
            let mut faults = Vec::new();
            let value = read(key, &Node::text(key.default), &mut faults);
            assert_eq!(faults, [], "{}", key.name);
            assert!(value.is_some(), "{}", key.name);
        }
    }

    proptest::proptest! {
        /// No input panics in any type, and messages contain no control characters.
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}|[-0-9.:@/a-z\\[\\]{}\",µ]{0,20}") {
            for key in keys::all() {
                let mut faults = Vec::new();
                let value = read(key, &Node::text(text.clone()), &mut faults);
                proptest::prop_assert!(value.is_some() || !faults.is_empty());
                let messages: String = faults.into_iter().map(|fault| fault.message).collect();
                proptest::prop_assert!(!messages.chars().any(char::is_control), "{}: {messages:?}", key.name);
            }
        }

        #[test]
        fn any_file_is_a_tree_or_refused(text in "[-:#&*!|>'\"\\[\\]{},? \n\ta-c0-9<]{0,60}") {
            if let Ok(node) = crate::config::yaml::parse(&text) {
                for key in keys::all() {
                    read(key, &node, &mut Vec::new());
                }
            }
        }

        #[test]
        fn a_shown_duration_is_read_back(nanos in 0u64..100_000_000_000_000) {
            let time = Duration::from_nanos(nanos - nanos % 1000);
            let back = duration(&show_duration(time), Duration::from_secs(1)).unwrap();
            proptest::prop_assert!(back.abs_diff(time) < Duration::from_micros(1));
        }
    }
}
