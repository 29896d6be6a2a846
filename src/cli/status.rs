//! `whippet status`: the Agent's layout, then the balance of lines and payloads.

use std::fmt::Write as _;

use clap::Args;

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use super::section::{reasons, shown, title};
use crate::admin::{
    AgentStatus, AgentTransactions, ClientStatus, ConfigState, EndpointStatus, IdentityStatus,
    LISTENER, Overflow, PROCESS, SenderStatus, Status, TagKey, TallyStatus, key_name,
};
use crate::text::{clock_time, grouped, printable};

#[derive(Args)]
pub(super) struct StatusArgs {
    /// Print everything as JSON.
    #[arg(short, long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    let server = AdminClient::of(settings)?;
    if args.json {
        return admin_client::print_json(&server.get("/status")?);
    }
    admin_client::print(&render(&server.json("/status")?))
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

fn render(status: &Status) -> String {
    let mut out = String::new();
    identity(&mut out, &status.identity);
    load(&mut out, status);
    agent(&mut out, &status.agent);
    lines(&mut out, status);
    forwarder(&mut out, status);
    sockets(&mut out, status);
    super::door_status::doors(&mut out, &status.doors);
    super::global_status::global(&mut out, &status.global);
    senders(&mut out, &status.senders);
    contexts(&mut out, status);
    config(&mut out, &status.config);
    out
}

fn identity(out: &mut String, identity: &IdentityStatus) {
    let host = match &identity.hostname {
        Some(name) => format!("host {} (from {})", shown(name), shown(&identity.hostname_origin)),
        None => "no host".to_owned(),
    };
    let _ = writeln!(
        out,
        "whippet {}: {host}, pid {}, up {}, output {}, interval {} s",
        shown(&identity.version),
        identity.pid,
        duration(identity.uptime_seconds),
        shown(&identity.output),
        identity.interval_seconds,
    );
}

/// What the process does now, and what it takes for it.
fn load(out: &mut String, status: &Status) {
    let flushed = match status.last_flush_seconds {
        Some(age) => format!(
            "last flush {age:.1} s ago (median {:.1} ms, longest {:.1} ms)",
            status.flush_seconds.median * 1e3,
            status.flush_seconds.max * 1e3
        ),
        None => "no flush yet".to_owned(),
    };
    let process = &status.process;
    let _ = writeln!(
        out,
        "{} lines/s, {flushed}, memory {:.1} MiB, CPU {:.1} s, {} of {} files open",
        grouped(status.lines_per_second.round() as u64),
        process.resident_bytes as f64 / f64::from(1 << 20),
        process.cpu_seconds,
        grouped(process.open_files),
        grouped(process.open_files_max),
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

fn agent(out: &mut String, agent: &AgentStatus) {
    let maps =
        [(&agent.dogstatsd, ""), (&agent.dogstatsd_udp, "Udp"), (&agent.dogstatsd_uds, "Uds")];
    let mut counters: Vec<(String, u64)> = Vec::new();
    for (map, prefix) in maps {
        counters.extend(map.iter().map(|(key, count)| (words(&format!("{prefix}{key}")), *count)));
    }
    counters.sort();
    title(out, "DogStatsD");
    for (name, count) in counters {
        let _ = writeln!(out, "  {name}: {}", grouped(count));
    }
    let _ = writeln!(
        out,
        "\nTip: for counts per metric set dogstatsd_metrics_stats_enable to true and run `whippet stats`,\n\
         or run `whippet top` at any time."
    );
    title(out, "Aggregator");
    for (key, count) in &agent.aggregator {
        let plural = if key == "NumberOfFlush" { "es" } else { "" };
        let _ = writeln!(out, "  {}{plural}: {}", words(key), grouped(*count));
    }
}

/// The Agent's list of transactions, which are our payloads.
fn transactions(out: &mut String, transactions: &AgentTransactions) {
    out.push_str("  Transactions\n  ============\n");
    for (name, count) in [
        ("Dropped", transactions.dropped),
        ("Errors", transactions.errors),
        ("Requeued", transactions.requeued),
        ("Retried", transactions.retried),
        ("RetryQueueSize", transactions.retry_queue_size),
        ("Success", transactions.success),
    ] {
        let _ = writeln!(out, "    {name}: {}", grouped(count));
    }
}

fn lines(out: &mut String, status: &Status) {
    let lines = &status.lines;
    title(out, "Lines");
    let _ = writeln!(
        out,
        "  {} received = {} recorded + {} refused{} + {} dropped{}",
        grouped(lines.received),
        grouped(lines.recorded.total),
        grouped(lines.refused.total),
        reasons(&lines.refused, |count| *count),
        grouped(lines.dropped.total),
        reasons(&lines.dropped, |count| *count),
    );
    if status.lines_open > 0 {
        let _ = writeln!(out, "  {} of them since the last flush", grouped(status.lines_open));
    }
    if !lines.balances {
        let _ = writeln!(out, "  These do not add up: please report it.");
    }
    for counter in PROCESS.iter().filter(|counter| !counter.phrase.is_empty()) {
        let count = (counter.of)(status);
        if count > 0 {
            let _ = writeln!(out, "  {} {}", grouped(count), counter.phrase);
        }
    }
}

fn forwarder(out: &mut String, status: &Status) {
    let payloads = &status.payloads;
    title(out, "Forwarder");
    if !payloads.endpoints.is_empty() {
        transactions(out, &status.agent.forwarder.transactions);
    }
    if let Some(built) = &payloads.discarded {
        let _ = writeln!(
            out,
            "  {} payloads built ({} points), none delivered (dry run or output none)",
            grouped(built.payloads),
            grouped(built.points)
        );
    } else if payloads.endpoints.is_empty() {
        let _ = writeln!(out, "  No intake.");
    }
    payloads.endpoints.iter().for_each(|endpoint| one_endpoint(out, endpoint));
}

fn one_endpoint(out: &mut String, endpoint: &EndpointStatus) {
    let _ = writeln!(out, "  {}", shown(&endpoint.name));
    type Noun = (&'static str, fn(&TallyStatus) -> u64);
    let nouns: [Noun; 2] = [("payloads", |tally| tally.payloads), ("points", |tally| tally.points)];
    for (noun, count) in nouns {
        let _ = writeln!(
            out,
            "    {noun}: {} built = {} delivered + {} waiting + {} dropped{}",
            grouped(count(&endpoint.built)),
            grouped(count(&endpoint.delivered)),
            grouped(count(&endpoint.waiting)),
            grouped(count(&endpoint.dropped.total)),
            reasons(&endpoint.dropped, count),
        );
    }
    let full = match endpoint.queue_full_in_seconds {
        Some(seconds) => format!(", full in {} if nothing is delivered", duration(seconds)),
        None => String::new(),
    };
    let answers = endpoint.answer_seconds;
    if answers.max > 0.0 {
        let (median, p99) = (answers.median * 1e3, answers.p99 * 1e3);
        let _ = writeln!(out, "    answers take {median:.0} ms, 1 % more than {p99:.0} ms");
    }
    let _ = writeln!(
        out,
        "    queue: {} of {} bytes{full}",
        grouped(endpoint.queue_bytes as u64),
        grouped(endpoint.queue_bytes_max as u64),
    );
    if endpoint.spool_records > 0 {
        let _ = writeln!(
            out,
            "    on disk: {} payloads, {} bytes",
            grouped(endpoint.spool_records as u64),
            grouped(endpoint.spool_bytes)
        );
    }
    for (name, route) in &endpoint.routes {
        let answers = route.statuses.iter().chain(&route.errors);
        let answers: Vec<String> =
            answers.map(|(answer, count)| format!("{answer} × {}", grouped(*count))).collect();
        if !answers.is_empty() {
            let _ = writeln!(out, "    answers to {}: {}", shown(name), answers.join(", "));
        }
    }
    let key = shown(&key_name(&endpoint.key));
    let _ = writeln!(out, "    {key}: API Key {}", shown(&endpoint.key_status));
}

fn sockets(out: &mut String, status: &Status) {
    title(out, "Listeners");
    for listener in &status.listeners {
        let _ = write!(
            out,
            "  {} {}: {} packets, {} bytes",
            shown(&listener.transport),
            shown(&listener.address),
            grouped(listener.datagrams + listener.frames),
            grouped(listener.bytes),
        );
        for counter in LISTENER.iter().filter(|counter| !counter.phrase.is_empty()) {
            let count = (counter.of)(listener);
            if count > 0 {
                let _ = write!(out, ", {} {}", grouped(count), counter.phrase);
            }
        }
        out.push('\n');
    }
    for off in &status.listeners_off {
        let _ = writeln!(out, "  off: {}", shown(off));
    }
    let _ = writeln!(out, "  kernel drops: {}", grouped(status.kernel.dropped));
    for listener in &status.kernel.listeners {
        let _ = writeln!(
            out,
            "    {}: {} dropped; fix: {}",
            shown(&listener.listener),
            grouped(listener.dropped),
            shown(&listener.remedy)
        );
    }
}

fn senders(out: &mut String, senders: &[SenderStatus]) {
    if senders.is_empty() {
        return;
    }
    title(out, "Senders");
    for sender in senders {
        let _ = write!(
            out,
            "  {}: {} packets, {} lines, {} bytes",
            sender_name(sender),
            grouped(sender.packets),
            grouped(sender.lines),
            grouped(sender.bytes),
        );
        for (count, what) in [
            (sender.refused, "refused"),
            (sender.contexts_new, "new contexts"),
            (sender.past_cap, "lines past contexts_max"),
        ] {
            if count > 0 {
                let _ = write!(out, ", {} {what}", grouped(count));
            }
        }
        out.push('\n');
        for line in sender.bad_lines.iter().flat_map(|bad| bad.shown.lines()) {
            let _ = writeln!(out, "      {}", printable(line.as_bytes(), 200));
        }
        if let Some(client) = &sender.client {
            client_report(out, client);
        }
    }
}

/// Digits shown of a container id, as other tools do.
const CONTAINER_DIGITS: usize = 12;

/// `10.0.0.7` or `pid 12 uid 0 (python, container 3726184226f5)`.
pub(super) fn sender_name(sender: &SenderStatus) -> String {
    let mut known = Vec::new();
    if let Some(command) = &sender.command {
        known.push(printable(command.as_bytes(), 64));
    }
    if let Some(container) = &sender.container {
        let digits: String = container.chars().take(CONTAINER_DIGITS).collect();
        known.push(format!("container {}", printable(digits.as_bytes(), CONTAINER_DIGITS)));
    }
    let name = shown(&sender.sender);
    if known.is_empty() { name } else { format!("{name} ({})", known.join(", ")) }
}

/// What the sender's client library reports of itself.
fn client_report(out: &mut String, client: &ClientStatus) {
    let missing = match client.packets_missing {
        Some(missing) => format!("; {} of them did not arrive", grouped(missing)),
        None => String::new(),
    };
    let _ = writeln!(
        out,
        "      its client says: {} packets sent, {} dropped before sending{missing}",
        grouped(client.packets_sent),
        grouped(client.packets_dropped),
    );
}

fn overflow(out: &mut String, overflow: &Overflow) {
    let _ = writeln!(
        out,
        "  out of contexts, last at {}: {} lines of new ones folded or dropped in that interval",
        clock_time(overflow.at),
        grouped(overflow.lines)
    );
    for name in &overflow.names {
        let key = |key: &TagKey| format!("{} ~{}", shown(&key.key), grouped(key.values));
        let keys: Vec<String> = name.tag_keys.iter().map(key).collect();
        let _ = writeln!(
            out,
            "    {}: {} lines; values per tag: {}",
            shown(&name.name),
            grouped(name.lines),
            keys.join(", ")
        );
    }
    if let Some(sender) = &overflow.sender {
        let _ = writeln!(out, "    most sent by {}", printable(sender.as_bytes(), 100));
    }
}

fn contexts(out: &mut String, status: &Status) {
    title(out, "Contexts and limits");
    let contexts = &status.contexts;
    let alive = contexts.by_kind.iter().filter(|(_, count)| **count > 0);
    let kinds: Vec<String> =
        alive.map(|(kind, count)| format!("{kind} {}", grouped(*count as u64))).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    let _ = writeln!(out, "  {} contexts{kinds}", grouped(contexts.live as u64));
    if contexts.new > 0 {
        let _ = writeln!(out, "  {} named since the last flush", grouped(contexts.new as u64));
    }
    if let Some(last) = &contexts.overflow {
        overflow(out, last);
    }
    for limit in &status.limits {
        let (name, used, max) = (shown(&limit.name), grouped(limit.used), grouped(limit.max));
        let _ = writeln!(out, "  {name}: {used} of {max}");
    }
}

fn config(out: &mut String, config: &ConfigState) {
    if config.warnings.is_empty() {
        return;
    }
    title(out, "Configuration");
    if config.degraded {
        let _ = writeln!(out, "  Degraded: some entries were skipped.");
    }
    for warning in &config.warnings {
        let _ = writeln!(out, "  {}", shown(warning));
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
    fn answers_stand_beside_their_route_and_a_short_key_has_a_name() {
        let mut status = Status { lines_open: 3, ..Status::default() };
        let mut endpoint = EndpointStatus { key: "*****".to_owned(), ..EndpointStatus::default() };
        for (route, answer) in [("series_v2", "202"), ("sketches", "503")] {
            let of = endpoint.routes.entry(route.to_owned()).or_default();
            of.statuses.insert(answer.to_owned(), 7);
        }
        status.payloads.endpoints.push(endpoint);
        let page = render(&status);
        for line in [
            "    answers to series_v2: 202 × 7\n    answers to sketches: 503 × 7\n",
            "    API key too short to show: API Key \n",
            "  3 of them since the last flush\n",
            "\n0 lines/s, no flush yet, memory 0.0 MiB, CPU 0.0 s, 0 of 0 files open\n",
        ] {
            assert!(page.contains(line), "{line:?} is missing:\n{page}");
        }
    }

    #[test]
    fn an_answer_without_anything_still_reads() {
        assert!(render(&Status::default()).contains("=========\nDogStatsD\n========="));
    }
}
