//! Bodies of the v1 routes, split so that none is larger than the intake takes.

use serde::{Serialize, Serializer};

use super::number::Number;
use super::series::{Floats, PointValue, Series};

/// Bytes of a body before compression. `/api/v1/series` takes 3.2 million bytes as they arrive;
/// bounding the uncompressed size keeps both spellings below it.
pub(super) const BODY_BYTES_MAX: usize = 3_000_000;
/// Values of one distribution entry; longer lists become several entries, which the intake adds up.
const VALUES_MAX: usize = 50_000;

/// A body and how many series are in it.
pub(super) struct Body {
    pub(super) json: Vec<u8>,
    pub(super) series: usize,
}

/// Writes `{"series":[…]}` bodies in order. Point values become floats, an empty host becomes
/// `hostname`; nothing else changes.
pub(super) fn series_bodies(
    series: &[Series],
    hostname: Option<&str>,
    bytes_max: usize,
) -> Vec<Body> {
    let mut bodies = Vec::new();
    let mut open = Body { json: OPEN.to_vec(), series: 0 };
    let mut entry = Vec::new();
    for series in series {
        for part in 0..parts(series) {
            entry.clear();
            let posted = Posted { series, part, hostname };
            // Only finite numbers and strings are written, into memory: this cannot fail.
            if serde_json::to_writer(&mut entry, &posted).is_err() {
                continue;
            }
            let entries = open.json.len() > OPEN.len();
            if entries && open.json.len() + entry.len() + CLOSE.len() + 1 > bytes_max {
                let full = std::mem::replace(&mut open, Body { json: OPEN.to_vec(), series: 0 });
                bodies.push(full.close());
            } else if entries {
                open.json.push(b',');
            }
            open.json.extend_from_slice(&entry);
            open.series += usize::from(part == 0);
        }
    }
    bodies.push(open.close());
    bodies
}

const OPEN: &[u8] = br#"{"series":["#;
const CLOSE: &[u8] = b"]}";

impl Body {
    fn close(mut self) -> Self {
        self.json.extend_from_slice(CLOSE);
        self
    }
}

fn parts(series: &Series) -> usize {
    match &series.value {
        PointValue::Number(_) => 1,
        PointValue::List(values) => values.len().div_ceil(VALUES_MAX),
    }
}

/// A series, or one part of a long distribution, as it is posted.
struct Posted<'a> {
    series: &'a Series,
    part: usize,
    hostname: Option<&'a str>,
}

impl Serialize for Posted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let host = match self.series.host.as_deref() {
            Some("") => self.hostname,
            host => host,
        };
        let timestamp: Number = self.series.timestamp;
        match &self.series.value {
            PointValue::Number(number) => {
                let points = [(timestamp, number.as_f64())];
                self.series.serialize_with(serializer, &points, host)
            }
            PointValue::List(values) => {
                let part = values.chunks(VALUES_MAX).nth(self.part).unwrap_or_default();
                let points = [(timestamp, Floats(part))];
                self.series.serialize_with(serializer, &points, host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threadstats::series::SeriesType;

    fn series(value: PointValue) -> Series {
        Series {
            metric: "m".to_owned(),
            timestamp: Number::Int(100),
            value,
            kind: SeriesType::Gauge,
            host: None,
            device: None,
            tags: None,
            interval: Number::Int(10),
        }
    }

    fn entries(body: &Body) -> usize {
        let json: serde_json::Value = serde_json::from_slice(&body.json).unwrap();
        json["series"].as_array().unwrap().len()
    }

    #[test]
    fn bodies_split_at_the_limit_and_lose_nothing() {
        let one = series(Number::Int(1).into());
        let bytes =
            serde_json::to_vec(&Posted { series: &one, part: 0, hostname: None }).unwrap().len();
        let three = OPEN.len() + 3 * bytes + 2 + CLOSE.len();
        for (count, expect) in [(3, vec![3]), (4, vec![3, 1]), (6, vec![3, 3])] {
            let bodies = series_bodies(&vec![one.clone(); count], None, three);
            assert_eq!(bodies.iter().map(entries).collect::<Vec<_>>(), expect);
            assert!(bodies.iter().all(|body| body.json.len() <= three));
        }
        let bodies = series_bodies(&vec![one; 3], None, three - 1);
        assert_eq!(bodies.iter().map(entries).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_long_distribution_becomes_several_entries() {
        let values = vec![Number::Int(1); VALUES_MAX + 1];
        let bodies = series_bodies(&[series(PointValue::List(values))], None, BODY_BYTES_MAX);
        assert_eq!((bodies.len(), entries(&bodies[0]), bodies[0].series), (1, 2, 1));
        let json: serde_json::Value = serde_json::from_slice(&bodies[0].json).unwrap();
        let lengths =
            [0, 1].map(|entry| json["series"][entry]["points"][0][1].as_array().unwrap().len());
        assert_eq!(lengths, [VALUES_MAX, 1]);
    }
}
