//! What is refused: brokers, names, times and properties that cannot work, and keys that need another.

use std::net::IpAddr;
use std::time::Duration;

use super::properties::refused_property;
use super::{SIZE_MIN, topic_next};
use crate::config::effective::EffectiveValues;
use crate::config::problem::Class;
use crate::config::units::show_duration;
use crate::config::value::{Value, quoted};

/// Below this brokers refuse a session by default (`group.min.session.timeout.ms`).
const SESSION_OF_BROKERS: Duration = Duration::from_secs(6);

impl EffectiveValues {
    /// Checks of the global tier. What is wrong in itself is reported with the tier off, too; what is
    /// missing only where it is needed.
    pub(in crate::config) fn global(&mut self) {
        self.brokers();
        self.names();
        self.times();
        self.sizes();
        self.properties();
        self.login();
        if !matches!(self.values.get("global_mode"), Some(Value::Word("send" | "own" | "both"))) {
            return;
        }
        self.features(cfg!(feature = "global"), cfg!(feature = "global-tls"));
        if self.words("global_brokers").is_empty() {
            let mode = self.word("global_mode").unwrap_or_default();
            let message = format!("{mode} needs global_brokers; set it to a list of host:port");
            self.wrong("global_mode", message);
        }
        self.readable_files();
        self.plain_text();
        self.instance_tag();
    }

    fn wrong(&mut self, name: &'static str, message: impl Into<String>) {
        self.problem(Class::Value, self.origin(name), name, message);
    }

    fn words(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(Value::Words(words)) => words,
            _ => &[],
        }
    }

    fn pairs(&self, name: &str) -> &[(String, String)] {
        match self.values.get(name) {
            Some(Value::Pairs(pairs)) => pairs,
            _ => &[],
        }
    }

    fn word(&self, name: &str) -> Option<&'static str> {
        match self.values.get(name) {
            Some(Value::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_set(&self, name: &str) -> bool {
        match self.values.get(name) {
            None | Some(Value::Unset | Value::Bool(false)) => false,
            Some(Value::Text(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }

    /// What was compiled in decides what can be used.
    pub(super) fn features(&mut self, global: bool, tls: bool) {
        let missing = |what: &str, feature: &str| {
            format!(
                "{what} needs a whippet built with the feature {feature}; build it with \
                 `cargo build --release --features {feature}`, or use an image that has it"
            )
        };
        if !global {
            let mode = self.word("global_mode").unwrap_or_default();
            self.wrong("global_mode", missing(mode, "global"));
        }
        for name in ["global_tls", "global_sasl_mechanism"] {
            if !tls && self.is_set(name) {
                let value = self.word(name).unwrap_or("true");
                self.wrong(name, missing(value, "global-tls"));
            }
        }
    }

    fn brokers(&mut self) {
        let faults: Vec<String> = self
            .words("global_brokers")
            .iter()
            .filter_map(|broker| {
                let what = host_port(broker).err()?;
                Some(format!("{} {what}; use host:port, such as kafka1:9092", quoted(broker)))
            })
            .collect();
        faults.into_iter().for_each(|fault| self.wrong("global_brokers", fault));
    }

    /// Names that brokers accept, patterns that can match.
    fn names(&mut self) {
        for name in ["global_topic", "global_group", "global_owner_id"] {
            let Some(Value::Text(text)) = self.values.get(name) else { continue };
            if let Err(what) = kafka_name(text)
                && !text.is_empty()
            {
                let message = format!("{} {what}", quoted(text));
                self.wrong(name, message);
            }
        }
        let partitions = match self.values.get("global_partitions") {
            Some(Value::Integer(number)) => u32::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        let next = self.pairs("global_topic_next");
        let same = matches!(self.values.get("global_topic"), Some(Value::Text(topic))
            if next.iter().any(|(field, value)| field == "topic" && value == topic));
        if let Err(message) = topic_next(next, partitions) {
            self.wrong("global_topic_next", message);
        } else if same {
            let message = "names the same topic as global_topic; name another, which is new";
            self.wrong("global_topic_next", message);
        }
        let stars: Vec<String> = self
            .words("global_metrics")
            .iter()
            .filter(|pattern| {
                pattern.trim_end_matches('*').len() + 1 < pattern.len()
                    || pattern.trim_end_matches('*').contains('*')
            })
            .map(|pattern| {
                format!(
                    "{} has a * before its end; use a name, or the start of names and one *",
                    quoted(pattern)
                )
            })
            .collect();
        stars.into_iter().for_each(|message| self.wrong("global_metrics", message));
        let tags: Vec<String> = self
            .words("global_drop_tags")
            .iter()
            .filter(|key| key.contains(':'))
            .map(|key| {
                format!("{} is more than a key; leave out the : and what follows", quoted(key))
            })
            .collect();
        tags.into_iter().for_each(|message| self.wrong("global_drop_tags", message));
    }

    /// A shorter time within a longer one. The one that was set is named, the later in the table first.
    fn times(&mut self) {
        let time = |values: &Self, name: &str| match values.values.get(name) {
            Some(Value::Duration(time)) => *time,
            _ => Duration::ZERO,
        };
        for (short, long) in [("global_grace", "global_late"), ("global_late", "global_late_max")] {
            let (least, most) = (time(self, short), time(self, long));
            if least <= most {
                continue;
            }
            let show = show_duration;
            let (name, message) = match self.is_default(long) && !self.is_default(short) {
                true => (short, format!("{} is above {long} ({})", show(least), show(most))),
                false => (long, format!("{} is below {short} ({})", show(most), show(least))),
            };
            self.wrong(name, message + "; change one of the two");
        }
        let name = "global_session_timeout";
        if time(self, name) < SESSION_OF_BROKERS {
            let message = "is refused by brokers with their default group.min.session.timeout.ms, \
                           6 s; lower that, or use 6 s or more";
            self.problem(Class::Note, self.origin(name), name, message);
        }
    }

    fn sizes(&mut self) {
        for name in ["global_queue_max", "global_spool_max", "global_memory_max"] {
            let Some(Value::Bytes(size)) = self.values.get(name) else { continue };
            let off = name == "global_memory_max" && *size == 0;
            if *size < SIZE_MIN && !off {
                self.wrong(name, format!("{size} is too small; use 1Mb or more"));
            }
        }
    }

    fn properties(&mut self) {
        let properties = self.pairs("global_kafka").iter();
        let faults: Vec<String> =
            properties.filter_map(|(property, _)| refused_property(property)).collect();
        faults.into_iter().for_each(|fault| self.wrong("global_kafka", fault));
    }

    /// Keys that mean nothing without another.
    fn login(&mut self) {
        const NEEDS: [(&str, &str); 8] = [
            ("global_sasl_mechanism", "global_sasl_username"),
            ("global_sasl_mechanism", "global_sasl_password"),
            ("global_sasl_username", "global_sasl_mechanism"),
            ("global_sasl_password", "global_sasl_mechanism"),
            ("global_cert_file", "global_key_file"),
            ("global_key_file", "global_cert_file"),
            ("global_ca_file", "global_tls"),
            ("global_cert_file", "global_tls"),
        ];
        for (name, other) in NEEDS {
            if self.is_set(name) && !self.is_set(other) {
                self.wrong(name, format!("needs {other}; set it, or remove {name}"));
            }
        }
    }

    fn readable_files(&mut self) {
        for name in ["global_ca_file", "global_cert_file", "global_key_file"] {
            let Some(Value::Path(path)) = self.values.get(name) else { continue };
            if let Err(error) =
                std::fs::File::open(path).and_then(|file| match file.metadata()?.is_file() {
                    true => Ok(()),
                    false => Err(std::io::Error::other("is not a file")),
                })
            {
                let message =
                    format!("{}: {error}; name a PEM file that can be read", path.display());
                self.wrong(name, message);
            }
        }
    }

    /// A tag of one server keeps series of several apart, which is the opposite of a global series.
    fn instance_tag(&mut self) {
        let Some(Value::Text(tag)) = self.values.get("instance_tag") else { return };
        let key = tag.split(':').next().unwrap_or_default().to_owned();
        let sends = matches!(self.values.get("global_mode"), Some(Value::Word("send" | "both")));
        if sends && !key.is_empty() && !self.words("global_drop_tags").contains(&key) {
            let message = format!(
                "global series keep this tag, so each server makes one of its own; add {key} to \
                 global_drop_tags"
            );
            self.problem(Class::Note, self.origin("instance_tag"), "instance_tag", message);
        }
    }

    /// What everyone on the way can read, said once.
    fn plain_text(&mut self) {
        if self.is_set("global_tls") {
            return;
        }
        let far = |broker: &&String| host_port(broker).is_ok_and(|host| !is_loopback(host));
        let Some(broker) = self.words("global_brokers").iter().find(far) else { return };
        let what = match self.is_set("global_sasl_password") {
            true => "metrics and the password travel",
            false => "metrics travel",
        };
        let message = format!("{what} to {broker} in plain text; set global_tls: true");
        self.problem(Class::Note, self.origin("global_brokers"), "global_brokers", message);
    }
}

/// The host of `host:port` or `[::1]:port`.
pub(super) fn host_port(text: &str) -> Result<&str, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("has an IPv6 address without its end")?,
        None => text.rsplit_once(':').map_or((text, ""), |(host, _)| (host, &text[host.len()..])),
    };
    if text.contains("://") {
        return Err("has a scheme");
    }
    let port = port.strip_prefix(':').ok_or("has no port")?;
    if host.is_empty() || (!text.starts_with('[') && host.contains(':')) {
        return Err("has no valid host");
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(host),
        _ => Err("has no valid port"),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What brokers take as the name of a topic, a group or an instance.
pub(super) fn kafka_name(text: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text == "." || text == ".." || !text.chars().all(good) {
        return Err("is not a valid name; use letters, digits, . _ and -");
    }
    if text.len() > 249 {
        return Err("is too long; use at most 249 characters");
    }
    Ok(())
}
