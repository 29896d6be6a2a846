//! `whippet status`: the Agent's layout, then the books.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use crate::text::{grouped, printable};

#[derive(Args)]
pub(super) struct StatusArgs {
    /// Print everything as JSON.
    #[arg(short, long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    let server = AdminClient::of(settings)?;
    if args.json {
        return admin_client::print(&server.get("/status")?);
    }
    admin_client::print(&render(&server.json("/status")?))
}

fn title(out: &mut String, text: &str) {
    let bar = "=".repeat(text.len());
    let _ = writeln!(out, "\n{bar}\n{text}\n{bar}");
}

fn number(value: &Value) -> String {
    grouped(value.as_u64().unwrap_or_default())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| printable(text.as_bytes(), 400))
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// `MetricParseErrors` as `Metric Parse Errors`.
fn words(name: &str) -> String {
    let mut shown = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !shown.is_empty() {
            shown.push(' ');
        }
        shown.push(character);
    }
    shown
}

fn render(status: &Value) -> String {
    let mut out = String::new();
    identity(&mut out, &status["identity"]);
    agent(&mut out, &status["agent"]);
    lines(&mut out, status);
    forwarder(&mut out, status);
    sockets(&mut out, status);
    senders(&mut out, &status["senders"]);
    contexts(&mut out, status);
    config(&mut out, &status["config"]);
    out
}

fn identity(out: &mut String, identity: &Value) {
    let host = match &identity["hostname"] {
        Value::String(name) => format!("host {name} (from {})", text(&identity["hostname_origin"])),
        _ => "no host".to_owned(),
    };
    let _ = writeln!(
        out,
        "whippet {}: {host}, pid {}, up {}, output {}, interval {} s",
        text(&identity["version"]),
        identity["pid"],
        duration(identity["uptime_seconds"].as_u64().unwrap_or_default()),
        text(&identity["output"]),
        identity["interval_seconds"],
    );
}

/// `90061` as `1d 1h`, the two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let at = units.iter().position(|(_, unit)| seconds >= *unit).unwrap_or(units.len() - 1);
    let first = format!("{}{}", seconds / units[at].1, units[at].0);
    match units.get(at + 1) {
        Some((name, unit)) if seconds % units[at].1 / unit > 0 => {
            format!("{first} {}{name}", seconds % units[at].1 / unit)
        }
        _ => first,
    }
}

fn agent(out: &mut String, agent: &Value) {
    let mut counters: Vec<(String, String)> = Vec::new();
    for (map, prefix) in [("dogstatsd", ""), ("dogstatsd-udp", "Udp"), ("dogstatsd-uds", "Uds")] {
        let entries = agent[map].as_object().into_iter().flatten();
        counters
            .extend(entries.map(|(key, value)| (words(&format!("{prefix}{key}")), number(value))));
    }
    counters.sort();
    title(out, "DogStatsD");
    counters.iter().for_each(|(name, count)| {
        let _ = writeln!(out, "  {name}: {count}");
    });
    let _ = writeln!(
        out,
        "\nTip: for counts per metric set dogstatsd_metrics_stats_enable to true and run `whippet stats`,\n\
         or run `whippet top` at any time."
    );
    title(out, "Aggregator");
    for (key, value) in agent["aggregator"].as_object().into_iter().flatten() {
        let plural = if key == "NumberOfFlush" { "es" } else { "" };
        let _ = writeln!(out, "  {}{plural}: {}", words(key), number(value));
    }
}

/// The Agent's list of transactions, which are our payloads.
fn transactions(out: &mut String, transactions: &Value) {
    let Some(entries) = transactions.as_object() else { return };
    out.push_str("  Transactions\n  ============\n");
    for (name, value) in entries {
        if value.is_u64() {
            let _ = writeln!(out, "    {name}: {}", number(value));
        }
    }
}

fn reasons(value: &Value, count: impl Fn(&Value) -> String) -> String {
    let named: Vec<String> = value["reasons"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(reason, value)| format!("{reason} {}", count(value)))
        .collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

fn lines(out: &mut String, status: &Value) {
    let lines = &status["lines"];
    title(out, "Lines");
    let _ = writeln!(
        out,
        "  {} received = {} recorded + {} refused{} + {} dropped{}",
        number(&lines["received"]),
        number(&lines["recorded"]["total"]),
        number(&lines["refused"]["total"]),
        reasons(&lines["refused"], number),
        number(&lines["dropped"]["total"]),
        reasons(&lines["dropped"], number),
    );
    if lines["balances"] == Value::Bool(false) {
        let _ = writeln!(out, "  These do not add up: please report it.");
    }
    for (name, what) in [
        (
            &lines["folded"],
            "lines of new contexts were folded into overflow contexts (contexts_max)",
        ),
        (&lines["values"]["not_finite"], "values were not finite"),
        (&lines["rates_invalid"], "sample rates were out of range and taken as 1"),
        (
            &status["type_conflicts"],
            "values not posted: another kind of the same series came later",
        ),
    ] {
        if name.as_u64() > Some(0) {
            let _ = writeln!(out, "  {} {what}", number(name));
        }
    }
}

fn forwarder(out: &mut String, status: &Value) {
    let payloads = &status["payloads"];
    title(out, "Forwarder");
    if !rows(&payloads["endpoints"]).is_empty() {
        transactions(out, &status["agent"]["forwarder"]["Transactions"]);
    }
    if payloads.get("discarded").is_some() {
        let built = &payloads["built"];
        let _ = writeln!(
            out,
            "  {} payloads built ({} points), none delivered (dry run or output none)",
            number(&built["payloads"]),
            number(&built["points"])
        );
    } else if rows(&payloads["endpoints"]).is_empty() {
        let _ = writeln!(out, "  No intake.");
    }
    for endpoint in rows(&payloads["endpoints"]) {
        one_endpoint(out, endpoint);
    }
}

fn one_endpoint(out: &mut String, endpoint: &Value) {
    let _ = writeln!(out, "  {}", text(&endpoint["name"]));
    for noun in ["payloads", "points"] {
        let _ = writeln!(
            out,
            "    {noun}: {} built = {} delivered + {} waiting + {} dropped{}",
            number(&endpoint["built"][noun]),
            number(&endpoint["delivered"][noun]),
            number(&endpoint["waiting"][noun]),
            number(&endpoint["dropped"]["total"][noun]),
            reasons(&endpoint["dropped"], |dropped| number(&dropped[noun])),
        );
    }
    let full = match endpoint["queue_full_in_seconds"].as_u64() {
        Some(seconds) => format!(", full in {} if nothing is delivered", duration(seconds)),
        None => String::new(),
    };
    let _ = writeln!(
        out,
        "    queue: {} of {} bytes{full}",
        number(&endpoint["queue_bytes"]),
        number(&endpoint["queue_bytes_max"]),
    );
    if endpoint["spool_records"].as_u64() > Some(0) {
        let _ = writeln!(
            out,
            "    on disk: {} payloads, {} bytes",
            number(&endpoint["spool_records"]),
            number(&endpoint["spool_bytes"])
        );
    }
    let mut answers: Vec<String> = Vec::new();
    for route in endpoint["routes"].as_object().into_iter().flatten().map(|(_, route)| route) {
        for map in ["statuses", "errors"] {
            let entries = route[map].as_object().into_iter().flatten();
            answers.extend(entries.map(|(name, count)| format!("{name} × {}", number(count))));
        }
    }
    if !answers.is_empty() {
        let _ = writeln!(out, "    answers: {}", answers.join(", "));
    }
    let key = text(&endpoint["key"]);
    let key = key.trim_start_matches('*');
    let _ =
        writeln!(out, "    API key ending with {key}: API Key {}", text(&endpoint["key_status"]));
}

fn sockets(out: &mut String, status: &Value) {
    title(out, "Listeners");
    for listener in rows(&status["listeners"]) {
        let count = |name: &str| listener[name].as_u64().unwrap_or_default();
        let _ = write!(
            out,
            "  {} {}: {} packets, {} bytes",
            text(&listener["transport"]),
            text(&listener["address"]),
            grouped(count("datagrams") + count("frames")),
            number(&listener["bytes"]),
        );
        for (name, what) in [
            ("datagrams_truncated", "cut"),
            ("read_errors", "failed reads"),
            ("connections_open", "connections open"),
            ("connections_refused", "connections refused"),
            ("frames_oversize", "frames too long"),
            ("frames_cut", "frames cut"),
            ("credentials_missing", "without credentials"),
        ] {
            if count(name) > 0 {
                let _ = write!(out, ", {} {what}", grouped(count(name)));
            }
        }
        out.push('\n');
    }
    let kernel = &status["kernel"];
    let _ = writeln!(out, "  kernel drops: {}", number(&kernel["dropped"]));
    for listener in rows(&kernel["listeners"]) {
        let _ = writeln!(
            out,
            "    {}: {} dropped; fix: {}",
            text(&listener["listener"]),
            number(&listener["dropped"]),
            text(&listener["remedy"])
        );
    }
}

fn senders(out: &mut String, senders: &Value) {
    if rows(senders).is_empty() {
        return;
    }
    title(out, "Senders");
    for sender in rows(senders) {
        let _ = write!(
            out,
            "  {}: {} packets, {} lines, {} bytes",
            sender_name(sender),
            number(&sender["packets"]),
            number(&sender["lines"]),
            number(&sender["bytes"]),
        );
        for (name, what) in [
            ("refused", "refused"),
            ("contexts_new", "new contexts"),
            ("past_cap", "lines past contexts_max"),
        ] {
            if sender[name].as_u64() > Some(0) {
                let _ = write!(out, ", {} {what}", number(&sender[name]));
            }
        }
        out.push('\n');
        for bad in rows(&sender["bad_lines"]) {
            for line in bad["shown"].as_str().unwrap_or_default().lines() {
                let _ = writeln!(out, "      {}", printable(line.as_bytes(), 200));
            }
        }
        client(out, &sender["client"]);
    }
}

/// Digits shown of a container id, as other tools do.
const CONTAINER_DIGITS: usize = 12;

/// `10.0.0.7` or `pid 12 uid 0 (python, container 3726184226f5)`.
pub(super) fn sender_name(sender: &Value) -> String {
    let mut known = Vec::new();
    if let Some(command) = sender["command"].as_str() {
        known.push(printable(command.as_bytes(), 64));
    }
    if let Some(container) = sender["container"].as_str() {
        let digits: String = container.chars().take(CONTAINER_DIGITS).collect();
        known.push(format!("container {}", printable(digits.as_bytes(), CONTAINER_DIGITS)));
    }
    let name = text(&sender["sender"]);
    if known.is_empty() { name } else { format!("{name} ({})", known.join(", ")) }
}

/// What the sender's client library says of itself.
fn client(out: &mut String, client: &Value) {
    if client.is_null() {
        return;
    }
    let missing = match client["packets_missing"].as_u64() {
        Some(missing) => format!("; {} of them did not arrive", grouped(missing)),
        None => String::new(),
    };
    let _ = writeln!(
        out,
        "      its client says: {} packets sent, {} dropped before sending{missing}",
        number(&client["packets_sent"]),
        number(&client["packets_dropped"]),
    );
}

fn overflow(out: &mut String, overflow: &Value) {
    if overflow.is_null() {
        return;
    }
    let at = crate::text::clock_time(overflow["at"].as_u64().unwrap_or_default());
    let _ = writeln!(
        out,
        "  out of contexts, last at {at}: {} lines of new ones folded or dropped in that interval",
        number(&overflow["lines"])
    );
    for name in rows(&overflow["names"]) {
        let keys: Vec<String> = rows(&name["tag_keys"])
            .iter()
            .map(|key| format!("{} ~{}", text(&key["key"]), number(&key["values"])))
            .collect();
        let _ = writeln!(
            out,
            "    {}: {} lines; values per tag: {}",
            text(&name["name"]),
            number(&name["lines"]),
            keys.join(", ")
        );
    }
    if let Value::String(sender) = &overflow["sender"] {
        let _ = writeln!(out, "    most sent by {}", printable(sender.as_bytes(), 100));
    }
}

fn contexts(out: &mut String, status: &Value) {
    title(out, "Contexts and limits");
    let kinds: Vec<String> = status["contexts"]["by_kind"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() > Some(0))
        .map(|(kind, count)| format!("{kind} {}", number(count)))
        .collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    let _ = writeln!(out, "  {} contexts{kinds}", number(&status["contexts"]["live"]));
    overflow(out, &status["contexts"]["overflow"]);
    for limit in rows(&status["limits"]) {
        let _ = writeln!(
            out,
            "  {}: {} of {}",
            text(&limit["name"]),
            number(&limit["used"]),
            number(&limit["max"])
        );
    }
}

fn config(out: &mut String, config: &Value) {
    let warnings = rows(&config["warnings"]);
    if warnings.is_empty() {
        return;
    }
    title(out, "Configuration");
    if config["degraded"] == Value::Bool(true) {
        let _ = writeln!(out, "  Degraded: some entries were skipped.");
    }
    for warning in warnings {
        let _ = writeln!(out, "  {}", text(warning));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_read_as_in_the_agent() {
        for (name, expect) in [
            ("MetricParseErrors", "Metric Parse Errors"),
            ("UdpPackets", "Udp Packets"),
            ("NumberOfFlush", "Number Of Flush"),
        ] {
            assert_eq!(words(name), expect);
        }
    }

    #[test]
    fn times_show_their_two_largest_units() {
        for (seconds, expect) in
            [(0, "0s"), (59, "59s"), (60, "1min"), (3_661, "1h 1min"), (90_061, "1d 1h")]
        {
            assert_eq!(duration(seconds), expect);
        }
    }

    #[test]
    fn an_answer_without_anything_still_reads() {
        assert!(render(&Value::Null).contains("=========\nDogStatsD\n========="));
    }
}
