//! The work without a socket, over datagrams prepared by the load generator.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use anyhow::ensure;
use whippet::bench::{Corpus, Framing, LoadArgs, Span, spread, thread_cpu};

use crate::line::{self, Line};
use crate::table::Table;

/// Goes over the block until `seconds` of CPU are used, and returns the cost of a line as median,
/// minimum and maximum of the rounds. Each round's answer is checked.
pub fn measure(load: &LoadArgs, seconds: f64, ahead: usize) -> anyhow::Result<String> {
    let corpus = load.corpus(Framing::Bare)?;
    let block = corpus.tally(&[Span { start: 0, count: corpus.len() as u64 }]).traffic;
    let mut table = Table::default();
    let mut pending = Vec::with_capacity(ahead);
    // The first round makes the table; it is not measured.
    let first = round(&corpus, &mut table, ahead, &mut pending);
    ensure!(first == block.lines, "read {first} lines of {}", block.lines);
    ensure!(table.len() == corpus.contexts(), "{} of {} contexts", table.len(), corpus.contexts());
    let total = table.total();
    let (began, budget) = (thread_cpu()?, Duration::try_from_secs_f64(seconds)?);
    let mut rounds = Vec::new();
    while rounds.len() < 3 || thread_cpu()? - began < budget {
        let before = thread_cpu()?;
        let lines = round(&corpus, &mut table, ahead, &mut pending);
        let spent = thread_cpu()? - before;
        ensure!(lines == block.lines, "read {lines} lines of {}", block.lines);
        rounds.push(spent.as_secs_f64() * 1e9 / lines as f64);
    }
    let expected = total * (rounds.len() + 1) as f64;
    ensure!((table.total() - expected).abs() < 0.5, "the sums of a round differ");
    let spread = spread(&rounds).expect("at least three rounds were measured");
    let bytes = block.bytes as f64 / block.lines as f64;
    let mut text = String::new();
    writeln!(
        text,
        "memory  {} contexts, {bytes:.1} B per line, {ahead} ahead, {} rounds of {} lines",
        table.len(),
        rounds.len(),
        block.lines
    )?;
    writeln!(
        text,
        "floor   {:.1} ns per line (min {:.1}, max {:.1}); {:.2} GB/s",
        spread.median,
        spread.min,
        spread.max,
        bytes / spread.median
    )?;
    Ok(text)
}

fn round<'a>(
    corpus: &'a Corpus,
    table: &mut Table,
    ahead: usize,
    pending: &mut Vec<(u64, Line<'a>)>,
) -> u64 {
    let mut lines = 0;
    for index in 0..corpus.len() {
        let mut rest = black_box(corpus.payload(index));
        if ahead == 1 {
            while let Some(line) = line::next(&mut rest) {
                table.add(table.hash(&line), &line);
                lines += 1;
            }
        } else {
            while let Some(line) = line::next(&mut rest) {
                let hash = table.hash(&line);
                table.prefetch_slot(hash);
                pending.push((hash, line));
                lines += 1;
                if pending.len() == ahead {
                    look_up(table, pending);
                }
            }
        }
    }
    look_up(table, pending);
    lines
}

fn look_up(table: &mut Table, pending: &mut Vec<(u64, Line<'_>)>) {
    for (hash, _) in pending.iter() {
        table.prefetch_key(*hash);
    }
    for (hash, line) in pending.drain(..) {
        table.add(hash, &line);
    }
}
