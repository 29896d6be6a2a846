//! One value of one series that says which second it is of: what comes through a door.

use crate::protocol::MetricType;
use crate::sketch::Sketch;

/// What a part says of its series. Each is a merge law of the aggregation.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Adds up.
    Count(f64),
    /// The latest second wins, of one second the one that came last.
    Gauge(f64),
    /// As a gauge, but the largest value of a bucket wins, whatever its second.
    Highest(f64),
    /// Values of a distribution.
    Samples(&'a [f64]),
    /// Values of a distribution, already in bins: bins add up.
    Sketch(&'a Sketch),
}

impl Value<'_> {
    /// The kind of its context, as a type on the wire.
    #[must_use]
    pub fn kind(&self) -> MetricType {
        match self {
            Value::Count(_) => MetricType::Counter,
            Value::Gauge(_) | Value::Highest(_) => MetricType::Gauge,
            Value::Samples(_) | Value::Sketch(_) => MetricType::Distribution,
        }
    }

    /// False when some number of it cannot be summed.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        match self {
            Value::Count(value) | Value::Gauge(value) | Value::Highest(value) => value.is_finite(),
            Value::Samples(values) => values.iter().all(|value| value.is_finite()),
            // Takes in nothing else.
            Value::Sketch(_) => true,
        }
    }

    /// True when there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Count(_) | Value::Gauge(_) | Value::Highest(_) => false,
            Value::Samples(values) => values.is_empty(),
            Value::Sketch(sketch) => sketch.is_empty(),
        }
    }
}

/// One value of one series.
#[derive(Clone, Copy, Debug)]
pub struct TimedPart<'a> {
    /// The final name.
    pub name: &'a [u8],
    /// All tags in one run of bytes; a tag may hold any byte.
    pub tags: &'a [u8],
    /// Where each tag ends in that run, ascending.
    pub tag_ends: &'a [u32],
    /// The host; empty for ours.
    pub host: &'a [u8],
    /// Who sent it, as [`crate::context::Claims::write_key`] writes it.
    pub origin: &'a [u8],
    /// Unix seconds.
    pub second: i64,
    /// What it says.
    pub value: Value<'a>,
}

impl<'a> TimedPart<'a> {
    /// Each tag, in order.
    pub fn tags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (tags, ends) = (self.tags, self.tag_ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends).map(|(start, end)| &tags[start as usize..*end as usize])
    }

    /// Writes what decides the context beside name and tags, replacing what `key` holds: where tags end,
    /// the host, the origin. The lengths make it say one thing only, whatever the bytes.
    pub(super) fn write_key(&self, key: &mut Vec<u8>) {
        key.clear();
        // No body is so long that these do not fit.
        key.extend_from_slice(&(self.tag_ends.len() as u32).to_le_bytes());
        self.tag_ends.iter().for_each(|end| key.extend_from_slice(&end.to_le_bytes()));
        key.extend_from_slice(&(self.host.len() as u32).to_le_bytes());
        key.extend_from_slice(self.host);
        key.extend_from_slice(self.origin);
    }
}
