//! Rows that compare with a floor: in process and over sockets.

use serde_json::Value;

use super::Row;
use super::tools::{Error, Tools, median, number_after};

/// Measures one or more rows.
pub type Measure = fn(&Tools) -> Result<Vec<Row>, Error>;

pub const ALL: &[(&str, Measure)] = &[
    ("S1", in_cache),
    ("S2", a_million_contexts),
    ("S3", |tools| over(tools, "S3", "packed", "udp", None, "≤ 1.2", 1.2)),
    ("S4", |tools| over(tools, "S4", "uds", "unixgram", None, "≤ 1.2", 1.2)),
    ("S5", |tools| over(tools, "S5", "single", "udp", None, "≤ 1.1", 1.1)),
    ("S6", paced),
    ("S7", |tools| over(tools, "S7", "realistic", "unixgram", None, "≤ 1.05", 1.05)),
    ("S12", two_shards),
];

fn in_cache(tools: &Tools) -> Result<Vec<Row>, Error> {
    let mut rows =
        vec![in_process(tools, "S1", "in process, 1,000 contexts, c/g/ms", &[], "≤ 1.15", 1.15)?];
    let count = |pass: &str| -> Result<f64, Error> {
        let toggle = format!("--toggle-collect=*{pass}*");
        let under = [
            "valgrind",
            "--tool=callgrind",
            "--collect-atstart=no",
            "--callgrind-out-file=/dev/null",
            &toggle,
        ];
        let text = tools.ingest(&[("INGEST", "count")], &under)?;
        let metrics: f64 = text
            .lines()
            .find_map(|line| line.strip_suffix(" metrics")?.parse().ok())
            .ok_or("the ingest bench printed no count of metrics")?;
        Ok(number_after(&text, "Collected").ok_or("no count of instructions")? / metrics)
    };
    match (count("ingest_pass"), count("floor_pass")) {
        (Ok(ours), Ok(floor)) => rows.push(Row {
            id: "S1",
            load: "the same, instructions a metric (callgrind)".into(),
            floor: format!("{floor:.1}"),
            whippet: format!("{ours:.1}"),
            ratio: format!("{:.2}", ours / floor),
            goal: "≤ 400, the floor too",
            reached: ours <= 400.0 && floor <= 400.0,
            command: "make count".into(),
        }),
        (Err(error), _) | (_, Err(error)) => eprintln!("instructions: {error}"),
    }
    Ok(rows)
}

fn a_million_contexts(tools: &Tools) -> Result<Vec<Row>, Error> {
    let million = ("INGEST_CONTEXTS", "1000000");
    Ok(vec![
        in_process(
            tools,
            "S2",
            "in process, 1,000,000 contexts, c/g/ms",
            &[million],
            "≤ 1.5",
            1.5,
        )?,
        in_process(
            tools,
            "S2",
            "in process, 1,000,000 contexts, c/g",
            &[million, ("INGEST_KINDS", "cg")],
            "≤ 1.3",
            1.3,
        )?,
    ])
}

fn in_process(
    tools: &Tools,
    id: &'static str,
    load: &str,
    settings: &[(&str, &str)],
    goal: &'static str,
    limit: f64,
) -> Result<Row, Error> {
    let all = [&[("INGEST", "ratio")], settings].concat();
    let text = tools.ingest(&all, &[])?;
    let of = |word| number_after(&text, word).ok_or_else(|| format!("no {word} in: {text}"));
    let (ours, floor, ratio) = (of("whippet")?, of("floor")?, of("ratio")?);
    let settings: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(Row {
        id,
        load: load.into(),
        floor: format!("{floor:.1} ns"),
        whippet: format!("{ours:.1} ns"),
        ratio: format!("{ratio:.2}"),
        goal,
        reached: ratio <= limit,
        command: format!("{} cargo bench --bench ingest", settings.join(" ")),
    })
}

fn paced(tools: &Tools) -> Result<Vec<Row>, Error> {
    let one = over(tools, "S6", "single", "udp", Some("50k"), "≤ 0.6", 0.6)?;
    let packed = over(tools, "S6", "packed", "udp", Some("100k"), "≤ 0.7", 0.7)?;
    Ok(one.into_iter().chain(packed).collect())
}

/// One load over sockets, server and floor in turns. At a pace, the floor wakes for every datagram,
/// as a server without pauses does.
fn over(
    tools: &Tools,
    id: &'static str,
    profile: &str,
    transport: &str,
    rate: Option<&str>,
    goal: &'static str,
    limit: f64,
) -> Result<Vec<Row>, Error> {
    let target = match transport {
        "udp" => "udp://127.0.0.1:28125".to_owned(),
        _ => format!("unixgram://{}", std::env::temp_dir().join("whippet-report.sock").display()),
    };
    let (rounds, seconds) = (tools.rounds.to_string(), tools.seconds.to_string());
    let mut args = vec!["--target", &target, "--profile", profile, "--duration", &seconds];
    args.extend(["--rounds", &rounds, "--warmup", "1"]);
    args.extend(rate.iter().flat_map(|rate| ["--rate", rate]));
    let (server, floor) =
        (tools.server(transport), tools.floor(if rate.is_some() { "--wake blocking" } else { "" }));
    let report = tools.bench(&[&args[..], &["--server", &server, "--vs", &floor]].concat())?;
    let (ours, floors) = pairs(&report);
    if ours.is_empty() || ours.len() != floors.len() {
        return Err("no complete pair of runs".into());
    }
    let ratios: Vec<f64> = ours.iter().zip(&floors).map(|(ours, floor)| ours / floor).collect();
    let (low, high) = ratios
        .iter()
        .fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    let bytes = report["load"]["bytes_per_line"].as_f64().unwrap_or(0.0);
    let (nanos, ratio) = (median(&ours), median(&ratios));
    let speed = if bytes > 1_000.0 {
        format!(", {:.2} GiB/s a core", bytes / nanos * 1e9 / f64::from(1 << 30))
    } else {
        String::new()
    };
    let pace =
        rate.map_or("saturated".into(), |rate| format!("{rate} lines/s, floor woken per datagram"));
    Ok(vec![Row {
        id,
        load: format!("{profile} over {transport}, {bytes:.0} B a line, {pace}"),
        floor: format!("{:.1} ns", median(&floors)),
        whippet: format!("{nanos:.1} ns{speed}"),
        ratio: format!("{ratio:.2} ({low:.2} to {high:.2}, {} pairs)", ratios.len()),
        goal,
        reached: ratio <= limit,
        command: format!("whippet bench {} --server … --vs floor", args[2..].join(" ")),
    }])
}

/// CPU per line of both servers, pair by pair: the floor is recognised by its command.
fn pairs(report: &Value) -> (Vec<f64>, Vec<f64>) {
    pairs_by(report, "/floor ")
}

/// CPU per line of both servers, pair by pair; the second is the one with this word in its command.
pub fn pairs_by(report: &Value, word: &str) -> (Vec<f64>, Vec<f64>) {
    let none = Vec::new();
    let runs = report["runs"].as_array().unwrap_or(&none);
    let of = |second: bool| {
        runs.iter()
            .filter(|run| {
                run["server"].as_str().is_some_and(|server| server.contains(word)) == second
            })
            .filter_map(|run| run["cpu"]["ns_per_line"].as_f64())
            .collect()
    };
    (of(false), of(true))
}

fn two_shards(tools: &Tools) -> Result<Vec<Row>, Error> {
    let text = tools.ingest(&[("INGEST", "ratio"), ("INGEST_SHARDS", "2")], &[])?;
    let alone = number_after(&text, "one shard").ok_or("no figure of one shard")?;
    let both = number_after(&text, "at once").ok_or("no figure of two shards")?;
    Ok(vec![Row {
        id: "S12",
        load: "two shards on two threads, each; beside it one alone".into(),
        floor: format!("{alone:.1} ns"),
        whippet: format!("{both:.1} ns"),
        ratio: format!("{:.2}", alone / both),
        goal: "≥ 0.95",
        reached: alone / both >= 0.95,
        command: "INGEST=ratio INGEST_SHARDS=2 cargo bench --bench ingest".into(),
    }])
}
