//! One session: every figure of `docs/performance.md`, measured one after the other on this machine,
//! the floor beside each. `make bench-report` builds what it needs and starts it.
//!
//! ```text
//! cargo run --profile dist --example report -- --rounds 9 --record benches/record --page docs/performance.md
//! cargo run --profile dist --example report -- --only S3,S8
//! ```
//! Out: a dated file of rows in the record folder, and the table between the two marks of the page.

mod everything;
mod loads;
mod page;
mod steady;
mod tools;

use std::path::PathBuf;

use clap::Parser;

use tools::Tools;

#[derive(Parser)]
#[command(name = "report", about = "Measures every row of docs/performance.md")]
struct Args {
    /// Pairs of runs per row
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds of one run
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only these rows, such as S3,S8
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The folder for dated results; nothing is written without it
    #[arg(long)]
    record: Option<PathBuf>,
    /// The page whose table is replaced
    #[arg(long)]
    page: Option<PathBuf>,
    /// The ingest bench, as `cargo bench --no-run` names it; looked up in target/release/deps
    #[arg(long)]
    ingest: Option<PathBuf>,
}

/// One measured row.
pub struct Row {
    /// The name of its target.
    pub id: &'static str,
    /// What was measured.
    pub load: String,
    /// What the floor spent, with its unit; empty without a floor.
    pub floor: String,
    /// What whippet spent, with its unit.
    pub whippet: String,
    /// The median of the ratios, pair by pair, and the smallest and largest; empty without a floor.
    pub ratio: String,
    /// What must be reached.
    pub goal: &'static str,
    /// True when it was.
    pub reached: bool,
    /// The command that repeats it.
    pub command: String,
}

impl Row {
    /// A figure with no floor beside it.
    pub fn alone(
        id: &'static str,
        load: impl Into<String>,
        whippet: String,
        goal: &'static str,
        reached: bool,
        command: impl Into<String>,
    ) -> Self {
        let (load, command) = (load.into(), command.into());
        Row {
            id,
            load,
            floor: String::new(),
            whippet,
            ratio: String::new(),
            goal,
            reached,
            command,
        }
    }
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let tools = Tools::new(args.rounds.max(1), args.seconds.max(2), args.ingest.clone());
    let wanted = |id: &str| args.only.is_empty() || args.only.iter().any(|only| only == id);
    let mut rows: Vec<Row> = Vec::new();
    for (id, measure) in loads::ALL.iter().chain(steady::ALL).chain(everything::ALL) {
        if !wanted(id) {
            continue;
        }
        eprintln!("{id} …");
        match measure(&tools) {
            Ok(measured) => {
                measured.iter().for_each(|row| println!("{}", page::line(row)));
                rows.extend(measured);
            }
            Err(error) => eprintln!("{id} could not be measured: {error}"),
        }
    }
    let written = page::write(&rows, args.record.as_deref(), args.page.as_deref(), args.rounds);
    match written {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
