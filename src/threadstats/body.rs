//! Bodies of the v1 routes, split so that none is larger than the intake takes.

use std::io;

use serde::{Serialize, Serializer};

use super::number::Number;
use super::series::{PointValue, Series};
use crate::encode::series_v1::{self, SeriesObject};
use crate::encode::{Compression, Payload, PayloadLimits};

/// Bytes of a body before compression. `/api/v1/series` takes 3.2 million bytes as they arrive;
/// bounding the uncompressed size keeps both spellings below it.
pub(super) const BODY_BYTES_MAX: usize = 3_000_000;
/// Values of one distribution entry; longer lists become several entries, which the intake adds up.
const VALUES_MAX: usize = 50_000;

/// Bodies of a list of series, in their order, and how many series fit none.
#[derive(Default)]
pub(super) struct Bodies {
    /// The points of each are its series: every series has one.
    pub(super) bodies: Vec<Payload>,
    pub(super) too_big: usize,
}

/// Writes `{"series":[…]}` bodies of at most `bytes_max`. Point values become floats, an empty host
/// becomes `hostname`; nothing else changes.
pub(super) fn series_bodies(
    series: &[Series],
    hostname: Option<&str>,
    compression: Compression,
    bytes_max: usize,
) -> io::Result<Bodies> {
    let limits = PayloadLimits {
        series_uncompressed_bytes: bytes_max,
        series_compressed_bytes: usize::MAX,
        series_points: usize::MAX,
        ..PayloadLimits::default()
    };
    let mut assembly = series_v1::assembly(compression, &limits)?;
    let (mut bodies, mut item) = (Vec::new(), Vec::new());
    let mut sink = |body| bodies.push(body);
    for series in series {
        match &series.value {
            PointValue::Number(number) => {
                write(&mut item, series, number.as_f64(), hostname);
                series_v1::add(&mut assembly, &item, 1, &mut sink);
            }
            PointValue::List(values) => {
                for (place, part) in values.chunks(VALUES_MAX).enumerate() {
                    write(&mut item, series, Floats(part), hostname);
                    // The entries of one list are one point together.
                    series_v1::add(&mut assembly, &item, usize::from(place == 0), &mut sink);
                }
            }
        }
    }
    let counts = assembly.finish(&mut sink);
    if counts.items_failed > 0 {
        return Err(io::Error::other("the body could not be compressed"));
    }
    Ok(Bodies { bodies, too_big: usize::try_from(counts.points_too_big).unwrap_or(usize::MAX) })
}

/// The object of a series with that value of its point.
fn write(item: &mut Vec<u8>, series: &Series, value: impl Serialize, hostname: Option<&str>) {
    let host = match series.host.as_deref() {
        Some("") => hostname,
        host => host,
    };
    item.clear();
    // Strings are UTF-8 already.
    let mut replaced = 0;
    let mut object = SeriesObject::open(item, series.metric.as_bytes(), &mut replaced);
    object.points([(series.timestamp, value)]);
    object.tags(series.tags.as_deref().map(|tags| tags.iter().map(String::as_bytes)));
    object.text("host", host.map(str::as_bytes));
    object.text("device", series.device.as_deref().map(str::as_bytes));
    object.kind(series.kind.word(), series.interval);
    object.close();
}

/// Numbers written as floats, which is how the intake's clients post them: `22` becomes `22.0`.
struct Floats<'a>(&'a [Number]);

impl Serialize for Floats<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|number| number.as_f64()))
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

    fn plain(series: &[Series], bytes_max: usize) -> Bodies {
        series_bodies(series, None, Compression::None, bytes_max).unwrap()
    }

    fn json(body: &Payload) -> serde_json::Value {
        serde_json::from_slice(&body.body).unwrap()
    }

    fn entries(bodies: &Bodies) -> Vec<usize> {
        let count = |body| json(body)["series"].as_array().unwrap().len();
        bodies.bodies.iter().map(count).collect()
    }

    #[test]
    fn bodies_split_at_the_limit_and_lose_nothing() {
        let one = series(Number::Int(1).into());
        let alone = plain(std::slice::from_ref(&one), BODY_BYTES_MAX).bodies[0].body.len();
        let two = plain(&vec![one.clone(); 2], BODY_BYTES_MAX).bodies[0].body.len();
        let three = two + (two - alone);
        for (count, expect) in [(3, vec![3]), (4, vec![3, 1]), (6, vec![3, 3])] {
            let bodies = plain(&vec![one.clone(); count], three);
            assert_eq!(entries(&bodies), expect);
            assert!(bodies.bodies.iter().all(|body| body.body.len() <= three));
        }
        assert_eq!(entries(&plain(&vec![one; 3], three - 1)), [2, 1]);
    }

    #[test]
    fn a_long_distribution_becomes_several_entries_of_one_series() {
        let values = vec![Number::Int(1); VALUES_MAX + 1];
        let bodies = plain(&[series(PointValue::List(values))], BODY_BYTES_MAX);
        assert_eq!((entries(&bodies), bodies.bodies[0].points), (vec![2], 1));
        let json = json(&bodies.bodies[0]);
        let lengths =
            [0, 1].map(|entry| json["series"][entry]["points"][0][1].as_array().unwrap().len());
        assert_eq!(lengths, [VALUES_MAX, 1]);
    }

    #[test]
    fn a_series_that_fits_no_body_is_counted_and_the_rest_is_sent() {
        let small = series(Number::Int(1).into());
        let big = Series { metric: "m".repeat(BODY_BYTES_MAX), ..small.clone() };
        let bodies = plain(&[small.clone(), big, small], BODY_BYTES_MAX);
        // The body before it is closed, although it had room for the next.
        assert_eq!((entries(&bodies), bodies.too_big), (vec![1, 1], 1));
    }

    #[test]
    fn a_sum_past_the_floats_is_posted_as_null() {
        let bodies = plain(&[series(Number::Float(f64::INFINITY).into())], BODY_BYTES_MAX);
        let point = &json(&bodies.bodies[0])["series"][0]["points"][0];
        assert_eq!(*point, serde_json::json!([100, null]));
    }
}
