//! The shape of a load: what the lines look like, before a single one is written.

use std::fmt;
use std::str::FromStr;

use crate::protocol::MetricType;

/// Everything that decides the bytes of a load, apart from the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Largest datagram in bytes, final newline included.
    pub payload_bytes: usize,
    /// Most lines in one datagram; `None` fills it.
    pub lines_per_datagram: Option<usize>,
    /// Distinct pairs of name and tag set.
    pub contexts: usize,
    /// Names shared by those contexts; one name has one kind.
    pub names: usize,
    /// Shortest and longest name in bytes.
    pub name_bytes: (usize, usize),
    /// Fewest and most tags on a line.
    pub tags: (usize, usize),
    /// Shortest and longest `key:value` in bytes.
    pub tag_bytes: (usize, usize),
    /// Relative frequency of the kinds.
    pub kinds: Mix,
    /// Percentage of lines with several values (never on sets, whose members may hold a `:`).
    pub packed_percent: u8,
    /// Fewest and most values on such a line.
    pub packed_values: (usize, usize),
    /// Percentage of lines with a sample rate.
    pub sampled_percent: u8,
    /// Percentage of lines with a distinct `c:` field.
    pub origin_percent: u8,
}

/// Bytes of the longest value: `9999` with its `:`, or a set member like `u1000`.
pub const VALUE_BYTES_MAX: usize = 6;

/// A ready-made [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// One metric per datagram, about 68 bytes.
    Single,
    /// Lines of about 68 bytes, as many as fit 1432 bytes (a common UDP payload).
    Packed,
    /// The same lines in datagrams of up to 8 KiB (the usual Unix-socket payload).
    Uds,
    /// The packed load over a million contexts.
    Cardinality,
    /// Long lines of about 2 KB with origin fields, packed values and sample rates: the mix that
    /// Datadog publishes for its own regression loads.
    Realistic,
}

impl Profile {
    /// The shape behind the name.
    pub fn shape(self) -> Shape {
        let plain = Shape {
            payload_bytes: 1432,
            lines_per_datagram: None,
            contexts: 1_000,
            names: 100,
            name_bytes: (14, 24),
            tags: (3, 3),
            tag_bytes: (10, 15),
            kinds: Mix::new([
                (1, MetricType::Counter),
                (1, MetricType::Gauge),
                (1, MetricType::Timing),
            ]),
            packed_percent: 0,
            packed_values: (2, 32),
            sampled_percent: 0,
            origin_percent: 0,
        };
        match self {
            Profile::Single => Shape { lines_per_datagram: Some(1), ..plain },
            Profile::Packed => plain,
            Profile::Uds => Shape { payload_bytes: 8192, ..plain },
            Profile::Cardinality => Shape { contexts: 1_000_000, names: 10_000, ..plain },
            Profile::Realistic => Shape {
                payload_bytes: 8192,
                contexts: 3_000,
                names: 3_000,
                name_bytes: (1, 200),
                tags: (2, 50),
                tag_bytes: (3, 150),
                kinds: Mix::new([
                    (208, MetricType::Counter),
                    (66, MetricType::Gauge),
                    (72, MetricType::Distribution),
                    (9, MetricType::Set),
                    (1, MetricType::Histogram),
                ]),
                packed_percent: 8,
                sampled_percent: 40,
                origin_percent: 50,
                ..plain
            },
        }
    }
}

/// Kinds and their weights, written `c=208,g=66,d=72,s=9,h=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    weights: Vec<(u32, MetricType)>,
}

impl Mix {
    /// The given weights in their order.
    pub fn new<const N: usize>(weights: [(u32, MetricType); N]) -> Self {
        Mix { weights: weights.to_vec() }
    }

    /// An endless sequence of kinds in which every stretch is as close to the weights as possible.
    pub fn sequence(&self) -> impl Iterator<Item = MetricType> + '_ {
        let total: i64 = self.weights.iter().map(|&(weight, _)| i64::from(weight)).sum();
        let mut credit = vec![0i64; self.weights.len()];
        std::iter::from_fn(move || {
            for (credit, &(weight, _)) in credit.iter_mut().zip(&self.weights) {
                *credit += i64::from(weight);
            }
            let next = (0..credit.len()).rev().max_by_key(|&i| credit[i])?;
            credit[next] -= total;
            Some(self.weights[next].1)
        })
    }
}

const KINDS: [MetricType; 6] = [
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Timing,
    MetricType::Histogram,
    MetricType::Set,
    MetricType::Distribution,
];

/// The type field of `kind` on the wire.
pub fn type_code(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "c",
        MetricType::Gauge => "g",
        MetricType::Timing => "ms",
        MetricType::Histogram => "h",
        MetricType::Set => "s",
        MetricType::Distribution => "d",
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = KINDS.into_iter().find(|&kind| type_code(kind) == name);
            let kind =
                kind.ok_or_else(|| format!("`{name}` is not a kind; use c, g, ms, h, s or d"))?;
            let weight = weight.parse::<u32>();
            let weight =
                weight.map_err(|_| format!("the weight of `{part}` is not a whole number"))?;
            weights.push((weight, kind));
        }
        weights.retain(|&(weight, _)| weight > 0);
        if weights.is_empty() {
            return Err("every weight is 0".to_owned());
        }
        Ok(Mix { weights })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(weight, kind)) in self.weights.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}={weight}", type_code(kind))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expect: &str) {
        let got =
            text.parse::<Mix>().map_or_else(|why| format!("refused: {why}"), |m| m.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn a_mix_is_written_as_kinds_and_weights() {
        reads("c=208,g=66,d=72,s=9,h=1", "c=208,g=66,d=72,s=9,h=1");
        reads("c,g,ms", "c=1,g=1,ms=1");
        reads("c=3,g=0", "c=3");
        reads("x=1", "refused: `x` is not a kind; use c, g, ms, h, s or d");
        reads("c=-1", "refused: the weight of `c=-1` is not a whole number");
        reads("", "refused: `` is not a kind; use c, g, ms, h, s or d");
        reads("c=0", "refused: every weight is 0");
    }

    #[test]
    fn the_sequence_is_exact_over_one_cycle_of_the_weights() {
        let mix: Mix = "c=208,g=66,d=72,s=9,h=1".parse().unwrap();
        let mut counts = [0; 6];
        for kind in mix.sequence().take(356) {
            counts[kind as usize] += 1;
        }
        assert_eq!(counts[MetricType::Counter as usize], 208);
        assert_eq!(counts[MetricType::Gauge as usize], 66);
        assert_eq!(counts[MetricType::Distribution as usize], 72);
        assert_eq!(counts[MetricType::Set as usize], 9);
        assert_eq!(counts[MetricType::Histogram as usize], 1);
    }

    #[test]
    fn the_sequence_mixes_kinds_early() {
        let mix: Mix = "c,g,ms".parse().unwrap();
        let first: Vec<&str> = mix.sequence().take(6).map(type_code).collect();
        assert_eq!(first, ["c", "g", "ms", "c", "g", "ms"]);
    }
}
