//! A message's way so far, as its program holds it between two checkpoints.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;

/// Where a message comes from: the hash of all checkpoints it passed, when it passed the first and the last,
/// and what is needed to see that a checkpoint is passed again and again.
///
/// A program gets one from each checkpoint and gives it to the next one. A clone is another message with
/// the same past. Shown as the decimal hash, which is also what a span is tagged with (`pathway.hash`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pathway {
    hash: u64,
    /// Nanoseconds since the epoch.
    pathway_start: i64,
    edge_start: i64,
    previous: Direction,
    /// The hash and the time when the direction changed last.
    opposite_hash: u64,
    opposite_edge_start: i64,
}

/// The first tag `direction:…` of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    None,
    In,
    Out,
    Other(Arc<str>),
}

const DIRECTION: &str = "direction:";

impl Direction {
    /// Of tags that are sorted.
    pub fn of(tags: &[&str]) -> Direction {
        match tags.iter().find_map(|tag| tag.strip_prefix(DIRECTION)) {
            None => Direction::None,
            Some("in") => Direction::In,
            Some("out") => Direction::Out,
            Some(other) => Direction::Other(other.into()),
        }
    }
}

/// What a checkpoint measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub parent: u64,
    pub edge_latency: Duration,
    pub pathway_latency: Duration,
}

impl Pathway {
    /// A message that passed no checkpoint yet. `now` is the time since the epoch.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        let now = nanos(now);
        Pathway::starting(0, now, now)
    }

    fn starting(hash: u64, pathway_start: i64, edge_start: i64) -> Self {
        Pathway {
            hash,
            pathway_start,
            edge_start,
            previous: Direction::None,
            opposite_hash: 0,
            opposite_edge_start: edge_start,
        }
    }

    pub(super) fn from_context(context: &Context) -> Self {
        let nanos = |millis: i64| millis.saturating_mul(1_000_000);
        Pathway::starting(context.hash, nanos(context.pathway_start), nanos(context.edge_start))
    }

    pub(super) fn context(&self) -> Context {
        Context {
            hash: self.hash,
            pathway_start: self.pathway_start / 1_000_000,
            edge_start: self.edge_start / 1_000_000,
        }
    }

    /// The hash of all checkpoints; 0 before the first.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// When the first checkpoint was passed, since the epoch.
    #[must_use]
    pub fn pathway_start(&self) -> Duration {
        duration(self.pathway_start)
    }

    /// When the last checkpoint was passed, since the epoch.
    #[must_use]
    pub fn edge_start(&self) -> Duration {
        duration(self.edge_start)
    }

    /// The bytes that travel with a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.context().encode().as_bytes().to_vec()
    }

    /// The same in base64: the value of [`CONTEXT_KEY`](super::CONTEXT_KEY).
    #[must_use]
    pub fn to_base64(&self) -> String {
        self.context().to_base64()
    }

    /// Reads [`Pathway::encode`]; bytes after it are ignored. None for what is too short.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Pathway> {
        Context::decode(bytes).map(|context| Pathway::from_context(&context))
    }

    /// Reads [`Pathway::to_base64`]. None for what is too short, or no base64.
    #[must_use]
    pub fn from_base64(text: &[u8]) -> Option<Pathway> {
        Context::from_base64(text).map(|context| Pathway::from_context(&context))
    }

    /// Passes a checkpoint at `now`; [`Pathway::arrive`] must follow with the new hash.
    ///
    /// The same direction twice is a loop, or one message that becomes many: it goes on from the last checkpoint
    /// of the other direction, so that pathways do not grow. Without one it begins anew.
    pub(super) fn step(
        &mut self,
        direction: Direction,
        now: Duration,
        edge_start: Option<Duration>,
        pathway_start: Option<Duration>,
    ) -> Step {
        let now = nanos(now);
        if direction == self.previous {
            self.hash = self.opposite_hash;
            if self.hash == 0 {
                self.edge_start = now;
                self.pathway_start = now;
            } else {
                self.edge_start = self.opposite_edge_start;
            }
        } else {
            self.previous = direction;
            self.opposite_hash = self.hash;
            self.opposite_edge_start = now;
        }
        if let Some(start) = edge_start {
            self.edge_start = nanos(start);
        }
        if let Some(start) = pathway_start {
            self.pathway_start = nanos(start);
        }
        let step = Step {
            parent: self.hash,
            edge_latency: duration(now.saturating_sub(self.edge_start)),
            pathway_latency: duration(now.saturating_sub(self.pathway_start)),
        };
        self.edge_start = now;
        step
    }

    /// The hash after [`Pathway::step`].
    pub(super) fn arrive(&mut self, hash: u64) {
        self.hash = hash;
    }
}

impl fmt::Display for Pathway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hash)
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// What is negative is 0: clocks differ.
fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_700_000_000 + seconds)
    }

    /// Passes a checkpoint and gives parent, edge and pathway latency in seconds.
    fn pass(pathway: &mut Pathway, tags: &[&str], now: u64, hash: u64) -> (u64, u64, u64) {
        let step = pathway.step(Direction::of(tags), at(now), None, None);
        pathway.arrive(hash);
        (step.parent, step.edge_latency.as_secs(), step.pathway_latency.as_secs())
    }

    const IN: [&str; 2] = ["direction:in", "topic:a"];
    const OUT: [&str; 2] = ["direction:out", "topic:b"];

    #[test]
    fn each_checkpoint_continues_the_one_before() {
        let mut pathway = Pathway::new(at(0));
        assert_eq!(pass(&mut pathway, &OUT, 0, 1), (0, 0, 0));
        assert_eq!(pass(&mut pathway, &IN, 5, 2), (1, 5, 5));
        assert_eq!(pass(&mut pathway, &OUT, 7, 3), (2, 2, 7));
        assert_eq!(pathway.to_string(), "3");
        assert_eq!((pathway.pathway_start(), pathway.edge_start()), (at(0), at(7)));
    }

    #[test]
    fn one_message_that_becomes_many_keeps_its_past() {
        let mut pathway = Pathway::from_context(&Context {
            hash: 1,
            pathway_start: 1_700_000_000_000,
            edge_start: 1_700_000_001_000,
        });
        assert_eq!(pass(&mut pathway, &IN, 3, 2), (1, 2, 3));
        assert_eq!(pass(&mut pathway, &OUT, 4, 3), (2, 1, 4));
        // Not from 3, and since the direction changed at 4.
        assert_eq!(pass(&mut pathway, &OUT, 6, 3), (2, 2, 6));
        assert_eq!(pass(&mut pathway, &OUT, 9, 3), (2, 5, 9));
        assert_eq!(pass(&mut pathway, &IN, 10, 4), (3, 1, 10));
    }

    #[test]
    fn producing_in_a_loop_begins_anew() {
        let mut pathway = Pathway::new(at(0));
        assert_eq!(pass(&mut pathway, &OUT, 0, 1), (0, 0, 0));
        assert_eq!(pass(&mut pathway, &OUT, 5, 1), (0, 0, 0));
        assert_eq!(pathway.pathway_start(), at(5));
        // No direction is as the one before nothing.
        let mut pathway =
            Pathway::from_context(&Context { hash: 9, pathway_start: 0, edge_start: 0 });
        assert_eq!(pass(&mut pathway, &["topic:a"], 5, 1), (0, 0, 0));
        assert_eq!(pass(&mut pathway, &["direction:up"], 6, 2), (1, 1, 1));
        assert_eq!(pass(&mut pathway, &["direction:up"], 7, 2), (1, 1, 2));
    }

    #[test]
    fn starts_can_be_given_and_clocks_that_differ_give_no_negative_times() {
        let mut pathway = Pathway::new(at(0));
        let step = pathway.step(Direction::In, at(9), Some(at(2)), Some(at(1)));
        assert_eq!((step.edge_latency, step.pathway_latency), (at(9) - at(2), at(9) - at(1)));
        let mut ahead = Pathway::new(at(100));
        let step = ahead.step(Direction::In, at(9), None, None);
        assert_eq!((step.edge_latency, step.pathway_latency), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn times_travel_in_milliseconds() {
        let start = Duration::from_nanos(1_700_000_000_250_999_999);
        let pathway = Pathway::new(start);
        let again = Pathway::from_base64(pathway.to_base64().as_bytes()).expect("a context");
        assert_eq!(again.pathway_start(), Duration::from_millis(1_700_000_000_250));
        assert_eq!(Pathway::decode(&pathway.encode()), Some(again));
        let far = Context { hash: 1, pathway_start: i64::MAX, edge_start: i64::MIN };
        let far = Pathway::from_context(&far);
        assert_eq!(far.edge_start(), Duration::ZERO);
        assert!(far.pathway_start() > start);
    }
}
