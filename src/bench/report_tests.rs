use super::*;

/// A sound run: 4,000 lines in 1,000 datagrams, the last 800 of them measured.
pub(in super::super) fn run() -> Run {
    let latency = Latency { p50: 1.5, p99: 9.0, p999: 20.0, max: 40.0 };
    Run {
        server: Some("whippet run".into()),
        round: 1,
        start_ms: Some(12.5),
        seconds: 4.0,
        offered_datagrams: 800,
        measured: Traffic { datagrams: 800, lines: 3_200, values: 3_200, bytes: 217_600 },
        sent: Traffic { datagrams: 1_000, lines: 4_000, values: 4_000, bytes: 272_000 },
        kernel_dropped: Some(0),
        kernel_dropped_measured: Some(0),
        server_counts: Some(ServerCounts {
            received: 4_000,
            recorded: 3_990,
            refused: 10,
            dropped: 0,
        }),
        cpu: Some(Cpu {
            seconds: 2.0,
            ns_per_line: 68.5,
            ns_per_datagram: 274.0,
            waited_seconds: 0.05,
            percent: Some(Spread { min: 40.0, median: 50.0, max: 60.0 }),
        }),
        memory: Some(MemoryUse { rss_bytes: 4_194_304, peak_bytes: 5_242_880 }),
        generator: Generator {
            cpu_seconds: 1.0,
            cpu_percent: 25.0,
            spinning: false,
            refusals: 0,
            call: latency,
            late: Some(latency),
        },
        check: Some(FlushCheck {
            sent: 12.0,
            flushed: 12.0,
            series_sent: 2,
            series_found: 2,
            series_exact: 2,
            overwritten: 0,
            unreadable: 0,
        }),
        warnings: vec!["short".into()],
    }
}

pub(in super::super) fn report() -> Report {
    let spread = Spread { min: 1.1, median: 1.2, max: 1.3 };
    Report {
        schema: SCHEMA,
        whippet: "0.1.0",
        machine: Machine {
            processor: Some("A Processor".into()),
            cpus: 2,
            kernel: Some("6.1".into()),
            rmem_max: Some(4_194_304),
            server_cpus: vec![0],
            generator_cpus: vec![1],
        },
        load: Load {
            target: "udp://127.0.0.1:8125".into(),
            profile: "packed".into(),
            seed: 1,
            kinds: "c=1".into(),
            contexts: 1_000,
            block_datagrams: 10,
            bytes_per_line: 68.0,
            lines_per_datagram: 4.0,
            senders: 1,
            lines_per_second: Some(800.0),
        },
        runs: vec![run()],
        versus: Some(Versus {
            vs: "other".into(),
            pairs: vec![Pair { server_ns_per_line: 68.5, vs_ns_per_line: 57.1, ratio: 1.2 }],
            ratio: spread,
            server_ns_per_line: 68.5,
            vs_ns_per_line: 57.1,
        }),
        rate_search: Some(RateSearch {
            lines_per_second: Some(100_000.0),
            limited_by: Limit::BackPressure,
            steps: vec![SearchStep { lines_per_second: 100_000.0, limit: Limit::None }],
        }),
    }
}

#[test]
fn the_schema_is_stable() {
    let got = serde_json::to_string_pretty(&report()).unwrap();
    assert_eq!(
        got.trim(),
        include_str!("schema_1.json").trim(),
        "a change here needs a new schema number, an addition a new golden file"
    );
}

#[test]
fn what_is_not_known_is_null_and_not_zero() {
    let unknown = Run {
        server_counts: None,
        cpu: None,
        memory: None,
        check: None,
        kernel_dropped: None,
        ..run()
    };
    let json = serde_json::to_value(unknown).unwrap();
    for field in ["books", "cpu", "memory", "check", "kernel_dropped"] {
        assert!(json[field].is_null(), "{field}");
    }
}

#[test]
fn a_median_of_an_even_number_lies_between() {
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[3.0]), Some(Spread { min: 3.0, median: 3.0, max: 3.0 }));
    assert_eq!(spread(&[4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
    assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 9.0 }));
}
