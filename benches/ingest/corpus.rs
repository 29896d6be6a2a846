//! The datagrams that both sides are fed: metrics as services send them, packed for UDP.

use crate::random::Random;

/// Bytes of one datagram: what fits a packet of 1,500 on the way.
const DATAGRAM_BYTES_MAX: usize = 1_432;
/// Lines of a corpus, at least.
const LINES_MIN: usize = 30_000;

/// Datagrams, and what they must add up to.
pub struct Corpus {
    pub datagrams: Vec<Vec<u8>>,
    pub contexts: usize,
    pub lines: usize,
    /// Sum of all counter values of one pass.
    pub counted: u64,
    /// Sum of all timer values of one pass.
    pub timed: u64,
    /// Sum of all values of one pass, whatever their kind.
    pub all: u64,
}

const KINDS: [&str; 3] = ["c", "g", "ms"];
const NAMES: [&str; 4] =
    ["http.request.duration", "checkout.orders.done", "db.pool.connections", "cache.hits.by_shard"];

/// The line of one context up to its value, and what follows the value.
fn context(number: usize, kinds: usize) -> (String, String) {
    let name = NAMES[number / kinds % NAMES.len()];
    let kind = KINDS[number % kinds];
    let env = ["prod", "test"][number / 7 % 2];
    let head = format!("{name}:");
    (head, format!("|{kind}|#env:{env},service:checkout,pod:web-{number:07}\n"))
}

/// Lines of `contexts` metrics in random order, each as often as its neighbours.
pub fn corpus(contexts: usize, kinds: usize) -> Corpus {
    let mut random = Random::new(0x5eed_5eed_5eed_5eed);
    let mut order: Vec<usize> = (0..contexts).cycle().take(contexts.max(LINES_MIN)).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at + 1));
    }
    let lines = order.len();
    let mut corpus =
        Corpus { datagrams: vec![Vec::new()], contexts, lines, counted: 0, timed: 0, all: 0 };
    for number in order {
        let value = [random.below(10), random.below(100), random.below(10_000)][random.below(3)];
        match KINDS[number % kinds] {
            "c" => corpus.counted += value as u64,
            "ms" => corpus.timed += value as u64,
            _ => {}
        }
        corpus.all += value as u64;
        let (head, tail) = context(number, kinds);
        let line = format!("{head}{value}{tail}");
        if corpus.datagrams.last().is_some_and(|last| last.len() + line.len() > DATAGRAM_BYTES_MAX)
        {
            corpus.datagrams.push(Vec::new());
        }
        corpus.datagrams.last_mut().unwrap().extend_from_slice(line.as_bytes());
    }
    corpus
}
