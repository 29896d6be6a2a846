//! `whippet flare`: one archive with what support needs to know, and no secret.
//!
//! It is gathered by this command from the running server and from the configuration, and sent
//! nowhere. Without a server, what it would have said is missing, and the archive says so.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::admin_client::{self, AdminClient};
use super::check_config::check_config;
use super::config_args::ConfigArgs;
use crate::clock::Clock;
use crate::config::{self, Config, Mode, Secret};
use crate::text::{bytes, printable_lines};

/// Shorter ones would redact what is no password.
const PASSWORD_BYTES_MIN: usize = 4;

#[derive(Args)]
pub(super) struct FlareArgs {
    /// Write to this file, which must not exist [default: whippet-flare-TIME.tar.gz].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// List what the archive would hold, with sizes, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// One file of the archive.
struct Entry {
    name: &'static str,
    text: String,
}

/// Gathers everything and writes the archive, or lists it.
pub(super) fn run(args: &FlareArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    let now = Clock::wall().unix().as_secs();
    let (mut entries, missing) = gather(settings);
    entries.insert(0, Entry { name: "about.txt", text: about(now, &entries, &missing) });
    // Nothing that is gathered should hold one; this is the second lock on the door.
    let secrets = config::load(settings.sources(Mode::Run)).ok();
    let secrets = secrets.map(|loaded| Secrets::of(&loaded.config)).unwrap_or_default();
    entries.iter_mut().for_each(|entry| entry.text = secrets.redact(&entry.text));
    let missing =
        secrets.redact(&missing.iter().map(|line| format!("{line}\n")).collect::<String>());
    if args.dry_run {
        let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
        let row = |entry: &Entry| format!("{:width$}  {}\n", entry.name, bytes(entry.text.len()));
        let rows: String = entries.iter().map(row).collect();
        return admin_client::print(&format!("{rows}{missing}"));
    }
    let default = || format!("whippet-flare-{now}.tar.gz").into();
    let path = args.output.clone().unwrap_or_else(default);
    write(&path, &entries, now).with_context(|| path.display().to_string())?;
    // Not `eprintln!`, which panics when no one reads standard error.
    let _ = write!(io::stderr(), "{}", printable_lines(&missing));
    admin_client::print(&format!("{}\n", path.display()))
}

/// What there is, and a line for each thing that could not be had.
fn gather(settings: &ConfigArgs) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut missing) = (Vec::new(), Vec::new());
    let mut report = Vec::new();
    match check_config(settings.sources(Mode::Check), false, &mut report) {
        Ok(_) => entries.push(Entry {
            name: "config.txt",
            text: String::from_utf8_lossy(&report).into_owned(),
        }),
        Err(error) => missing.push(format!("missing config.txt: {error}")),
    }
    let server = match AdminClient::of(settings) {
        Ok(server) => server,
        Err(error) => {
            missing.push(format!("missing all of the server: {error:#}"));
            return (entries, missing);
        }
    };
    let mut page = |name: &'static str, target: &str| match server.get(target) {
        Ok(text) => entries.push(Entry { name, text }),
        Err(error) => missing.push(format!("missing {name}: {error:#}")),
    };
    page("status.json", "/status");
    page("metrics.txt", "/metrics");
    page("senders.json", "/senders");
    page("top.json", "/top?seconds=1&names=50&keys=10");
    // Two things in one page: they become files of their own.
    match server.json::<Value>("/page/snapshot.json") {
        Ok(snapshot) => {
            let lines = snapshot["log"]["lines"].as_array().into_iter().flatten();
            let log = lines.filter_map(Value::as_str).map(|line| format!("{line}\n")).collect();
            entries.push(Entry { name: "log.txt", text: log });
            let running = format!("{:#}\n", snapshot["config"]["entries"]);
            entries.push(Entry { name: "config-running.json", text: running });
            let verdict = format!("{:#}\n", snapshot["verdict"]);
            entries.push(Entry { name: "verdict.json", text: verdict });
        }
        Err(error) => {
            missing.push(format!("missing log.txt, config-running.json, verdict.json: {error:#}"));
        }
    }
    (entries, missing)
}

fn about(now: u64, entries: &[Entry], missing: &[String]) -> String {
    let time = chrono::DateTime::from_timestamp(i64::try_from(now).unwrap_or_default(), 0);
    let time = time.map(|time| time.to_rfc3339()).unwrap_or_default();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let features: Vec<&str> = [
        ("zstd", cfg!(feature = "zstd")),
        ("tui", cfg!(feature = "tui")),
        ("bench", cfg!(feature = "bench")),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect();
    let status = entries.iter().find(|entry| entry.name == "status.json");
    let status = status.and_then(|entry| serde_json::from_str::<Value>(&entry.text).ok());
    let server = status.map(|status| status["identity"]["version"].to_string());
    let mut text = format!(
        "whippet flare\n\n\
         made           {time}\n\
         this program   {} {} {}, features {}\n\
         the server     {}\n\
         system         {} {}\n\n\
         Names of metrics, tags and senders, and bad lines as they came, are in these files; keys and\n\
         passwords are not. Nothing was sent anywhere.\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        features.join(" "),
        server.as_deref().unwrap_or("does not answer").trim_matches('"'),
        read("/proc/sys/kernel/ostype"),
        read("/proc/sys/kernel/osrelease"),
    );
    for line in missing {
        text += &format!("\n{line}");
    }
    if !missing.is_empty() {
        text.push('\n');
    }
    text
}

/// Keys and passwords of a configuration, with what stands for them.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn of(config: &Config) -> Self {
        let mut found = Vec::new();
        let mut key = |key: &Secret| {
            if !key.is_empty() {
                found.push((key.expose().to_owned(), key.to_string()));
            }
        };
        config.api_key.iter().for_each(&mut key);
        let endpoints = config.additional_endpoints.iter();
        endpoints.clone().flat_map(|endpoint| &endpoint.api_keys).for_each(&mut key);
        let urls = [
            &config.dd_url,
            &config.series_url,
            &config.sketches_url,
            &config.events_url,
            &config.checks_url,
            &config.observability_pipelines_worker_metrics_url,
            &config.proxy_http,
            &config.proxy_https,
        ];
        let urls = urls.into_iter().flatten().chain(endpoints.map(|endpoint| &endpoint.url));
        for url in urls {
            if let Some(password) = password(url.expose()) {
                found.push((password.to_owned(), "*****".to_owned()));
            }
        }
        // The longest first: one may be part of another.
        found.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        Secrets(found)
    }

    fn redact(&self, text: &str) -> String {
        let replaced =
            |text: String, (secret, shown): &(String, String)| text.replace(secret, shown);
        self.0.iter().fold(text.to_owned(), replaced)
    }
}

/// The password of `scheme://user:password@host`.
fn password(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let (_, password) = authority.rsplit_once('@')?.0.split_once(':')?;
    (password.len() >= PASSWORD_BYTES_MIN).then_some(password)
}

fn write(path: &Path, entries: &[Entry], now: u64) -> anyhow::Result<()> {
    // Names of metrics and senders may be confidential.
    let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("the file exists; name another one with -o")
        }
        opened => opened?,
    };
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let folder = path.file_name().and_then(|name| name.to_str()).unwrap_or("whippet-flare");
    let folder = folder.trim_end_matches(".gz").trim_end_matches(".tar");
    let folder = if folder.is_empty() { "whippet-flare" } else { folder };
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(entry.text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(
            &mut header,
            format!("{folder}/{}", entry.name),
            entry.text.as_bytes(),
        )?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn keys_and_passwords_are_redacted_wherever_they_stand() {
        let key = "0123456789abcdef0123456789abcdef";
        let other = "fedcba9876543210fedcba9876543210";
        let flags = [
            ("api_key", key.to_owned()),
            ("additional_endpoints", format!("{{\"https://a.example\": [\"{other}\"]}}")),
            ("proxy.https", "http://user:hunter22@proxy:3128".to_owned()),
        ];
        let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let loaded = load(Sources { file: None, env: [], flags, mode: Mode::Run }).unwrap();
        let secrets = Secrets::of(&loaded.config);
        assert_eq!(
            secrets.redact(&format!("a {key}, {other}! via user:hunter22@proxy")),
            "a *****bcdef, *****43210! via user:*****@proxy"
        );
    }

    #[test]
    fn a_password_is_found_in_a_url_alone() {
        for (url, expect) in [
            ("http://user:hunter22@proxy:3128/a@b", Some("hunter22")),
            ("http://user:p@ss@proxy", Some("p@ss")),
            ("http://user:abc@proxy", None),
            ("http://user@proxy:3128", None),
            ("http://proxy:3128/user:hunter22@", None),
        ] {
            assert_eq!(password(url), expect, "{url}");
        }
    }
}
